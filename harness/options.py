"""All options, each defined once and read once, from the command line or pytest.ini, into one frozen `Options`."""

import argparse
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness import option_values as values
from harness.errors import OptionError

if TYPE_CHECKING:
    import pytest

# Options of pytest and pytest-benchmark that write files elsewhere than into the run's folder.
_AUTOSAVE = "--benchmark-autosave"  # takes no value
PYTEST_OUTPUTS = ("--benchmark-json", "--benchmark-save", "--junitxml", "--junit-xml", _AUTOSAVE)
TESTS = "perf_tests"
ROUNDS, GATED_ROUNDS = 5, 20
LEGACY_TOP_K = 50  # the default of transformers' `generate()`
# Where --rounds is not given, a stage test ends early: per sample after MIN_ROUNDS rounds that took LONG_S, or over all
# samples after MANY_ROUNDS rounds that took LONG_IN_ALL_S, MIN_OF_MANY of each sample. More rounds add little; fewer
# short ones may all meet one burst of other work.
MIN_ROUNDS, LONG_S = 3, 3.0
MANY_ROUNDS, MIN_OF_MANY, LONG_IN_ALL_S = 16, 2, 0.5
# Under a gate, rounds of a sample fill a second, so that a short disturbance meets only some of them: at most MAX_TIMES
# the planned number.
GATED_S, MAX_TIMES = 1.0, 10
DEFAULT_QUERY = "What are the key elements in this scene?"
WITHOUT_EFFECT_ALONE = {"release": "gate", "confirm": "gate", "prefetch": "throughput", "loader_workers": "throughput"}
# Groups of `pytest --help`, by the first option of each.
_GROUPS = {
    "dataset_dir": "data",
    "model_set": "models",
    "query": "generation",
    "rounds": "measuring",
    "output_dir": "output",
    "resume": "long runs",
    "limits": "limits and gates",
}
# Placeholders of values in --help, by parser; else the last word of the option's name.
_METAVARS: dict[Callable[[str], object], str] = {
    values.path: "PATH",
    values.count: "N",
    values.small_count: "N",
    values.whole_number: "N",
    values.seconds: "SECONDS",
    values.duration: "TIME",
    values.key_and_value: "KEY=PATH",
    values.embedded: "N[:WxH[:SECONDS]]",
}


def _option(parse: Callable[[str], object], text: str, default: object = None, **more: object) -> Any:
    """Return the dataclass field of one option.

    Keys of `more`: `changes_figures`: two runs are compared only where the option agrees; `off_switch`: flag of the
    opposite; `ini_key`: key in pytest.ini, where pytest itself has the option's name; `without_value`: value of the
    bare flag; `names_output`: the value is a place that a run writes to.
    """
    unset = dict.fromkeys(("changes_figures", "off_switch", "ini_key", "without_value", "names_output"), False)
    return field(default=default, metadata={"parse": parse, "help": text, **unset, **more})


_figure = partial(_option, changes_figures=True)


@dataclass(frozen=True, slots=True)
class RoundsPlan:
    """Timed rounds per sample: `min_rounds`, and more until they fill `min_time_s` or are `max_rounds`."""

    min_rounds: int
    max_rounds: int
    min_time_s: float
    many: int | None = None  # rounds over all samples that are enough, if they fill LONG_IN_ALL_S

    def are_enough(self, round_s: Sequence[float], samples: int) -> bool:
        """Return whether the rounds so far are enough; `round_s`: the seconds of each, over all `samples` samples."""
        taken_s = sum(round_s)
        if self.many is not None and len(round_s) >= max(self.many, MIN_OF_MANY * samples) and taken_s >= LONG_IN_ALL_S:
            return True
        return len(round_s) >= self.min_rounds * samples and taken_s >= self.min_time_s * samples


@dataclass(frozen=True, slots=True)
class Options:
    """Every option of a run. None: not given, and the default depends on other options or on the machine."""

    dataset_dir: Path | None = _option(values.path, "dataset folder (default: the embedded dataset)")
    dataset_json: Path | None = _option(
        values.path, "instruction JSON (default: EventGPT_Instruction_Subset.json in the dataset folder)"
    )
    max_samples: int | None = _figure(values.count, "take the first N samples of the dataset (default: all)")
    embedded: str | None = _figure(
        values.embedded,
        "the embedded dataset: N[:WIDTHxHEIGHT[:SECONDS]] (default: 8:640x480:1; 3 samples for the set full)",
    )
    max_frames: int = _figure(values.count, "frames taken from a video", 8)
    use_event_image: bool = _figure(
        values.switch,
        "EventGPT loads the event images (default); --no_event_image draws them from the raw events",
        True,
        off_switch="no_event_image",
    )
    event_images: int | None = _figure(values.small_count, "number of event images per clip for EventGPT (default: 5)")
    event_window: float | None = _figure(
        values.duration, "with --no_event_image, draw only this first part of each clip, as 50ms or 2s (default: all)"
    )
    video_reader: str = _figure(values.text, "how MP4 files are read: fast, legacy or torchcodec", "fast")
    frame_cache: str = _figure(values.text, "what the frame cache keeps: off (nothing), frames or pixels", "off")
    cache_dir: Path | None = _option(
        values.path,
        "folder of the frame cache (default: event-vlm-perf/frames in the user's cache folder)",
        ini_key="frame_cache_dir",
    )
    cache_size: int | None = _option(values.size, "maximum size of the frame cache, as in 500MiB (default: 20GiB)")

    model_set: str | None = _figure(values.text, "tiny (default), full, or checkpoint (default with a model path)")
    models: tuple[str, ...] | None = _figure(values.names, "keys of the models, comma-separated: egpt,videollava,llava")
    use_video_llava: bool = _figure(values.switch, "take Video-LLaVA as target", False)
    use_llava15: bool = _figure(values.switch, "take LLaVA-1.5 as target", False)
    first_model: str | None = _figure(values.text, "the model that is measured first")
    eventgpt_model_path: str | None = _figure(values.text, "EventGPT's folder or hub id")
    video_llava_model_path: str | None = _figure(values.text, "Video-LLaVA's folder or hub id")
    llava_model_path: str | None = _figure(values.text, "LLaVA-1.5's folder or hub id")
    model_path: Mapping[str, str] | None = _figure(
        values.key_and_value, "KEY=PATH: folder or hub id of the model of that key; repeatable"
    )
    device: str | None = _figure(values.text, "cpu, cuda or cuda:N (default: cpu for the tiny set, else cuda)")
    engine: tuple[str, ...] | None = _figure(
        values.names,
        "what runs the model, comma-separated: eager, graph, graph-fast, static (default: eager; on CUDA eager,graph)",
    )
    dtype: str | None = _figure(
        values.text,
        "float32, float16 or bfloat16 (default: float32 on the CPU; else float16, and bfloat16 for the draft)",
    )
    quantize: str | None = _figure(
        values.text_but_none, "weights in four or eight bits by bitsandbytes: nf4, int8 or none (default: none)"
    )
    attn: str = _figure(values.text, "attention kernel: sdpa or eager", "sdpa")
    processor: str = _figure(values.text, "preprocess images like torchvision (torch) or Pillow (pil)", "torch")

    query: str = _figure(values.text, "the question asked of every sample", DEFAULT_QUERY)
    temperature: float = _figure(values.temperature, "sampling temperature; 0 is greedy", 0.0)
    top_p: float = _figure(values.share, "nucleus sampling: share of probability kept", 1.0)
    top_k: int | None = _figure(
        values.count, "sampling from this many most likely tokens (default: all; 50 with --legacy_generation)"
    )
    max_new_tokens: int = _figure(values.count, "maximum number of new tokens per answer", 512)
    fixed_tokens: int | None = _figure(
        values.count, "tokens in runs of fixed length (default: 48 for the set tiny; else 45 for egpt, 102 for targets)"
    )
    gamma: int = _option(values.small_count, "draft tokens per round of speculative decoding", 5)
    legacy_generation: bool = _figure(
        values.switch,
        "as the old script: repetition penalty 1.1 for LLaVA-1.5, sampling at 0.6 for EventGPT; top_k 50",
        False,
    )

    rounds: int | None = _figure(
        values.count,
        "timed rounds per sample of a stage test "
        "(default: 5; 3 if they take 3 s; 2 if all samples' are 16 and take 0.5 s; 20 under a gate)",
    )
    measurement_time: float | None = _figure(
        values.seconds,
        "seconds to fill with each sample's rounds, by up to ten times --rounds (default: none; 1 under a gate)",
    )
    stage_samples: int | None = _figure(values.count, "maximum samples per stage test (default: 8; 1 for the set full)")
    work_ledger: bool = _option(
        values.switch,
        "count the work of each stage after a model's timed tests (default)",
        True,
        off_switch="no_work_ledger",
    )
    warmup_steps: int = _figure(
        values.whole_number,
        "samples that warm up the whole pass untimed, on a CPU with short answers; the pass then times them too",
        1,
    )
    throughput: bool = _option(values.switch, "also measure samples/s, with files loaded ahead of the model", False)
    loader_workers: int = _figure(values.count, "threads that load files under --throughput", 2)
    prefetch: int | None = _figure(
        values.count,
        "maximum number of samples loaded ahead of the model under --throughput (default: twice --loader_workers)",
    )

    output_dir: Path | None = _option(values.path, "run's folder (default: results/<date and time>)", names_output=True)
    output_json: Path | None = _option(
        values.path,
        "legacy result JSON (default: in the run's folder); another file there is renamed",
        names_output=True,
    )
    report: bool = _option(values.switch, "write report.html and report.md (default)", True, off_switch="no_report")

    resume: Path | None = _option(
        values.path, "resume an unfinished run: its folder, or latest (default: results/latest)", without_value="latest"
    )
    retry_failed: bool = _option(values.switch, "under --resume, repeat samples that failed", False)
    sample_timeout: float | None = _option(
        values.seconds, "time limit in seconds per sample, in stage tests per call; slower samples count as failed"
    )

    limits: Path | None = _option(values.path, "limits file (default: limits.toml beside pytest.ini)")
    gate: bool = _option(
        values.switch,
        "compare with the baseline and flag worse figures; `python -m harness gate` also confirms them",
        False,
    )
    baselines: Path | None = _option(values.path, "folder of the baselines (default: baselines beside pytest.ini)")
    release: Path | None = _option(values.path, "folder of a release's baselines, which a gate compares with too")
    confirm: Path | None = _option(
        values.path, "a run's folder: measure its flagged figures again; `python -m harness gate` sets it"
    )

    @property
    def rounds_plan(self) -> RoundsPlan:
        """How often a stage test takes each sample."""
        rounds = self.rounds or ROUNDS
        if self.measurement_time is None:
            return RoundsPlan(self.rounds or MIN_ROUNDS, rounds, LONG_S, None if self.rounds else MANY_ROUNDS)
        return RoundsPlan(rounds, MAX_TIMES * rounds, self.measurement_time)

    def as_json(self) -> dict[str, Any]:
        """Every option by name, in types that JSON has."""
        plain: dict[str, Any] = msgspec.to_builtins(self, enc_hook=str)
        return plain


def output_flags() -> frozenset[str]:
    """Return every flag that names a place for files, pytest's and pytest-benchmark's own too."""
    ours = (_spellings(each.name) for each in fields(Options) if each.metadata["names_output"])
    return frozenset(chain(PYTEST_OUTPUTS, *ours))


def without_flags(words: Iterable[str], flags: Container[str]) -> list[str]:
    """Return a command line's `words` without these flags and their values."""
    kept, value_follows = [], False
    for word in words:
        name, with_value, _ = word.partition("=")
        if value_follows and not word.startswith("-"):
            value_follows = False
            continue
        value_follows = name in flags and not with_value and name != _AUTOSAVE
        if name not in flags:
            kept.append(word)
    return kept


def with_tests(words: Sequence[str], root: Path) -> tuple[str, ...]:
    """Return pytest's arguments, with the suite in front where none names tests: pytest.ini names the tool's tests."""

    def names_tests(word: str) -> bool:
        path = root / word.partition("::")[0]
        return not word.startswith("-") and (path.suffix == ".py" or path.name == TESTS or any(path.glob("test_*.py")))

    return tuple(words) if any(map(names_tests, words)) else (TESTS, *words)


def figure_changing_names() -> tuple[str, ...]:
    """Names of the options that must agree between two runs whose figures are compared."""
    return tuple(each.name for each in fields(Options) if each.metadata["changes_figures"])


def register(parser: "pytest.Parser") -> None:
    """Register every option with pytest: as a flag, spelled with `_` and with `-`, and as a key of pytest.ini."""
    group = parser.getgroup("event-vlm-perf")
    for each in fields(Options):
        if each.name in _GROUPS:
            group = parser.getgroup(f"event-vlm-perf: {_GROUPS[each.name]}")
        names_default = isinstance(each.default, bool | None) or "default" in each.metadata["help"]
        text = each.metadata["help"] + ("" if names_default else f" (default: {each.default})")
        _add_flag(group, each.name, text, dest=each.name, **_flag_form(each))
        off_switch, key = each.metadata["off_switch"], ini_key(each)
        if off_switch:
            opposite = f"the opposite of --{each.name}"
            _add_flag(group, off_switch, opposite, dest=each.name, action="store_const", const="false")
        aliases = [key.replace("_", "-")] if "_" in key else []
        parser.addini(key, f"as --{each.name}", type="string", default=None, aliases=aliases)


def _add_flag(group: "pytest.OptionGroup", name: str, text: str, **form: Any) -> None:
    """Add a flag in both spellings, the second one without a line in --help."""
    shown, *alias = _spellings(name)
    group.addoption(shown, help=text.replace("%", "%%"), **form)
    if alias:
        group.addoption(*alias, help=argparse.SUPPRESS, **form)


def read(config: "pytest.Config") -> Options:
    """Return the options of this run; raise OptionError naming flag or ini key, the value and the values it takes."""
    given: dict[str, Any] = {}
    for each in fields(Options):
        flag, ini = config.getoption(each.name), config.getini(ini_key(each))
        if flag is not None:
            given[each.name] = _parsed(each, flag, f"--{each.name}")
        elif ini:
            given[each.name] = _parsed(each, ini, f"{ini_key(each)} in {config.inipath}")
    for name, needed in WITHOUT_EFFECT_ALONE.items():
        # In pytest.ini an option may wait for the one that it belongs to.
        if config.getoption(name) is not None and not given.get(needed):
            raise OptionError(f"--{name} has no effect without --{needed}: give both, or leave --{name} out")
    if given.get("gate") and not {"rounds", "measurement_time"} & given.keys():
        given |= {"rounds": GATED_ROUNDS, "measurement_time": GATED_S}
    if given.get("legacy_generation"):
        given.setdefault("top_k", LEGACY_TOP_K)
    if "measurement_time" in given:
        given.setdefault("rounds", ROUNDS)  # a gate needs the planned number, not the rounds that fill the time
    return Options(**given)


def ini_key(each: Field[Any]) -> str:
    """Return the option's key of pytest.ini."""
    return str(each.metadata["ini_key"] or each.name)


def _parsed(each: Field[Any], raw: str | list[str], origin: str) -> object:
    if each.metadata["parse"] is values.key_and_value:
        pairs = [_parsed_one(each, word, origin) for word in (raw.splitlines() if isinstance(raw, str) else raw)]
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise OptionError(f"{origin} names {key!r} twice: leave one of them out")
        return dict(pairs)
    return _parsed_one(each, raw, origin)


def _parsed_one(each: Field[Any], raw: Any, origin: str) -> Any:
    try:
        return each.metadata["parse"](raw)
    except ValueError as error:
        raise OptionError(f"{origin} {error}, not {raw!r}") from error


def _spellings(name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((f"--{name}", "--" + name.replace("_", "-"))))


def _flag_form(each: Field[Any]) -> dict[str, Any]:
    if each.metadata["parse"] is values.switch:
        return {"action": "store_const", "const": "true"}
    metavar = _METAVARS.get(each.metadata["parse"], each.name.rpartition("_")[2].upper())
    if each.metadata["parse"] is values.key_and_value:
        return {"action": "append", "metavar": metavar}
    bare = each.metadata["without_value"]
    return {"action": "store", "metavar": metavar} | ({"nargs": "?", "const": bare} if bare else {})
