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


def mean_of_faster_half(values: Collection[float]) -> float:
    """Return the mean of the smaller half of the values, or of logarithms: what a program takes if it is left alone.

    What else runs only slows down, so that the fast rounds tell most of the program; Chen and Revels, "Robust
    benchmarking in noisy environments" (2016), take the minimum. Half of them vary less than one alone. What slows no
    more than half of the rounds down is not seen, and of what slows more a part. An odd number's middle one counts too.
    """
    return mean(sorted(values)[: (len(values) + 1) // 2])


def mean(values: Collection[float]) -> float:
    """Return the arithmetic mean; the sum is exact, so the order of the values does not matter."""
    return statistics.fmean(values)


def median(values: Collection[float]) -> float:
    """Return the middle value, or the mean of the two middle ones."""
    return statistics.median(values)
