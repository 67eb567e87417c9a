"""The gated figures of one session: what two sessions, or two revisions, are compared by.

`session_metrics(run)` gives each figure by name, as a single number on the scale on which it is compared.
Times, memory and speedups are natural logarithms (`is_log`), so that a difference is a ratio and `expm1(change)` a
share; acceptance is the plain share, since it may be 0. `lower_is_better` says which sign is a loss. Names:

    time.<stage>.<model>[.<engine>][.<variant>]      seconds: the gate estimate
    ms_per_token.<model>.<engine>[.<variant>]        milliseconds a decoding step: the gate estimate, no median
    memory.<stage>.<model>[.<engine>][.<variant>]    bytes: allocated on the GPU, else the resident set of the process
    acceptance.<target>.<engine>                     share: tokens of the target that the draft proposes, teacher-forced
    speedup.stage1.<target>                          by the legacy reader, on the stage samples
    speedup.{stage3,total}.<target>.<engine>         from the whole passes
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, Self

import msgspec

from harness.figures.passes import comparisons
from harness.figures.quality import COUNTS, NOTHING, Usual, quality
from harness.figures.speculation import speculation_figures
from harness.figures.stages import Speedup, comparable_rounds, decoding_steps, stage1_speedup, stage1_variant
from harness.figures.summary import mean_of_faster_half
from harness.records.lines import Header, RunRecord, StageRecord
from harness.records.quantities import MIB, MemoryPeak

MetricKind = Literal["time", "memory", "acceptance", "speedup", "quality"]
# By the first part of a name: kind, unit of the figure itself, and whether less is better.
FAMILIES: dict[str, tuple[MetricKind, str, bool]] = {
    "time": ("time", "s", True),
    "ms_per_token": ("time", "ms", True),
    "memory": ("memory", "bytes", True),
    "acceptance": ("acceptance", "share", False),
    "speedup": ("speedup", "times", False),
    "quality": ("quality", "share", False),
    "length": ("quality", "count", False),
}

# The smallest change that a gate may call one, as a share of the figure, however quiet the baseline was. Stages on a
# GPU repeat within 1 %; files come through a page cache.
MODEL_STAGE_ON_GPU = 0.03
# Of a stage on a GPU, whose sessions have a standard deviation of at most the first: then a gate of ten sessions finds
# twice the second nearly always, and is wrong less than once in a thousand times.
FINER_ON_GPU = ((0.002, 0.005), (0.005, 0.01))
# A CPU's clock follows load and temperature, and its caches are shared with whatever else runs.
MODEL_STAGE_ON_CPU = 0.05
# A few milliseconds that move megabytes: from second to second they drift by 2 to 7 % where others use the memory too.
PREPROCESS = 0.10
LOAD = 0.10
# The allocator counts exactly; a resident set moves with what the libraries map.
DEVICE_MEMORY = 0.01
HOST_MEMORY = 0.05
# Of the share itself: one answer of a hundred tokens that is worded differently moves it by less.
ACCEPTANCE = 0.02
# Of a share of samples or objects; of a number of tokens, as a share of it.
QUALITY = 0.02
# Of what a figure can be written as; a file may say anything.
MAX_LOG = 700.0


class Metric(msgspec.Struct, frozen=True):
    """One figure of one session.

    `value` and `minimum_effect` are on the same scale (see `is_log`); `unit` is that of the figure itself, before any
    logarithm. `rounds`: timed rounds, memory rounds or samples that it was made of, capped at the planned number.
    `tests`: those that measured it. `sides`: of a speedup, the logarithms of the target's and the draft's mean seconds.
    `parts`: what the name is joined of; a model's key may have dots in it.
    """

    name: str
    kind: MetricKind
    value: float
    unit: str
    lower_is_better: bool
    rounds: int
    minimum_effect: float
    tests: tuple[str, ...] = ()
    sides: tuple[float, float] | None = None
    parts: tuple[str, ...] = ()

    @classmethod
    def of(cls, *name: str, **fields: Any) -> Self:
        """Return the metric of a name in parts, of which some may be empty."""
        parts = tuple(filter(None, name))
        kind, unit, lower_is_better = FAMILIES[parts[0]]
        joined = ".".join(parts)
        return cls(name=joined, parts=parts, kind=kind, unit=unit, lower_is_better=lower_is_better, **fields)

    @property
    def depends_on_speed(self) -> bool:
        """Whether it moves with the machine's own speed; memory and answers do not."""
        return self.kind in {"time", "speedup"}

    @property
    def tracks_machine_speed(self) -> bool:
        """Whether it grows where all work takes longer; of a speedup, both sides do."""
        return self.kind == "time"

    def effect_beside(self, spread: float) -> float:
        """Return the minimum effect beside sessions of this standard deviation: on a GPU a stage's may be finer."""
        if self.kind != "time" or self.minimum_effect != math.log1p(MODEL_STAGE_ON_GPU):
            return self.minimum_effect
        return next((math.log1p(effect) for most, effect in FINER_ON_GPU if spread <= most), self.minimum_effect)

    @property
    def is_log(self) -> bool:
        """Whether `value` is a natural logarithm."""
        return _is_log(self.name)

    def format(self, value: float) -> str:
        """Return a value on this metric's scale as people write it, with its unit."""
        figure = math.exp(min(value, MAX_LOG)) if self.is_log else value
        forms = {"s": f"{1000 * figure:.4g} ms", "ms": f"{figure:.4g} ms", "bytes": f"{figure / MIB:.0f} MiB"}
        return forms.get(self.unit, f"{figure:.3g}{'x' if self.unit == 'times' else ''}")

    def format_change(self, change: float) -> str:
        """Return a difference of two values as people write it: percent of the figure, or points of a share."""
        return percent_change(change) if self.is_log else f"{100 * change:+.1f} points"


def percent_change(change: float) -> str:
    """Return a difference of logarithms as people write it, in percent."""
    return f"{100 * math.expm1(min(change, MAX_LOG)):+.1f} %"


def change_as_share(metric: str, change: float) -> float:
    """Return a difference of two values of a metric, by its name, as a share of the figure, or of a share as it is."""
    return math.expm1(min(change, MAX_LOG)) if _is_log(metric) else change


def only_the_target(metric: Metric, change: float, *, target_moved: bool, draft_moved_against: bool) -> str:
    """Say so where a speedup changed because its target got slower, or faster, and the draft had no part in it.

    `change`: that of the target's time; `draft_moved_against`: whether the draft changed, or may have, the other way.
    """
    if not target_moved or draft_moved_against:
        return ""
    target = metric.parts[2] if metric.parts else "the target"
    word, other = ("slower", "faster") if change > 0 else ("faster", "slower")
    return f"only {target} got {word} ({metric.format_change(change)}), the draft did not get {other}"


def session_metrics(run: RunRecord, usual: Usual = NOTHING) -> dict[str, Metric]:
    """Return every gated figure of a session by name; what was not measured is not there.

    `usual`: what a baseline's sessions have, with which this one's outputs are compared.
    """
    groups: dict[tuple[str, ...], list[StageRecord]] = defaultdict(list)
    for record in run.stages:
        groups[record.stage, record.model, record.engine or "", record.variant].append(record)
    found = [metric for place, records in groups.items() for metric in _of_stage(place, records, run.header)]
    found += [*_stage_1_speedups(run), *_whole_pass_speedups(run), *_acceptances(run), *_qualities(run, usual)]
    return {metric.name: metric for metric in found}


def minimum_effect_of_time(stage: str, *, on_gpu: bool) -> float:
    """Return the smallest change of a stage's time that counts, as a logarithm."""
    of_model = MODEL_STAGE_ON_GPU if on_gpu else MODEL_STAGE_ON_CPU
    return math.log1p({"load": LOAD, "preprocess": PREPROCESS}.get(stage, of_model))


def gate_estimate(values: Mapping[str, Sequence[float]]) -> float:
    """Return the mean over the samples of the mean of the faster half of each sample's logarithms."""
    # Each sample weighs the same, whatever its size, and what slows only some of them down is still seen. What slows no
    # more than half of a sample's rounds down is not: on a machine that others use too that is mostly their doing.
    return fmean(mean_of_faster_half([math.log(value) for value in of_sample]) for of_sample in values.values())


def _of_stage(place: tuple[str, ...], records: Sequence[StageRecord], header: Header) -> Iterator[Metric]:
    """Yield time, time per token and memory of one stage, model, engine and variant."""
    rounds: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for sample, seconds in comparable_rounds(record):
            rounds[sample].append(seconds)
            if decoding_steps(record, sample) > 0:
                steps[sample].append(1000 * seconds / decoding_steps(record, sample))
    tests = _tests(records)
    for name, values in ((("time", *place), rounds), (("ms_per_token", *place[1:]), steps)):
        if values:
            # Rounds beyond the planned number fill the measurement time: they vary from run to run.
            counted = sum(min(len(each), header.planned_rounds or len(each)) for each in values.values())
            effect = minimum_effect_of_time(place[0], on_gpu=header.on_gpu)
            value = gate_estimate(values)
            yield Metric.of(*name, value=value, rounds=counted, minimum_effect=effect, tests=tests)
    peaks = [peak for record in records for peak in record.memory.values()]
    size = MemoryPeak.highest(peaks).on(header.device)
    if size:
        effect = math.log1p(DEVICE_MEMORY if header.on_gpu else HOST_MEMORY)
        rounds_of_memory = len(peaks) if header.on_gpu else 1  # of a whole process, sessions of any version took enough
        yield Metric.of(
            "memory", *place, value=math.log(size), rounds=rounds_of_memory, minimum_effect=effect, tests=tests
        )


def _stage_1_speedups(run: RunRecord) -> Iterator[Metric]:
    for target in run.header.targets:
        speedup = stage1_speedup(run, target, mean_of_faster_half)
        if speedup:
            sides = {(run.header.draft, ""), (target, stage1_variant(run, target))}
            loads = [each for each in run.stages if each.stage == "load" and (each.model, each.variant) in sides]
            yield _speedup(("stage1", target), speedup, math.log1p(LOAD), _tests(loads))


def _whole_pass_speedups(run: RunRecord) -> Iterator[Metric]:
    for comparison in comparisons(run):
        sides = {run.header.draft, comparison.target}
        passes = [each for each in run.passes if each.kind == "whole" and each.engine == comparison.engine]
        tests = tuple(dict.fromkeys(each.test for each in passes if each.test and each.model in sides))
        place = (comparison.target, comparison.engine)
        decode = minimum_effect_of_time("decode", on_gpu=run.header.on_gpu)
        yield _speedup(("stage3", *place), comparison.stages[3], decode, tests)
        # The total has files and preprocessing in it, stage 3 the models alone.
        yield _speedup(("total", *place), comparison.total, math.log1p(PREPROCESS), tests)


def _speedup(place: Sequence[str], speedup: Speedup, effect: float, tests: tuple[str, ...]) -> Metric:
    return Metric.of(
        "speedup",
        *place,
        value=math.log(speedup.factor),
        rounds=speedup.samples,
        minimum_effect=effect,
        tests=tests,
        sides=(math.log(speedup.target_mean_s), math.log(speedup.draft_mean_s)),
    )


def _acceptances(run: RunRecord) -> Iterator[Metric]:
    for found in speculation_figures(run):
        own = found.acceptance.get("own")
        if own is not None:
            place = (found.target, found.engine)
            tests = dict.fromkeys(each.test for each in run.agreements if (each.target, each.engine) == place)
            yield Metric.of(
                "acceptance",
                *place,
                value=own.value,
                rounds=own.samples,
                minimum_effect=ACCEPTANCE,
                tests=tuple(tests),
            )


def _qualities(run: RunRecord, usual: Usual) -> Iterator[Metric]:
    for each in quality(run, usual):
        if each.measure in COUNTS:
            value, effect, family = math.log(max(each.value, 1e-9)), math.log1p(QUALITY), "length"
        else:
            value, effect, family = each.value, QUALITY, "quality"
        place = (family, each.measure, each.model, each.engine)
        yield Metric.of(*place, value=value, rounds=each.samples, minimum_effect=effect, tests=each.tests)


def _tests(records: Iterable[StageRecord]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(record.test for record in records))


def _is_log(name: str) -> bool:
    return not name.startswith(("acceptance.", "quality."))
