"""Confidence intervals over samples or pairs: a formula for each kind of figure. Each interval contains its figure.

    student_interval     the mean of values or of differences
    ratio_interval       the ratio of two means, on its logarithm, by the jackknife (Efron and Tibshirani, An
                         Introduction to the Bootstrap, chapter 11)
    mean_interval        a mean time, as a ratio to ones, so that no bound is below zero
    quantile_interval    a percentile: between two of the sorted values (Conover, Nonparametric Statistics, 3.2)
    pooled_ratio         sum over sum, as a share or a ratio of totals: the ratio estimator (Cochran, Sampling
                         Techniques, 6.3)

`harness.ab.paired` adds the mean difference at equal speed of the machine, from an analysis of covariance.
"""

import math
from collections.abc import Collection, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Literal

import msgspec

from harness.figures.student import t_quantile

ChangeVerdict = Literal["regressed", "improved", "same", "no worse", "undecided"]

ALPHA = 0.05
"""Error rate of all intervals without an alpha of their own: they are 95 % intervals."""
MAX_LOG = 300.0
"""Maximum logarithm of an interval's factor, so that no number overflows."""
FEW_SAMPLES = 10
"""With fewer samples, an interval's width depends on their number more than on the models."""


class Interval(msgspec.Struct, frozen=True, rename={"samples": "pairs", "value": "mean"}):  # as ab.json has it
    """A figure and its confidence bounds, which are infinite for fewer than two samples."""

    samples: int
    value: float
    low: float
    high: float
    at_equal_speed: bool = False  # the mean difference B - A is adjusted to equal speed of the machine

    @property
    def is_bounded(self) -> bool:
        """Whether there were enough samples for bounds."""
        return math.isfinite(self.low)

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0

    def within(self, least: float, most: float = math.inf) -> "Interval":
        """Return the interval with its bounds cut to [least, most]; itself where it has no bounds."""
        cut = msgspec.structs.replace(self, low=max(self.low, least), high=min(self.high, most))
        return cut if self.is_bounded else self


def student_interval(values: Sequence[float], alpha: float) -> Interval:
    """Return Student's interval for the mean of at least two values, with error rate `alpha`."""
    # Not a bootstrap of medians: it misses its nominal coverage for few and skewed samples.
    count, mean = len(values), fmean(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half_width = t_quantile(1 - alpha / 2, count - 1) * math.sqrt(variance / count)
    return Interval(count, mean, mean - half_width, mean + half_width)


def mean_interval(values: Collection[float]) -> Interval | None:
    """Return the interval of a mean time, from mean / f to mean * f; None for fewer than two values, or a zero."""
    return ratio_interval(list(values), [1.0] * len(values))


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float]) -> Interval | None:
    """Return the interval of a ratio r of means of pairs, r / f to r * f; None for fewer than two pairs, or a zero."""
    count, above, below = len(numerators), math.fsum(numerators), math.fsum(denominators)
    if count < 2 or min(*numerators, *denominators) <= 0:
        return None
    # Jackknife, to first order: the change of the logarithm when one pair is left out.
    pairs = zip(numerators, denominators, strict=True)
    moves = [(y / above - x / below) / max(1 - x / below, 1e-12) for y, x in pairs]
    error = math.sqrt((count - 1) / count * math.fsum(move**2 for move in moves))
    # Unequal weights leave fewer samples to learn the spread from (Kish, Survey Sampling, 8.2).
    effective = max(2, round(below**2 / math.fsum(x**2 for x in denominators)))
    factor = math.exp(min(t_quantile(1 - ALPHA / 2, effective - 1) * error, MAX_LOG))
    return Interval(count, above / below, above / below / factor, above / below * factor)


def quantile_interval(values: Collection[float], share: float) -> Interval:
    """Return a quantile, linear between sorted values (R-7), and its interval; a bound beyond all values is inf."""
    ordered, n = sorted(values), len(values)
    below = int((n - 1) * share)
    ends = ordered[below], ordered[min(below + 1, n - 1)]
    value = min(ends[0] + ((n - 1) * share - below) * (ends[1] - ends[0]), ends[1])
    # P(at most k of n values lie below the true quantile) is binomial, for any distribution of the values.
    logs = (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1))
    terms = (log + k * math.log(share) + (n - k) * math.log1p(-share) for k, log in enumerate(logs))
    cumulated = list(accumulate(map(math.exp, terms)))
    low, high = (sum(each < bound for each in cumulated) for bound in (ALPHA / 2, 1 - ALPHA / 2))
    # `min`: of two values, the greater one is nearly sure to lie below the true p99, but the estimate lies below both.
    below_it = min(ordered[low - 1], value) if low else -math.inf
    return Interval(n, value, below_it, ordered[high] if high < n else math.inf)


def pooled_ratio(parts: Sequence[float], wholes: Sequence[float]) -> Interval:
    """Return the sum of all parts over the sum of all wholes, with its interval over the samples."""
    total, n = math.fsum(wholes), len(wholes)
    value = math.fsum(parts) / total
    if n < 2:
        return Interval(n, value, -math.inf, math.inf)
    squares = math.fsum((part - value * whole) ** 2 for part, whole in zip(parts, wholes, strict=True))
    half_width = t_quantile(1 - ALPHA / 2, n - 1) * math.sqrt(n / (n - 1) * squares) / total
    return Interval(n, value, value - half_width, value + half_width)


def verdict(found: Interval, minimum_effect: float, *, lower_is_better: bool) -> ChangeVerdict:
    """Return the verdict on an interval, as docs/ab.md defines it; its "bound" is `minimum_effect` here."""
    loss = found if lower_is_better else Interval(found.samples, -found.value, -found.high, -found.low)
    if loss.low > 0 and loss.value > minimum_effect:
        return "regressed"
    if loss.high < 0 and -loss.value > minimum_effect:
        return "improved"
    if loss.high > minimum_effect:
        return "undecided"
    return "same" if loss.low >= -minimum_effect else "no worse"
