"""How sure the figures of one run are: Student's intervals over its samples, and samples that stand apart.

For ratios the interval is that of the mean log-ratio of the samples' own pairs, which holds what it promises for few
and skewed samples where a bootstrap of medians does not. It lies around the geometric mean of the samples' ratios,
while a speedup is the ratio of the means: where long samples gain more than short ones, the two differ.

For a mean time it is that of the mean's logarithm, whose standard error is s / (mean * sqrt(n)) by the delta method:
what cannot be below zero gets an interval that is not either.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import msgspec

from harness.figures.stages import Comparison, legacy_stage_s, paired, pass_s, passes
from harness.figures.student import t_quantile
from harness.figures.summary import mean, summarize
from harness.records.lines import PassRecord, RunRecord

ALPHA = 0.05
"""Share of intervals that miss the truth: each is a 95 % interval."""
FEW_SAMPLES = 10
"""Below so many, an interval says more of their number than of the models."""
FENCE = 3.0
"""Interquartile ranges from the middle half: Tukey's "far out"."""


class Interval(msgspec.Struct, frozen=True):
    """The mean of `pairs` values or differences, and what encloses the true one, on their own scale.

    `at_equal_speed`: of differences B - A between two revisions, whether it is the mean that is expected where the
    machine is as fast for B as for A.
    """

    pairs: int
    mean: float
    low: float
    high: float
    at_equal_speed: bool = False


def interval(values: Sequence[float], alpha: float) -> Interval:
    """Return Student's interval for the mean of at least two values; it misses the truth in a share `alpha`."""
    count, average = len(values), mean(values)
    variance = math.fsum((each - average) ** 2 for each in values) / (count - 1)
    half_width = t_quantile(1 - alpha / 2, count - 1) * math.sqrt(variance / count)
    return Interval(count, average, average - half_width, average + half_width)


def mean_interval(values: Collection[float]) -> Interval | None:
    """Return the interval of the mean of times, from mean / f to mean * f; None for fewer than two, or for no time."""
    average = mean(values) if len(values) > 1 else 0.0
    if average <= 0:
        return None
    relative = interval([each / average for each in values], ALPHA)
    factor = math.exp(relative.high - relative.mean)
    return Interval(relative.pairs, average, average / factor, average * factor)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval | None:
    """Return the interval of the ratio of paired values, as factors; None where it has none."""
    if len(numerators) < 2 or min(*numerators, *denominators) <= 0:
        return None
    logs = [math.log(above / below) for above, below in zip(numerators, denominators, strict=True)]
    found = interval(logs, ALPHA)
    return Interval(found.pairs, math.exp(found.mean), math.exp(found.low), math.exp(found.high))


def speedup_interval(run: RunRecord, comparison: Comparison, stage: int | None = None) -> Interval | None:
    """Return the interval of a speedup over the samples: of one of the three stages, or of the total."""
    draft = passes(run, "whole", run.header.draft or "", comparison.engine)
    pairs = paired(draft, passes(run, "whole", comparison.target, comparison.engine))

    def seconds(record: PassRecord) -> float:
        return pass_s(record) if stage is None else legacy_stage_s(record, stage)

    return ratio_interval([seconds(theirs) for _, theirs in pairs], [seconds(mine) for mine, _ in pairs])


def outliers(values: Mapping[str, float]) -> dict[str, float]:
    """Return the samples that lie far outside the middle half of all, the farthest first."""
    if len(values) < 4:
        return {}
    summary = summarize(list(values.values()))
    reach = FENCE * (summary.quartile_3 - summary.quartile_1)
    beyond = {
        sample: max(summary.quartile_1 - reach - value, value - summary.quartile_3 - reach)
        for sample, value in values.items()
    }
    apart = [sample for sample in values if beyond[sample] > 0]
    return {sample: values[sample] for sample in sorted(apart, key=lambda each: -beyond[each])}
