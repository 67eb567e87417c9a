"""What most sessions of a baseline answered."""

from __future__ import annotations

from harness.figures.quality import baseline_outputs
from tests.harness.made_runs import failed_pass, run_with, whole_pass


def test_the_usual_answer_is_that_of_most_whole_passes_and_of_no_other_kind() -> None:
    others = [whole_pass("egpt", kind=kind, token_ids=(9,)) for kind in ("fixed", "throughput", "unsynchronised")]
    sessions = [
        run_with(*others, whole_pass("egpt", token_ids=ids), whole_pass("videollava", token_ids=(7,)))
        for ids in ((1, 2, 4), (1, 2, 3), (1, 2, 3))
    ]
    found = baseline_outputs([*sessions, *[run_with(failed_pass("egpt", "s1"))] * 3]).answers
    assert {place: each.token_ids for place, each in found.items()} == {
        ("egpt", "eager", "s1"): (1, 2, 3), ("videollava", "eager", "s1"): (7,),
    }  # fmt: skip
