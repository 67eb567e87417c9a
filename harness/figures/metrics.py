"""The gated figures of one session, by which sessions and revisions are compared.

`session_metrics(run)` gives each figure by name, as one number on the scale of comparison. Times, memory and speedups
are natural logarithms (`is_log`), so that `expm1` of a difference is a relative change; acceptance is a plain
fraction, since it may be 0. `lower_is_better` tells which sign is a loss. Names:

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
from harness.figures.quality import COUNTS, NO_OUTPUTS, BaselineOutputs, quality
from harness.figures.speculation import speculation_figures
from harness.figures.stages import Speedup, comparable_rounds, decoding_steps, stage1_speedup, stage1_variant
from harness.figures.summary import mean_of_faster_half
from harness.grouping import grouped
from harness.records.lines import Header, RunRecord, StageRecord
from harness.records.quantities import MIB, MemoryPeak, in_digits

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

# Minimum effects: the smallest relative change that a gate may flag, however quiet the baseline is. Stages on a GPU
# repeat within 1 %; files come through a page cache.
MODEL_STAGE_ON_GPU = 0.03
# (standard deviation of the sessions, minimum effect) of a stage on a GPU, up to that deviation. A gate of ten sessions
# then finds twice the effect nearly always, with less than one false alarm in a thousand.
FINER_ON_GPU = ((0.002, 0.005), (0.005, 0.01))
# A CPU's clock follows load and temperature, and other processes share its caches.
MODEL_STAGE_ON_CPU = 0.05
# A few milliseconds that move megabytes: they drift by 2 to 7 % from second to second where others use the memory too.
PREPROCESS = 0.10
LOAD = 0.10
# The allocator counts exactly; a resident set moves with what the libraries map.
DEVICE_MEMORY = 0.01
HOST_MEMORY = 0.05
# Absolute: one answer of a hundred tokens that is worded differently moves the fraction by less.
ACCEPTANCE = 0.02
# Absolute for a fraction of samples or objects; relative for a number of tokens.
QUALITY = 0.02
# Largest exponent that is formatted: a file may hold any number.
MAX_LOG = 700.0


class Metric(msgspec.Struct, frozen=True):
    """One figure of one session.

    `value` and `minimum_effect` are on the same scale (see `is_log`); `unit` is that of the figure before any
    logarithm. `rounds`: number of timed rounds, memory rounds or samples, capped at the planned number. `tests`: the
    tests that measured it. `sides` of a speedup: logarithms of the target's and the draft's mean seconds. `parts`: the
    parts of the name, since a model's key may have dots in it.
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
        """Return the metric whose name is made of these parts, without empty ones."""
        parts = tuple(filter(None, name))
        kind, unit, lower_is_better = FAMILIES[parts[0]]
        joined = ".".join(parts)
        return cls(name=joined, parts=parts, kind=kind, unit=unit, lower_is_better=lower_is_better, **fields)

    @property
    def depends_on_speed(self) -> bool:
        """Whether the figure depends on the machine's own speed; memory and answers do not."""
        return self.kind in {"time", "speedup"}

    @property
    def tracks_machine_speed(self) -> bool:
        """Whether the figure grows where all work takes longer; a speedup does not, since both sides grow."""
        return self.kind == "time"

    def effect_at_spread(self, spread: float) -> float:
        """Return the minimum effect for sessions of this standard deviation; it may be finer for a stage on a GPU."""
        if self.kind != "time" or self.minimum_effect != math.log1p(MODEL_STAGE_ON_GPU):
            return self.minimum_effect
        return next((math.log1p(effect) for limit, effect in FINER_ON_GPU if spread <= limit), self.minimum_effect)

    @property
    def is_log(self) -> bool:
        """Whether `value` is a natural logarithm."""
        return _is_log(self.name)

    def format(self, value: float) -> str:
        """Return a value on this metric's scale as text with its unit."""
        figure = math.exp(min(value, MAX_LOG)) if self.is_log else value
        factor = {"s": 1000, "bytes": 1 / MIB}.get(self.unit, 1)
        forms = {"s": "{:.4g} ms", "ms": "{:.4g} ms", "bytes": "{:.0f} MiB", "times": "{:.3g}x"}
        return in_digits(forms.get(self.unit, "{:.3g}"), factor * figure)

    def format_change(self, change: float) -> str:
        """Return a difference of two values as text: percent of the figure, or percentage points of a fraction."""
        return percent_change(change) if self.is_log else f"{100 * change:+.1f} points"


def percent_change(change: float) -> str:
    """Return a difference of logarithms as text, in percent."""
    return f"{100 * math.expm1(min(change, MAX_LOG)):+.1f} %"


def change_as_share(metric: str, change: float) -> float:
    """Return a difference of two values of the named metric as a relative change; of a fraction, the difference."""
    return math.expm1(min(change, MAX_LOG)) if _is_log(metric) else change


def target_only_note(metric: Metric, change: float, *, target_moved: bool, draft_moved_against: bool) -> str:
    """Return a sentence if only the target's time changed a speedup, else an empty text.

    `change`: of the target's time. `draft_moved_against`: the draft changed, or may have changed, the other way.
    """
    if not target_moved or draft_moved_against:
        return ""
    target = metric.parts[2] if metric.parts else "the target"
    word, other = ("slower", "faster") if change > 0 else ("faster", "slower")
    return f"only {target} got {word} ({metric.format_change(change)}), the draft did not get {other}"


def session_metrics(run: RunRecord, baseline: BaselineOutputs = NO_OUTPUTS) -> dict[str, Metric]:
    """Return every gated figure that a session has measured, by name.

    `baseline`: a baseline's outputs, with which the session's outputs are compared.
    """
    groups = grouped(((each.stage, each.model, each.engine or "", each.variant), each) for each in run.stages)
    found = [metric for place, records in groups.items() for metric in _of_stage(place, records, run.header)]
    found += [*_stage_1_speedups(run), *_whole_pass_speedups(run), *_acceptances(run), *_qualities(run, baseline)]
    return {metric.name: metric for metric in found}


def minimum_effect_of_time(stage: str, *, on_gpu: bool) -> float:
    """Return the minimum effect of a stage's time, as a logarithm."""
    of_model = MODEL_STAGE_ON_GPU if on_gpu else MODEL_STAGE_ON_CPU
    return math.log1p({"load": LOAD, "preprocess": PREPROCESS}.get(stage, of_model))


def gate_estimate(values: Mapping[str, Sequence[float]]) -> float:
    """Return the logarithm of a time: per sample the mean of the faster half of the logarithms, then their mean."""
    # Each sample weighs the same, so a slowdown of some samples is seen. A slowdown of no more than half of a sample's
    # rounds is not seen: on a shared machine it is mostly due to others.
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
            # Rounds beyond the planned number fill the measurement time, and their number varies from run to run.
            counted = sum(min(len(each), header.planned_rounds or len(each)) for each in values.values())
            effect = minimum_effect_of_time(place[0], on_gpu=header.on_gpu)
            yield Metric.of(*name, value=gate_estimate(values), rounds=counted, minimum_effect=effect, tests=tests)
    peaks = [peak for record in records for peak in record.memory.values()]
    size = MemoryPeak.highest(peaks).on(header.device)
    if size:
        effect = math.log1p(DEVICE_MEMORY if header.on_gpu else HOST_MEMORY)
        count = len(peaks) if header.on_gpu else 1  # a process has one peak, whatever the number of rounds
        yield Metric.of("memory", *place, value=math.log(size), rounds=count, minimum_effect=effect, tests=tests)


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
        # The total includes files and preprocessing; stage 3 is the models alone.
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
                "acceptance", *place, value=own.value, rounds=own.samples, minimum_effect=ACCEPTANCE, tests=tuple(tests)
            )


def _qualities(run: RunRecord, baseline: BaselineOutputs) -> Iterator[Metric]:
    for each in quality(run, baseline):
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
