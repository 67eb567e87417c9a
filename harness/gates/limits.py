"""Limits on figures, and verdicts on a run. A broken limit fails the test that measured the figure, in one sentence.

Tables of the file are keyed by model set and engine; docs/limits.md has the kinds of limits below that.

Acceptance is judged as measured, since greedy answers to the same samples repeat. A blind draft may pass it, so the
vision lift is judged too, by the lower end of its 95 % interval, where there are enough samples.
"""

import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import LimitsError
from harness.figures.intervals import quantile_interval
from harness.figures.latency import latencies
from harness.figures.passes import comparisons
from harness.figures.quality import LIMITED, quality
from harness.figures.speculation import speculation_figures
from harness.figures.stages import LEGACY_READER, peak_bytes, stage1_speedup, stage1_variant, stage_figures
from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord, VerdictRecord, VerdictState
from harness.records.quantities import MIB, counted, in_digits
from harness.stages import STAGES

LOWER_BOUNDS = ("speedup", "acceptance", "vision_lift", "quality")
# Kind of limit and its name in sentences, by measure of `latencies`.
LATENCIES = {
    "ttft": ("ttft_ms", "time to first token"),
    "tpot": ("ms_per_token", "time per output token"),
    "end_to_end": ("total_ms", "time end to end"),
}
BY_STAGE = ("median_ms", "host_memory_mib", "device_memory_mib")
UPPER_BOUNDS = (*(kind for kind, _ in LATENCIES.values()), *BY_STAGE)
MIN_LIFT_SAMPLES = 8
"""With fewer samples, the lift's interval is too wide to judge."""
MAX_CHARACTERS, MAX_LINE = 100_000, 400
# Last parts of limits' names, behind the model's key, by kind; other kinds have none.
_LAST_KEYS = {"speedup": ("stage1", "stage3", "total"), "quality": LIMITED, **dict.fromkeys(BY_STAGE, STAGES)}


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The names that a limits file may use."""

    model_sets: Sequence[str]
    engines: Sequence[str]
    models: Sequence[str]


class Measured(msgspec.Struct, frozen=True):
    """A figure that a limit can bound; `form` formats its value, `basis` names the number of samples or rounds."""

    subject: str
    value: float
    form: str
    basis: str


def load_limits(path: Path, known: Vocabulary, model_set: str, engines: Sequence[str]) -> dict[str, float]:
    """Return one model set's limits, by `<engine>.<kind>.<model>[.<last key>]`; raise LimitsError for a wrong key."""
    tables = _parse(path)
    found: dict[str, float] = {}
    for set_name, by_engine in _tables(path, "", tables, known.model_sets):
        for engine, by_kind in _tables(path, set_name, by_engine, known.engines):
            limits = dict(_flatten(path, f"{set_name}.{engine}", by_kind, known))
            if set_name == model_set and engine in engines:
                found.update({f"{engine}.{name}": value for name, value in limits.items()})
    return found


def judge(limits: dict[str, float], run: RunRecord, test: str | None = None) -> list[VerdictRecord]:
    """Return a verdict for each limit: pass or broken where the figure was measured, else not run, with the reason."""
    machines = by_machine(run)
    if len(machines) > 1:
        sentence = f"not judged: times of several machines are not averaged ({'; '.join(machines)})"
        return [VerdictRecord(name, "not run", sentence, bound=bound) for name, bound in limits.items()]
    figures = measured(run)
    return [_verdict(name, bound, figures.get(name), test) for name, bound in limits.items()]


def measured(run: RunRecord) -> dict[str, Measured]:
    """Return every figure of the run that a limit can bound, by the limit's name."""
    found = {f"{engine}.{name}": each for engine in run.header.engines for name, each in _of_stage_tests(run, engine)}
    for comparison in comparisons(run):
        place, basis = f"{comparison.engine}.speedup.{comparison.target}", counted(comparison.total.samples, "sample")
        versus = f"speedup of {run.header.draft} over {comparison.target}"
        for what, words, speedup in (("stage3", "stage-3", comparison.stages[3]), ("total", "total", comparison.total)):
            found[f"{place}.{what}"] = Measured(f"{words} {versus}", speedup.factor, "{:.3g}x", basis)
    for each in latencies(run):
        if each.measure in LATENCIES:
            kind, words = LATENCIES[each.measure]
            p50 = 1000 * quantile_interval(each.values, 0.5).value
            figure = Measured(f"{words} of {each.model}", p50, "{:.4g} ms", f"p50 of {len(each.values)}")
            found[f"{each.engine}.{kind}.{each.model}"] = figure
    for of in quality(run):
        subject = f"{of.measure.replace('_', ' ')} of {of.model}"
        figure = Measured(subject, of.value, "{:.4g}", counted(of.samples, "value"))
        found[f"{of.engine}.quality.{of.model}.{of.measure}"] = figure
    for pair in speculation_figures(run):
        versus, own, lift = f"{pair.draft} drafting for {pair.target}", pair.acceptance.get("own"), pair.lift
        if own is not None:
            blind = f"; blind {pair.acceptance['blind'].value:.3g}" if "blind" in pair.acceptance else ""
            figure = Measured(f"acceptance of {versus}", own.value, "{:.3g}", counted(own.samples, "sample") + blind)
            found[f"{pair.engine}.acceptance.{pair.target}"] = figure
        if lift is not None and lift.samples >= MIN_LIFT_SAMPLES:
            subject = f"vision lift of {versus}, lower end of its interval,"
            figure = Measured(subject, lift.low, "{:.3g}", f"{lift.samples} samples")
            found[f"{pair.engine}.vision_lift.{pair.target}"] = figure
    return found


def _of_stage_tests(run: RunRecord, engine: str) -> Iterator[tuple[str, Measured]]:
    for stage in stage_figures(run):
        if not stage.variant and stage.is_most_common and stage.engine in {None, engine}:
            subject, basis = f"{stage.stage} of {stage.model}", f"median of {stage.seconds.n}"
            figure = Measured(subject, 1000 * stage.seconds.median, "{:.4g} ms", basis)
            yield f"median_ms.{stage.model}.{stage.stage}", figure
    kind, place = ("device_memory_mib", "GPU") if run.header.on_gpu else ("host_memory_mib", "resident")
    for (model, name), size in peak_bytes(run).items():
        figure = Measured(f"peak {place} memory in {name} of {model}", size / MIB, "{:.0f} MiB", "memory rounds")
        yield f"{kind}.{model}.{name}", figure
    for target in run.header.targets:
        speedup = stage1_speedup(run, target)
        if speedup:
            how = " by the legacy reader" if stage1_variant(run, target) == LEGACY_READER else ""
            subject, basis = f"stage-1 speedup of {run.header.draft} over {target}", counted(speedup.samples, "sample")
            yield f"speedup.{target}.stage1", Measured(subject + how, speedup.factor, "{:.3g}x", basis)


def _verdict(name: str, bound: float, figure: Measured | None, test: str | None) -> VerdictRecord:
    if figure is None:
        return VerdictRecord(limit=name, state="not run", sentence=_why_not_run(name), bound=bound)
    is_lower_bound = name.split(".")[1] in LOWER_BOUNDS
    kept = figure.value >= bound if is_lower_bound else figure.value <= bound
    value, limit = in_digits(figure.form, figure.value), in_digits(figure.form, bound)
    if value == limit and not kept:
        # With every digit, since the rounded figures are equal.
        unit = figure.form.partition("}")[2]
        value, limit = f"{figure.value!r}{unit}", f"{bound!r}{unit}"
    promise = f"must be at least {limit}" if is_lower_bound else f"was limited to {limit}"
    sentence = f"{figure.subject} {promise} {'and' if kept else 'but'} was {value} ({figure.basis})"
    state: VerdictState = "pass" if kept else "broken"
    return VerdictRecord(name, state, sentence, test, figure.value, bound)


def _why_not_run(name: str) -> str:
    _engine, kind, subject = name.split(".", 2)
    # A model's key may have dots in it; engine, kind and stage have none.
    model, _, what = subject.rpartition(".") if kind in _LAST_KEYS else (subject, "", "")
    needs = {
        **dict.fromkeys(UPPER_BOUNDS, f"whole passes of {model}, its stages divided"),
        "speedup": f"{model} and the draft measured on the same samples"
        + (", the files of both found in the same state" if what == "stage1" else ""),
        "acceptance": f"the speculative test of {model} on two samples or more",
        "vision_lift": f"the speculative test of {model} on {MIN_LIFT_SAMPLES} samples or more",
        "quality": f"whole passes and stage tests of {model}, and for {what} the outputs to compare with",
        "median_ms": f"the test of stage {what} of {model}",
        "host_memory_mib": f"memory rounds of {model} on a CPU, under Linux",
        "device_memory_mib": f"memory rounds of {model} on a GPU",
    }
    return f"not measured: needs {needs[kind]}"


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        longest = max(map(len, text.splitlines()), default=0)
        if len(text) > MAX_CHARACTERS or longest > MAX_LINE:  # tomllib takes very long for a key of many parts
            excess = f"more than {MAX_CHARACTERS} characters, or a line of more than {MAX_LINE}"
            raise LimitsError(f"{path}: has {excess}; a limit is a line of a few words")
        return tomllib.loads(text)
    except OSError as error:
        raise LimitsError(f"{path}: cannot be read ({error.strerror}); --limits names a limits file") from error
    except (ValueError, RecursionError) as error:  # wrong TOML or UTF-8, or numbers with thousands of digits
        raise LimitsError(f"{path}: is not TOML: {error}; correct it, or name another by --limits") from error


def _tables(path: Path, where: str, table: Any, right: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if not isinstance(table, dict):
        raise LimitsError(f"{path}: {where} must be a table with keys out of: {', '.join(right)}")
    for key, value in table.items():
        if key not in right:
            place = f" in [{where}]" if where else ""
            raise LimitsError(f"{path}: unknown key {key!r}{place}; there are: {', '.join(right)}")
        yield key, value


def _flatten(path: Path, where: str, table: Any, known: Vocabulary) -> Iterator[tuple[str, float]]:
    for kind, by_model in _tables(path, where, table, LOWER_BOUNDS + UPPER_BOUNDS):
        for model, value in _tables(path, f"{where}.{kind}", by_model, known.models):
            name = f"{kind}.{model}"
            if kind not in _LAST_KEYS:
                yield name, _number(path, f"{where}.{name}", value)
                continue
            for what, bound in _tables(path, f"{where}.{name}", value, _LAST_KEYS[kind]):
                yield f"{name}.{what}", _number(path, f"{where}.{name}.{what}", bound)


def _number(path: Path, where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise LimitsError(f"{path}: {where} must be a number from 0 up, not {value!r}")
    return float(value)
