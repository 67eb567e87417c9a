"""What the rounds of a stage gave, looked at where no clock runs, and what a record keeps of it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from harness.measuring.stage_measurement import StageMeasurement
from harness.records.lines import StageRecord


def record_of(*notes: tuple[Any, str, Any]) -> StageRecord:
    measured = StageMeasurement()
    for note in notes:
        measured.note(*note)
    return measured.record(test="t", model="m", engine="eager", stage="decode", variant="")


def answer(*ids: int) -> Any:
    return SimpleNamespace(token_ids=ids)


def examined(*probes: float, visual_tokens: int | None = None) -> Any:
    return SimpleNamespace(finite=all(map(math.isfinite, probes)), probes=probes, visual_tokens=visual_tokens)


@pytest.mark.parametrize(("later", "not_repeated"), [((1, 2), ()), ((1, 3), ("s1",)), ((1,), ("s1",))])
def test_an_answer_that_differs_in_a_later_round_is_named_by_its_sample(
    later: tuple[int, ...], not_repeated: tuple[str, ...]
) -> None:
    found = record_of(
        (answer(1, 2), "s1", None), (answer(4), "s2", None), (answer(*later), "s1", None), (answer(4), "s2", None)
    )
    assert found.not_repeated == not_repeated
    assert found.tokens == {"s1": len(later), "s2": 1}


def test_probes_are_of_the_first_round_and_one_round_that_is_not_finite_counts() -> None:
    found = record_of(
        (object(), "s1", examined(1.0, 2.0, visual_tokens=7)),
        (object(), "s2", examined(3.0, 4.0, visual_tokens=9)),
        (object(), "s1", examined(1.0, math.nan, visual_tokens=7)),
    )
    assert found.probes == {"s1": (1.0, 2.0), "s2": (3.0, 4.0)}
    assert (found.not_finite, found.visual_tokens) == (("s1",), {"s1": 7, "s2": 9})


def test_what_tells_nothing_of_itself_leaves_nothing() -> None:
    found = record_of((object(), "s1", None))
    assert (found.probes, found.not_finite, found.not_repeated, found.visual_tokens) == ({}, (), (), {})
