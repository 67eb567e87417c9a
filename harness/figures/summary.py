"""Summary statistics of rounds: median, quartiles, mean of the faster half, outliers."""

from collections.abc import Collection, Mapping
from statistics import fmean, median, quantiles

import msgspec

FENCE = 3.0
"""Interquartile ranges between the quartiles and an outlier: Tukey's "far out"."""


class Summary(msgspec.Struct, frozen=True):
    """Median and spread of `n` values; `quartile_1` and `quartile_3` enclose the middle half."""

    n: int
    median: float
    quartile_1: float
    quartile_3: float

    @property
    def relative_spread(self) -> float:
        """Half the interquartile range over the median: a relative ± that outliers do not change."""
        return (self.quartile_3 - self.quartile_1) / 2 / self.median if self.median else 0.0


def summarize(values: Collection[float]) -> Summary:
    """Return the summary of at least one value; quartiles interpolate between sorted values (R-7, NumPy's default)."""
    if not values:
        raise ValueError("nothing to summarize: no values")
    ordered = sorted(values)
    # Before Python 3.13 the standard library has no quartiles of one value.
    first, _, third = quantiles(ordered, method="inclusive") if len(ordered) > 1 else 3 * ordered
    return Summary(n=len(ordered), median=median(ordered), quartile_1=first, quartile_3=third)


def mean_of_faster_half(values: Collection[float]) -> float:
    """Return the mean of the smaller half of values or logarithms, including the middle one of an odd number."""
    # Other processes only slow rounds down, so fast rounds tell most about the program: Chen and Revels, "Robust
    # benchmarking in noisy environments" (2016), take the minimum. The mean of half of the rounds varies less. It does
    # not show a slowdown of up to half of the rounds, and only a part of any other.
    return fmean(sorted(values)[: (len(values) + 1) // 2])


def outliers(values: Mapping[str, float]) -> dict[str, float]:
    """Return the samples with a value farther than FENCE from the quartiles, the farthest first."""
    if len(values) < 4:
        return {}
    summary = summarize(values.values())
    reach = FENCE * (summary.quartile_3 - summary.quartile_1)
    beyond = {each: max(summary.quartile_1 - value, value - summary.quartile_3) for each, value in values.items()}
    return {each: values[each] for each in sorted(beyond, key=lambda each: -beyond[each]) if beyond[each] > reach}
