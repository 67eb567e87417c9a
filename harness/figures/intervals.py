"""Confidence intervals, by Student's t over samples or pairs; there is one formula for each kind of figure.

    student_interval     the mean of values or of differences
    mean_interval        a mean time: of the mean's logarithm, whose standard error is s / (mean * sqrt(n)) by the delta
                         method, so that what cannot be below zero gets an interval that is not either
    ratio_interval       how many times as long: of the mean log-ratio of the samples' own pairs. It lies around the
                         geometric mean of these ratios, while a speedup is the ratio of the means: where long samples
                         gain more than short ones, the two differ
    pooled_ratio         sum over sum, as a share or a ratio of totals: the ratio estimator (Cochran, Sampling
                         Techniques, 6.3)

`harness.ab.paired` adds the mean difference at equal speed of the machine, from an analysis of covariance.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import fmean

import msgspec

from harness.figures.student import t_quantile

ALPHA = 0.05
"""Share of intervals that miss the truth: each is a 95 % interval, unless an alpha of its own is given."""
FEW_SAMPLES = 10
"""Below this number, an interval depends on it more than on the models."""


class Interval(msgspec.Struct, frozen=True, rename={"samples": "pairs", "value": "mean"}):  # as ab.json has it
    """A figure over samples, pairs or differences, and what encloses the true one, on its own scale.

    The bounds are infinite for fewer than two samples. `at_equal_speed`: of differences B - A between two revisions,
    whether it is the mean that is expected where the machine is as fast for B as for A.
    """

    samples: int
    value: float
    low: float
    high: float
    at_equal_speed: bool = False

    @property
    def is_bounded(self) -> bool:
        """Whether there were samples enough for an interval."""
        return math.isfinite(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def student_interval(values: Sequence[float], alpha: float) -> Interval:
    """Return Student's interval for the mean of at least two values; it misses the truth in a share `alpha`."""
    # A bootstrap of medians does not hold what it promises for few and skewed samples.
    count, mean = len(values), fmean(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half_width = t_quantile(1 - alpha / 2, count - 1) * math.sqrt(variance / count)
    return Interval(count, mean, mean - half_width, mean + half_width)


def mean_interval(values: Collection[float]) -> Interval | None:
    """Return the interval of the mean of times, from mean / f to mean * f; None for fewer than two, or for no time."""
    mean = fmean(values) if len(values) > 1 else 0.0
    if mean <= 0:
        return None
    relative = student_interval([value / mean for value in values], ALPHA)
    factor = math.exp(relative.high - relative.value)
    return Interval(relative.samples, mean, mean / factor, mean * factor)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval | None:
    """Return the interval of the ratio of paired values, as factors; None for fewer than two, or where one is zero."""
    if len(numerators) < 2 or min(*numerators, *denominators) <= 0:
        return None
    logs = [math.log(above / below) for above, below in zip(numerators, denominators, strict=True)]
    found = student_interval(logs, ALPHA)
    return Interval(found.samples, math.exp(found.value), math.exp(found.low), math.exp(found.high))


def pooled_ratio(parts: Sequence[float], wholes: Sequence[float]) -> Interval:
    """Return the sum of all parts over that of all wholes, with its interval over the samples."""
    total, n = math.fsum(wholes), len(wholes)
    value = math.fsum(parts) / total
    if n < 2:
        return Interval(n, value, -math.inf, math.inf)
    squares = math.fsum((part - value * whole) ** 2 for part, whole in zip(parts, wholes, strict=True))
    half_width = t_quantile(1 - ALPHA / 2, n - 1) * math.sqrt(n / (n - 1) * squares) / total
    return Interval(n, value, value - half_width, value + half_width)
