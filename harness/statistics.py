"""The few statistics that figures are made of; every name says which."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """Median and spread of `n` values; `quartile_1` and `quartile_3` enclose the middle half."""

    n: int
    median: float
    quartile_1: float
    quartile_3: float
    mean: float
    minimum: float
    maximum: float

    @property
    def relative_spread(self) -> float:
        """Half the interquartile range over the median: "± x of it", without being led by outliers."""
        return (self.quartile_3 - self.quartile_1) / 2 / self.median if self.median else 0.0


def summarize(values: Collection[float]) -> Summary:
    """Return the summary of at least one value.

    Quartiles by linear interpolation between order statistics (R-7, NumPy's default).
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("nothing to summarize: no values")
    return Summary(
        n=len(ordered),
        median=quantile(ordered, 0.5),
        quartile_1=quantile(ordered, 0.25),
        quartile_3=quantile(ordered, 0.75),
        mean=mean(ordered),
        minimum=ordered[0],
        maximum=ordered[-1],
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie, interpolated (R-7)."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    weight = position - below
    # Equal neighbours are returned as they are: a mix of them may differ in the last place.
    if ordered[below] == ordered[above]:
        return ordered[below]
    return ordered[below] * (1 - weight) + ordered[above] * weight


def lower_decile(values: Collection[float]) -> float:
    """Return what a tenth of the values lie below: what a program takes while nothing else gets in its way.

    What else runs only slows down. Chen and Revels, "Robust benchmarking in noisy environments" (2016), therefore take
    the minimum; of eleven rounds or more a decile does not hang on a single one.
    """
    return quantile(sorted(values), 0.1)


def mean(values: Collection[float]) -> float:
    """Return the arithmetic mean; the sum is exact, so the order of the values does not matter."""
    return statistics.fmean(values)


def median(values: Collection[float]) -> float:
    """Return the middle value, or the mean of the two middle ones."""
    return statistics.median(values)
