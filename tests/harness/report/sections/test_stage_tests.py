"""Stage tests; and files loaded ahead, by how many processes and threads."""

from __future__ import annotations

import pytest

from harness.report.blocks import Table, plain
from harness.report.content import report_of
from tests.harness.made_runs import run_with, stage_test, whole_pass
from tests.harness.report.reading import section


@pytest.mark.parametrize(
    ("ranks", "words"),
    [((0, 0), "by 6 threads."), ((0, 1), "by 6 threads, by 2 ranks together."), ((3, 3), "by 6 threads.")],
)
def test_the_lead_says_how_many_worked_together(ranks: tuple[int, int], words: str) -> None:
    passes = [
        whole_pass("egpt", f"s{place}", kind="throughput", stage_s={}, rank=rank) for place, rank in enumerate(ranks)
    ]
    others = [whole_pass("egpt", "s1", rank=7), whole_pass("egpt", "s2", rank=8)]
    report = report_of(run_with(*passes, *others, options={"gamma": 5, "loader_workers": 6}), "x")
    assert section(report, "throughput").lead == f"Every sample once, its files loaded ahead of the model {words}"


@pytest.mark.parametrize(("seconds", "spread"), [([0.1], ""), ([0.1, 0.1], "0.0")])
def test_one_round_has_no_spread(seconds: list[float], spread: str) -> None:
    found = section(report_of(run_with(stage_test("egpt", "load", {"s1": seconds})), "x"), "stage-tests")
    (table,) = (each for each in found.blocks if isinstance(each, Table))
    ((_, _, _, shown, *_),) = table.rows
    assert plain(shown) == spread
