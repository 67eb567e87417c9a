from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.ab.plan import AbPlan, Side
from harness.ab.results import PairedFigure, RevisionComparison
from harness.ab.table import change, table
from harness.figures.intervals import Interval
from harness.figures.metrics import Metric
from harness.gates.exit_status import Status

TIME = Metric("time.load.egpt", "time", math.log(0.5), "s", True, 3, math.log(1.1))
ACCEPTANCE = Metric("acceptance.llava.eager", "acceptance", 0.75, "share", False, 8, 0.02)
PLAN = AbPlan("2026-03-04T05:06:07+00:00", Side("a1", "main (a1)", ()), Side("b2", "a branch (b2)", ("-x",)), ("p",), 4)


@pytest.mark.parametrize(
    ("metric", "difference", "expected"),
    [
        (TIME, math.log(1.25), "+25.0 %"),
        (TIME, math.log(0.8), "-20.0 %"),
        (TIME, math.log(2000), "2e+03x"),
        (TIME, 1e6, "1e+43x"),
        (ACCEPTANCE, -0.031, "-3.1 points"),
    ],
)
def test_a_change_is_written_in_percent_of_a_or_in_points(metric: Metric, difference: float, expected: str) -> None:
    assert change(metric, difference) == expected


def test_a_verdict_is_whole_beside_a_long_name_and_a_wide_interval() -> None:
    wide = Interval(2, -0.88, math.log(0.017), math.log(2e14))
    row = PairedFigure("memory.load.videollava_unquantised.legacy reader", TIME, -2.28, -3.17, wide, "undecided")
    assert "undecided" in table(RevisionComparison(1, PLAN, (), (row,), ()), Path("x"))


def test_an_interval_that_ends_in_a_factor_has_the_unit_of_its_other_end() -> None:
    wide = Interval(2, 0.0, math.log(0.8), math.log(200))
    row = PairedFigure(TIME.name, TIME, 0.0, 0.0, wide, "undecided")
    assert "-20.0 % … 2e+02x" in table(RevisionComparison(1, PLAN, (), (row,), ()), Path("x"))


def test_a_row_has_both_figures_the_change_its_interval_what_counts_and_the_verdict() -> None:
    times = PairedFigure(
        TIME.name,
        TIME,
        math.log(0.5),
        math.log(0.75),
        Interval(4, math.log(1.5), math.log(1.4), math.log(1.6)),
        "regressed",
    )
    shares = PairedFigure(ACCEPTANCE.name, ACCEPTANCE, 0.75, 0.74, Interval(3, -0.01, -0.03, 0.01), "undecided")
    found = RevisionComparison(1, PLAN, (), (times, shares), ("a word beside it",), Status(1, "it is slower"))
    text = table(found, Path("results/ab_1"))
    lines = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}
    assert lines["time.load.egpt"] == "time.load.egpt 500 ms 750 ms +50.0 % +40.0 … +60.0 % +10.0 % 4 regressed"
    assert lines["acceptance.llava.eager"] == (
        "acceptance.llava.eager 0.75 0.74 -1.0 points -3.0 … +1.0 points -2.0 points 3 undecided"
    )
    # 5 % of misses are shared by two figures at one look, that of four pairs.
    assert (
        "95 % confidence that all intervals at all evaluations contain the true change (97.500 % for each by itself)"
        in text
    )
    assert lines["A"] == "A main (a1)"
    assert lines["B"] == "B a branch (b2) -x"
    assert lines["note:"] == "note: a word beside it"
    assert lines["exit"] == "exit status 1: it is slower"
    assert "results/ab_1/ab.json" in lines["files:"]
