"""Two ways in turn: what is timed, what is written down, and what becomes of the ratio."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harness import clock
from harness.figures import times_faster
from harness.side_by_side import timed_pairs
from harness.terminal import summary
from tests.harness.made_runs import full_run, side_by_side


@dataclass
class Work:
    """Moves a clock by hand; notes what ran."""

    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def way(self, name: str, seconds: list[float]) -> Any:
        left = iter(seconds)

        def run() -> None:
            self.ran.append(name)
            self.now += next(left)

        return run


class HandBenchmark:
    """Pedantic rounds under the clock in use, as pytest-benchmark runs them."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.has_error = False
        self.extra_info: dict[str, Any] = {}
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[]))

    def pedantic(self, target: Any, *, setup: Any, teardown: Any, rounds: int) -> None:
        for _ in range(rounds if self.enabled else 1):
            arguments, named = setup()
            start = clock.now()
            target(*arguments, **named)
            if self.enabled:
                self.stats.stats.data.append(clock.now() - start)
                teardown(*arguments, **named)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    hand = Work()
    monkeypatch.setattr(clock, "now", lambda: hand.now)
    return hand


def test_both_run_in_turn_after_once_without_a_clock(work: Work) -> None:
    pairs = timed_pairs(HandBenchmark(), work.way("ours", [9, 1, 2]), work.way("theirs", [9, 3, 8]), rounds=2)
    assert work.ran == ["theirs", "ours"] * 3
    assert (pairs.way_s, pairs.reference_s) == ([1, 2], [3, 8])


def test_with_benchmarks_disabled_nothing_is_measured(work: Work) -> None:
    pairs = timed_pairs(HandBenchmark(enabled=False), work.way("ours", [9, 1]), work.way("theirs", [9, 3]), rounds=2)
    assert work.ran == ["theirs", "ours"] * 2
    assert (pairs.way_s, pairs.reference_s) == ([], [])


def test_the_ratio_is_the_median_over_pairs_and_not_the_ratio_of_medians() -> None:
    # A machine that slows down half way: the ratio of the medians would be 1.5.
    assert times_faster(side_by_side((1.0, 10.0, 10.0), (2.0, 15.0, 20.0))) == 2.0


def test_the_summary_names_both_ways_and_how_many_times_faster(tmp_path: Any) -> None:
    text = summary(
        full_run(side_by_side=(side_by_side((0.01, 0.01), (0.025, 0.025)),)), tmp_path, (), width=120, color=False
    )
    assert "8 frames: fast 10.00 ms, 2.50x as fast as legacy (25.00 ms; 2 pairs)" in text.splitlines()
