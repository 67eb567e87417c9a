"""Every option through both entrances, as pytest itself reads them."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from harness import option_values as values
from harness import options
from harness.errors import OptionError
from harness.gates.exit_status import NO_FIGURE
from harness.options import Options
from harness.records.journal import JOURNAL_NAME
from tests import ROOT
from tests.harness.made_files import write_baseline
from tests.harness.made_runs import full_run, header

# A value other than the default for every option: its words, and what becomes of them.
OTHER_VALUES: dict[str, tuple[str, object]] = {
    "dataset_dir": ("some/set", "some/set"),
    "dataset_json": ("some/set.json", "some/set.json"),
    "max_samples": ("4", 4),
    "embedded": ("2:64x48:0.5", "2:64x48:0.5"),
    "max_frames": ("16", 16),
    "use_event_image": ("false", False),
    "event_images": ("8", 8),
    "event_window": ("50ms", 0.05),
    "video_reader": ("legacy", "legacy"),
    "frame_cache": ("pixels", "pixels"),
    "cache_dir": ("some/cache", "some/cache"),
    "cache_size": ("3MiB", 3 * 1024 * 1024),
    "model_set": ("full", "full"),
    "models": ("llava, egpt", ["llava", "egpt"]),
    "use_video_llava": ("true", True),
    "use_llava15": ("true", True),
    "first_model": ("llava", "llava"),
    "eventgpt_model_path": ("some/egpt", "some/egpt"),
    "video_llava_model_path": ("some/videollava", "some/videollava"),
    "llava_model_path": ("some/llava", "some/llava"),
    "model_path": ("llava-1.5=some/llava", {"llava-1.5": "some/llava"}),
    "device": ("cuda:1", "cuda:1"),
    "engine": ("graph,eager", ["graph", "eager"]),
    "dtype": ("bfloat16", "bfloat16"),
    "quantize": ("nf4", "nf4"),
    "attn": ("eager", "eager"),
    "processor": ("pil", "pil"),
    "query": ("What moves?", "What moves?"),
    "temperature": ("0.5", 0.5),
    "top_p": ("0.25", 0.25),
    "top_k": ("40", 40),
    "max_new_tokens": ("64", 64),
    "fixed_tokens": ("48", 48),
    "gamma": ("3", 3),
    "legacy_generation": ("true", True),
    "rounds": ("20", 20),
    "measurement_time": ("0.5", 0.5),
    "stage_samples": ("2", 2),
    "work_ledger": ("false", False),
    "warmup_steps": ("0", 0),
    "throughput": ("true", True),
    "loader_workers": ("4", 4),
    "prefetch": ("6", 6),
    "output_dir": ("some/run", "some/run"),
    "output_json": ("some/result.json", "some/result.json"),
    "report": ("false", False),
    "resume": ("some/run", "some/run"),
    "retry_failed": ("true", True),
    "sample_timeout": ("2.5", 2.5),
    "limits": ("some/limits.toml", "some/limits.toml"),
    "gate": ("true", True),
    "baselines": ("some/baselines", "some/baselines"),
    "release": ("some/release", "some/release"),
    "confirm": ("some/run", "some/run"),
}
NAMES = [each.name for each in dataclasses.fields(Options)]
INI_KEYS = {each.name: options.ini_key(each) for each in dataclasses.fields(Options)}
# A run that is gone on with has a folder, and is no gate: these are asked for by themselves.
OF_RESUMED_RUNS = ("resume", "retry_failed")
OF_NEW_RUNS = [name for name in OTHER_VALUES if name not in OF_RESUMED_RUNS]
EXPECTED = {name: value for name, (_, value) in OTHER_VALUES.items()}
OFF_SWITCHES = {each.name: each.metadata["off_switch"] for each in dataclasses.fields(Options)}
SWITCHES = {each.name for each in dataclasses.fields(Options) if each.metadata["parse"] is values.switch}
CONFTEST = """
import json, pathlib
from harness.session.plugin import SESSION

pytest_plugins = ("harness.session.plugin",)

def pytest_configure(config):
    chosen = config.stash[SESSION].options
    pathlib.Path("options.json").write_text(json.dumps(chosen.as_json()))
"""

Asked = Callable[..., dict[str, Any]]


def dashed(name: str) -> str:
    return name.replace("_", "-")


def expected(names: Sequence[str]) -> dict[str, Any]:
    return Options().as_json() | {name: EXPECTED[name] for name in names}


def as_flags(spell: Callable[[str], str], names: Sequence[str] = OF_NEW_RUNS) -> list[str]:
    flags = []
    for name, (words, value) in ((each, OTHER_VALUES[each]) for each in names):
        if name not in SWITCHES:
            flags.append(f"--{spell(name)}={words}")
        elif value is True:
            flags.append(f"--{spell(name)}")
        else:
            flags.append("--" + spell(OFF_SWITCHES[name]))
    return flags


def as_ini(spell: Callable[[str], str], names: Sequence[str] = OF_NEW_RUNS) -> dict[str, str]:
    return {spell(INI_KEYS[name]): OTHER_VALUES[name][0] for name in names}


@pytest.fixture
def run_pytest(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Runs pytest with the plugin in a folder of its own, without a test."""

    def run(*flags: str, ini: Mapping[str, str] | None = None) -> pytest.RunResult:
        pytester.makeconftest(CONFTEST)
        write_baseline(pytester.path / OTHER_VALUES["release"][0] / "conditions", full_run())
        lines = ["[pytest]", f"pythonpath = {ROOT}", *(f"{key} = {value}" for key, value in (ini or {}).items())]
        (pytester.path / "pytest.ini").write_text("\n".join(lines) + "\n")
        return pytester.runpytest_inprocess("--strict-config", "-p", "no:cacheprovider", *flags)

    return run


@pytest.fixture
def asked(run_pytest: Callable[..., pytest.RunResult], pytester: pytest.Pytester) -> Asked:
    """Returns the options as pytest read them from flags and an ini file."""

    def ask(*flags: str, ini: Mapping[str, str] | None = None) -> dict[str, Any]:
        # Under a gate, no test at all is no figure.
        assert run_pytest(*flags, ini=ini).ret in {pytest.ExitCode.NO_TESTS_COLLECTED, NO_FIGURE}
        found: dict[str, Any] = json.loads((pytester.path / "options.json").read_text())
        return found

    return ask


def test_every_option_has_another_value_here() -> None:
    assert list(OTHER_VALUES) == NAMES
    defaults = Options().as_json()
    assert not {name for name in NAMES if defaults[name] == EXPECTED[name]}


def test_without_a_flag_or_an_ini_key_every_option_has_its_default(asked: Asked) -> None:
    assert asked() == Options().as_json()


@pytest.mark.parametrize("spell", [str, dashed])
def test_every_option_is_read_from_its_flag(spell: Callable[[str], str], asked: Asked) -> None:
    assert asked(*as_flags(spell)) == expected(OF_NEW_RUNS)


@pytest.mark.parametrize("spell", [str, dashed])
def test_every_option_is_read_from_the_ini_file(spell: Callable[[str], str], asked: Asked) -> None:
    assert asked(ini=as_ini(spell)) == expected(OF_NEW_RUNS)


@pytest.mark.parametrize("spell", [str, dashed])
@pytest.mark.parametrize("entrance", ["flags", "ini"])
def test_what_is_said_of_a_run_to_go_on_with_is_read_from_either(
    entrance: str, spell: Callable[[str], str], asked: Asked, pytester: pytest.Pytester
) -> None:
    folder = pytester.path / "some" / "run"
    folder.mkdir(parents=True)
    (folder / JOURNAL_NAME).write_bytes(msgspec.json.encode(header()) + b"\n")
    flags = as_flags(spell, OF_RESUMED_RUNS) if entrance == "flags" else []
    ini = as_ini(spell, OF_RESUMED_RUNS) if entrance == "ini" else {}
    assert asked(*flags, ini=ini) == expected(OF_RESUMED_RUNS)


def test_every_flag_wins_over_the_ini_file(asked: Asked) -> None:
    ini = Options().as_json()
    written = {name: str(ini[name]) for name in ("gamma", "rounds", "max_frames", "warmup_steps", "query", "top_p")}
    paths = {
        name: "other"
        for name in NAMES
        if name.endswith(("_dir", "_json", "_path")) or name in {"limits", "baselines", "confirm", "release", "resume"}
    }
    words = {
        "dtype": "float16",
        "quantize": "int8",
        "attn": "sdpa",
        "model_set": "tiny",
        "device": "cpu",
        "models": "egpt",
        "engine": "eager",
        "video_reader": "fast",
        "processor": "torch",
    }
    of_samples = ("max_samples", "stage_samples", "sample_timeout", "measurement_time", "loader_workers", "prefetch")
    counts = dict.fromkeys((*of_samples, "event_images", "top_k", "max_new_tokens", "fixed_tokens"), "7")
    rest = {
        "model_path": "egpt=other",
        "embedded": "9",
        "first_model": "egpt",
        "temperature": "1",
        "frame_cache": "off",
        "cache_size": "1GB",
        "event_window": "7ms",
    }
    switches = {
        "use_event_image": "true",
        "use_video_llava": "false",
        "use_llava15": "false",
        "legacy_generation": "false",
        "work_ledger": "true",
        "throughput": "false",
        "retry_failed": "false",
        "report": "true",
        "gate": "false",
    }
    everything = written | paths | words | counts | rest | switches
    assert set(everything) == set(NAMES)
    ini = {INI_KEYS[name]: everything[name] for name in OF_NEW_RUNS}
    assert asked(*as_flags(str), ini=ini) == expected(OF_NEW_RUNS)


def test_a_flag_with_the_default_value_wins_over_the_ini_file_too(asked: Asked) -> None:
    found = asked("--rounds=5", "--use_event_image", ini={"rounds": "20", "use_event_image": "false"})
    assert (found["rounds"], found["use_event_image"]) == (5, True)


@pytest.mark.parametrize("off", ["--no_event_image", "--no-event-image"])
def test_event_images_are_switched_off_by_a_flag_of_their_own_and_the_last_flag_wins(off: str, asked: Asked) -> None:
    assert asked(off, ini={"use_event_image": "true"})["use_event_image"] is False
    assert asked("--use_event_image", off)["use_event_image"] is False
    assert asked(off, "--use_event_image")["use_event_image"] is True


def test_a_path_can_be_given_for_each_of_several_models(asked: Asked) -> None:
    wanted = {"llava-1.5": "a=b", "egpt": "some/egpt"}
    assert asked("--model_path=llava-1.5=a=b", "--model-path=egpt=some/egpt")["model_path"] == wanted
    assert asked(ini={"model_path": "\n  llava-1.5 = a=b\n  egpt=some/egpt"})["model_path"] == wanted


def test_two_paths_for_one_model_are_a_usage_error(run_pytest: Callable[..., pytest.RunResult]) -> None:
    result = run_pytest("--model_path=egpt=a", "--model_path=egpt=b")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --model_path names 'egpt' twice: leave one of them out"])


def test_a_wrong_flag_ends_pytest_as_a_usage_error(run_pytest: Callable[..., pytest.RunResult]) -> None:
    result = run_pytest("--max-samples=-1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --max_samples takes a whole number from 1 up, not '-1'"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()


def test_a_wrong_ini_value_ends_pytest_as_a_usage_error_that_names_the_file(
    run_pytest: Callable[..., pytest.RunResult], pytester: pytest.Pytester
) -> None:
    result = run_pytest(ini={"max-samples": "many"})
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    ini = pytester.path / "pytest.ini"
    result.stderr.fnmatch_lines([f"ERROR: max_samples in {ini} takes a whole number from 1 up, not 'many'"])


def test_a_flag_and_an_ini_key_that_nobody_knows_are_refused(run_pytest: Callable[..., pytest.RunResult]) -> None:
    assert run_pytest("--max-sample=1").ret == pytest.ExitCode.USAGE_ERROR
    assert run_pytest(ini={"max_sample": "1"}).ret == pytest.ExitCode.USAGE_ERROR


def test_help_shows_every_option_once_in_groups_with_its_kind_of_value_and_its_default(
    run_pytest: Callable[..., pytest.RunResult],
) -> None:
    text = run_pytest("--help").stdout.str()
    shown = re.findall(r"^  --([a-z0-9_-]+)", text[text.index("event-vlm-perf: data") :], re.MULTILINE)
    known = [name for each in NAMES for name in (each, OFF_SWITCHES[each]) if name]
    assert [name for name in shown if name.replace("-", "_") in known] == known
    titles = re.findall(r"^event-vlm-perf: (.*):$", text, re.MULTILINE)
    assert titles == ["data", "models", "generation", "measuring", "output", "long runs", "limits and gates"]
    words = " ".join(text.split())
    assert "--max_samples=N take the first N samples" in words
    assert "--eventgpt_model_path=PATH" in words
    assert "maximum number of new tokens per answer (default: 512)" in words
    assert "sampling temperature; 0 is greedy (default: 0.0)" in words


class FakeConfig(SimpleNamespace):
    """What options.read asks of pytest's configuration."""

    inipath = Path("pytest.ini")

    def getoption(self, name: str) -> str | None:
        found: str | None = self.flags.get(name)
        return found

    def getini(self, name: str) -> str | None:
        found: str | None = self.ini.get(name)
        return found


WRONG = {values.text: " ", values.text_but_none: " ", values.path: " ", values.switch: "maybe"}


@pytest.mark.parametrize("entrance", ["flags", "ini"])
@pytest.mark.parametrize("each", list(dataclasses.fields(Options)), ids=lambda each: each.name)
def test_error_names_entrance_value_and_what_is_taken(each: Any, entrance: str) -> None:
    wrong = WRONG.get(each.metadata["parse"], ",,")
    config: Any = FakeConfig(flags={}, ini={})
    getattr(config, entrance)[each.name if entrance == "flags" else INI_KEYS[each.name]] = wrong
    with pytest.raises(OptionError) as caught:
        options.read(config)
    culprit = f"--{each.name}" if entrance == "flags" else f"{INI_KEYS[each.name]} in pytest.ini"
    assert str(caught.value).startswith(f"{culprit} takes ")
    assert str(caught.value).endswith(f", not {wrong!r}")


@pytest.mark.parametrize(("ini", "top_k"), [({}, 50), ({"top_k": "20"}, 20)])
def test_legacy_generation_draws_from_the_50_likeliest_unless_a_number_is_given(ini: Any, top_k: int) -> None:
    assert options.read(FakeConfig(flags={"legacy_generation": "true"}, ini=ini)).top_k == top_k


@pytest.mark.parametrize(("name", "needed"), options.WITHOUT_EFFECT_ALONE.items())
def test_a_flag_that_would_have_no_effect_is_a_mistake_and_in_the_ini_file_it_may_wait(name: str, needed: str) -> None:
    raw, value = OTHER_VALUES[name]
    with pytest.raises(OptionError, match=f"--{name} has no effect without --{needed}: give both, or leave"):
        options.read(FakeConfig(flags={name: raw}, ini={}))
    both: Any = FakeConfig(flags={name: raw}, ini={needed: "true"})
    assert str(getattr(options.read(both), name)) == str(value)
    assert not getattr(options.read(FakeConfig(flags={}, ini={name: raw})), needed)


def test_a_wrong_ini_value_is_not_looked_at_where_a_flag_is_given() -> None:
    config: Any = FakeConfig(flags={"rounds": "3"}, ini={"rounds": "many"})
    assert options.read(config).rounds == 3


def test_an_empty_ini_value_is_none_at_all() -> None:
    config: Any = FakeConfig(
        flags={"quantize": "none"}, ini={"rounds": "", "device": ""}
    )  # which is said of it by "none"
    assert options.read(config) == Options()


def test_an_empty_flag_is_a_mistake() -> None:
    config: Any = FakeConfig(flags={"device": ""}, ini={})
    with pytest.raises(OptionError, match=r"--device takes a text that is not empty, not ''"):
        options.read(config)


def test_options_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().rounds = 7  # type: ignore[misc]


def test_flags_that_name_outputs_are_ours_in_both_spellings_and_those_of_pytest() -> None:
    ours = {"--output_json", "--output-json", "--output_dir", "--output-dir"}
    assert options.output_flags() == ours | set(options.PYTEST_OUTPUTS)


@pytest.mark.parametrize("flag", sorted(options.PYTEST_OUTPUTS))
def test_pytest_knows_the_flags_that_are_said_to_be_its_own(flag: str, pytestconfig: pytest.Config) -> None:
    known = {name for group in pytestconfig._parser._groups for each in group.options for name in each.names()}
    assert flag in known


@pytest.mark.parametrize(
    "words",
    [
        ["--benchmark-json", "a.json"],
        ["--output-json=a"],
        ["--benchmark-autosave"],
        ["--junit-xml", "a", "--output_dir=b"],
    ],
)
def test_flags_are_left_out_with_their_values_and_nothing_else(words: list[str]) -> None:
    kept = options.without_flags(["-k", "load", *words, "perf_tests", "--dtype", "float16"], options.output_flags())
    assert kept == ["-k", "load", "perf_tests", "--dtype", "float16"]


def test_what_changes_no_figure_is_where_files_are_and_how_figures_are_judged() -> None:
    changes_none = (
        "dataset_dir dataset_json output_json output_dir limits cache_dir cache_size gamma work_ledger throughput "
        "resume retry_failed sample_timeout report gate baselines confirm release"
    )
    assert set(NAMES) - set(options.figure_changing_names()) == set(changes_none.split())


def test_options_as_json_are_json() -> None:
    found = json.loads(json.dumps(Options(dataset_dir=Path("a/b"), models=("egpt", "llava")).as_json()))
    assert (found["dataset_dir"], found["models"], list(found)) == ("a/b", ["egpt", "llava"], NAMES)
