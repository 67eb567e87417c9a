"""The gated figures of one session: what two sessions, or two revisions, are compared by.

`session_metrics(run)` gives each figure by name, as a single number on the scale on which it is compared:

    a, b = session_metrics(one_run), session_metrics(another)
    for name in a.keys() & b.keys():
        change = b[name].value - a[name].value      # one number a session: rounds are no independent samples
        slower = change > a[name].minimum_effect    # the same scale, so a difference is compared with it as it is
        a[name].written(b[name].value)              # "12.5 ms", for people

Times, memory and speedups are natural logarithms (`is_log`), so that a difference is a ratio and `expm1(change)` a
share; acceptance is the plain share, since it may be 0. `lower_is_better` says which sign is a loss. Names:

    time.<stage>.<model>[.<engine>][.<variant>]      seconds
    ms_per_token.<model>.<engine>[.<variant>]        milliseconds a decoding step
    memory.<stage>.<model>[.<engine>][.<variant>]    bytes: allocated on the GPU, else the resident set of the process
    acceptance.<target>.<engine>                     share: tokens of the target that the draft proposes, teacher-forced
    speedup.stage1.<target>                          by the legacy reader, on the stage samples
    speedup.{stage3,total}.<target>.<engine>         from the whole passes

How samples are pooled: of the logarithms of a sample's own rounds the mean of the faster half, then the mean over the
samples. So each sample has one voice, whatever its size, and what slows only some of them down is still seen. What
slows no more than half of a sample's rounds down is not: on a machine that others use too that is mostly their doing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Literal

import msgspec

from harness.figures.passes import comparisons
from harness.figures.speculation import speculation_figures
from harness.figures.stages import LEGACY_READER, Speedup, comparable_rounds, stage1_speedup
from harness.figures.summary import mean_of_faster_half
from harness.records.lines import RunRecord, StageRecord
from harness.records.quantities import MIB, MemoryPeak

MetricKind = Literal["time", "memory", "acceptance", "speedup"]

# The smallest change that a gate may call one, as a share of the figure, however quiet the baseline was. Stages on a
# GPU repeat within 1 %; files come through a page cache.
MODEL_STAGE_ON_GPU = 0.03
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
# Of what a figure can be written as; a file may say anything.
MAX_LOG = 700.0


class Metric(msgspec.Struct, frozen=True):
    """One figure of one session.

    `value` and `minimum_effect` are on the same scale (see `is_log`); `unit` is that of the figure itself, before any
    logarithm. `rounds`: timed rounds, memory rounds or samples that it was made of, no more than were planned: further
    ones, which fill a time, are more or less by chance. `tests`: those that measured it.
    `sides`: of a speedup, the logarithms of the target's and the draft's mean seconds. `parts`: what the name is joined
    of; a model's key may have dots in it.
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

    @property
    def depends_on_speed(self) -> bool:
        """Whether it moves with the machine's own speed; memory and answers do not."""
        return self.kind in {"time", "speedup"}

    @property
    def follows_speed(self) -> bool:
        """Whether it grows where all work takes longer; of a speedup, both sides do."""
        return self.kind == "time"

    @property
    def is_log(self) -> bool:
        """Whether `value` is a natural logarithm."""
        return self.kind != "acceptance"

    def written(self, value: float) -> str:
        """Return a value on this metric's scale as people write it, with its unit."""
        figure = math.exp(min(value, MAX_LOG)) if self.is_log else value
        forms = {"s": f"{1000 * figure:.4g} ms", "ms": f"{figure:.4g} ms", "bytes": f"{figure / MIB:.0f} MiB"}
        return forms.get(self.unit, f"{figure:.3g}{'x' if self.unit == 'times' else ''}")

    def written_change(self, change: float) -> str:
        """Return a difference of two values as people write it: percent of the figure, or points of a share."""
        return f"{100 * math.expm1(min(change, MAX_LOG)):+.1f} %" if self.is_log else f"{100 * change:+.1f} points"


def session_metrics(run: RunRecord) -> dict[str, Metric]:
    """Return every gated figure of a session by name; what was not measured is not there."""
    groups: dict[tuple[str, ...], list[StageRecord]] = defaultdict(list)
    for record in run.stages:
        groups[record.stage, record.model, record.engine or "", record.variant].append(record)
    on_gpu = run.header.on_gpu
    planned = run.header.planned_rounds
    found: list[Metric] = []
    for place, records in groups.items():
        found += _times(place, records, planned, on_gpu)
        found += _paces(place, records, planned, on_gpu)
        found += _memory(place, records, on_gpu)
    found += _stage_1_speedups(run)
    found += _whole_pass_figures(run, on_gpu)
    found += _acceptances(run)
    return {metric.name: metric for metric in found}


def minimum_effect_of_time(stage: str, *, on_gpu: bool) -> float:
    """Return the smallest change of a stage's time that counts, as a logarithm."""
    of_model = MODEL_STAGE_ON_GPU if on_gpu else MODEL_STAGE_ON_CPU
    return math.log1p({"load": LOAD, "preprocess": PREPROCESS}.get(stage, of_model))


def pooled(values: Mapping[str, Sequence[float]]) -> float:
    """Return the mean over the samples of the mean of the faster half of each sample's logarithms."""
    return fmean([mean_of_faster_half([math.log(each) for each in of_sample]) for of_sample in values.values()])


def _times(
    place: tuple[str, ...], records: Sequence[StageRecord], planned: int | None, on_gpu: bool
) -> Iterator[Metric]:
    rounds: dict[str, list[float]] = defaultdict(list)
    for sample, seconds, _steps in _rounds(records):
        rounds[sample].append(seconds)
    if rounds:
        effect = minimum_effect_of_time(place[0], on_gpu=on_gpu)
        yield _time(_parts("time", *place), "s", rounds, records, planned=planned, effect=effect)


def _paces(
    place: tuple[str, ...], records: Sequence[StageRecord], planned: int | None, on_gpu: bool
) -> Iterator[Metric]:
    rounds: dict[str, list[float]] = defaultdict(list)
    for sample, seconds, steps in _rounds(records):
        if steps > 0:
            rounds[sample].append(1000 * seconds / steps)
    if rounds:
        effect = minimum_effect_of_time(place[0], on_gpu=on_gpu)
        yield _time(_parts("ms_per_token", *place[1:]), "ms", rounds, records, planned=planned, effect=effect)


def _rounds(records: Iterable[StageRecord]) -> Iterator[tuple[str, float, int]]:
    """Yield sample, seconds and decoding steps of every timed round; n tokens take n - 1 steps."""
    for record in records:
        for sample, seconds in comparable_rounds(record):
            yield sample, seconds, record.tokens.get(sample, 0) - 1


def _time(
    parts: tuple[str, ...],
    unit: str,
    rounds: Mapping[str, Sequence[float]],
    records: Sequence[StageRecord],
    *,
    planned: int | None,
    effect: float,
) -> Metric:
    return Metric(
        name=".".join(parts),
        parts=parts,
        kind="time",
        value=pooled(rounds),
        unit=unit,
        lower_is_better=True,
        rounds=sum(min(len(each), planned or len(each)) for each in rounds.values()),
        minimum_effect=effect,
        tests=_tests(records),
    )


def _memory(place: tuple[str, ...], records: Sequence[StageRecord], on_gpu: bool) -> Iterator[Metric]:
    peaks = [peak for record in records for peak in record.memory.values()]
    size = MemoryPeak.highest(peaks).on("cuda" if on_gpu else "cpu")
    if size:
        parts = _parts("memory", *place)
        yield Metric(
            name=".".join(parts),
            parts=parts,
            kind="memory",
            value=math.log(size),
            unit="bytes",
            lower_is_better=True,
            rounds=len(peaks),
            minimum_effect=math.log1p(DEVICE_MEMORY if on_gpu else HOST_MEMORY),
            tests=_tests(records),
        )


def _stage_1_speedups(run: RunRecord) -> Iterator[Metric]:
    for target in run.header.targets:
        speedup = stage1_speedup(run, target, mean_of_faster_half)
        if speedup:
            loads = [record for record in run.stages if record.stage == "load"]
            variants = {record.variant for record in loads if record.model == target}
            yardstick = (target, LEGACY_READER if LEGACY_READER in variants else "")
            sides = [each for each in loads if (each.model, each.variant) in {(run.header.draft, ""), yardstick}]
            yield Metric(
                name=f"speedup.stage1.{target}",
                parts=("speedup", "stage1", target),
                kind="speedup",
                value=math.log(speedup.factor),
                unit="times",
                lower_is_better=False,
                rounds=speedup.samples,
                minimum_effect=math.log1p(LOAD),
                tests=_tests(sides),
                sides=_sides(speedup),
            )


def _whole_pass_figures(run: RunRecord, on_gpu: bool) -> Iterator[Metric]:
    for comparison in comparisons(run):
        place = (comparison.target, comparison.engine)
        samples = comparison.total.samples
        # The total has files and preprocessing in it, stage 3 the models alone.
        effects = {"stage3": minimum_effect_of_time("decode", on_gpu=on_gpu), "total": math.log1p(PREPROCESS)}
        for what, speedup in (("stage3", comparison.stages[3]), ("total", comparison.total)):
            parts = ("speedup", what, *place)
            yield Metric(
                name=".".join(parts),
                parts=parts,
                kind="speedup",
                value=math.log(speedup.factor),
                unit="times",
                lower_is_better=False,
                rounds=samples,
                minimum_effect=effects[what],
                tests=_pass_tests(run, *place),
                sides=_sides(speedup),
            )


def _acceptances(run: RunRecord) -> Iterator[Metric]:
    for found in speculation_figures(run):
        own = found.acceptance.get("own")
        if own is not None:
            place = (found.target, found.engine)
            tests = dict.fromkeys(each.test for each in run.agreements if (each.target, each.engine) == place)
            yield Metric(
                name=".".join(("acceptance", *place)),
                parts=("acceptance", *place),
                kind="acceptance",
                value=own.value,
                unit="share",
                lower_is_better=False,
                rounds=own.samples,
                minimum_effect=ACCEPTANCE,
                tests=tuple(tests),
            )


def _sides(speedup: Speedup) -> tuple[float, float]:
    return math.log(speedup.target_mean_s), math.log(speedup.draft_mean_s)


def _pass_tests(run: RunRecord, target: str, engine: str) -> tuple[str, ...]:
    """Return the tests whose whole passes a comparison is made of."""
    sides = {run.header.draft, target}
    passes = [each for each in run.passes if each.kind == "whole" and each.engine == engine and each.model in sides]
    return tuple(dict.fromkeys(each.test for each in passes if each.test))


def _tests(records: Iterable[StageRecord]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(record.test for record in records))


def _parts(*parts: str) -> tuple[str, ...]:
    return tuple(filter(None, parts))
