"""Charts show what they are for, whatever the figures are."""

from __future__ import annotations

import re

import pytest

from harness.figures.intervals import Interval
from harness.report import charts


def ticks(svg: str) -> list[float]:
    """The numbers on a chart's axis."""
    return [float(text) for text in re.findall(r">(\d+(?:\.\d+)?)</text>", svg)]


def test_bars_without_intervals_are_as_long_as_their_parts() -> None:
    svg = charts.bars([charts.Bar("egpt", (("load", 4.0, "s1"), ("decode", 6.0, "s5")))], "s a sample")
    assert max(ticks(svg)) == 10


@pytest.mark.parametrize("high", [19.0, 21.0, 3e6])
def test_an_interval_without_bounds_leaves_the_bars_to_be_seen(high: float) -> None:
    row = charts.Bar("egpt", (("load", 4.0, "s1"), ("decode", 6.0, "s5")), Interval(8, 10.0, 0.1, high), "ten")
    svg = charts.bars([row], "ms a sample")
    assert 10 <= max(ticks(svg)) <= 25
    ends = re.findall(r"<use [^>]*stroke: var\(--ink\)", svg)
    assert len(ends) == (2 if high < 20 else 1)  # one that lies beyond the chart is not drawn
