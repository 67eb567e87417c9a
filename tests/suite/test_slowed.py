"""The injected work of the goals is as long as it says."""

from __future__ import annotations

import pytest

from perf_tests.goals import slowed
from perf_tests.goals.slowed import SlowedPipeline


class Hand:
    """A clock that goes on by a hundredth of a second whenever it is read."""

    def __init__(self) -> None:
        self.time = 0.0

    def perf_counter(self) -> float:
        self.time += 0.01
        return self.time


class Pipeline:
    key = "egpt"

    def __init__(self, hand: Hand) -> None:
        self._hand = hand

    def load(self, sample: str) -> str:
        self._hand.time += 10
        return f"loaded {sample}"

    def prefill(self, features: str, *, of: str) -> str:
        self._hand.time += 10
        return f"{features} of {of}"


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    made = Hand()
    monkeypatch.setattr(slowed, "time", made)
    return made


@pytest.mark.parametrize("share", [0.0, 0.1, 0.2])
def test_a_stage_takes_longer_by_the_share_that_was_asked_for(hand: Hand, share: float) -> None:
    result = SlowedPipeline(Pipeline(hand), share).prefill("features", of="a sample")
    assert result == "features of a sample"
    assert hand.time == pytest.approx(10 * (1 + share), abs=0.06)


def test_loading_and_all_that_is_no_stage_are_left_as_they_are(hand: Hand) -> None:
    pipeline = SlowedPipeline(Pipeline(hand), 0.5)
    assert (pipeline.load("s"), pipeline.key) == ("loaded s", "egpt")
    assert hand.time == 10
