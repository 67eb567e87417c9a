"""Two ways in turn: what is timed, what is written down, and what becomes of the ratio."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harness.figures.stages import times_faster
from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.rounds import Interleaved, first_that_works, seconds_in_turn, timed_pairs
from tests.harness.made_runs import planned


@dataclass
class StageWork:
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
def work(monkeypatch: pytest.MonkeyPatch) -> StageWork:
    hand = StageWork()
    clock.use_reader(lambda: hand.now)
    return hand


def test_ways_run_once_without_a_clock_and_then_in_turn(work: StageWork) -> None:
    ways = [
        ("a", work.way("a", [9.0, 1.0, 2.0])),
        ("b", work.way("b", [9.0, 3.0, 4.0])),
        ("a", work.way("c", [9.0, 5.0, 6.0])),
    ]
    between = work.way("between", [0.5] * 9)
    assert seconds_in_turn(ways, 2, afterwards=between) == {"a": [1.0, 5.0, 2.0, 6.0], "b": [3.0, 4.0]}
    assert work.ran == ["a", "between", "b", "between", "c", "between"] * 3


def compared(work: StageWork, ours: list[float], theirs: list[float]) -> Interleaved:
    return Interleaved("work", ("ours", work.way("ours", ours)), ("theirs", work.way("theirs", theirs)))


def test_both_run_in_turn(work: StageWork) -> None:
    pairs = timed_pairs(Benchmark(HandBenchmark()), compared(work, [1, 2], [3, 8]), rounds=2)
    assert work.ran == ["theirs", "ours"] * 2
    assert pairs == ([1, 2], [3, 8])


def test_with_benchmarks_disabled_nothing_is_measured(work: StageWork) -> None:
    pairs = timed_pairs(Benchmark(HandBenchmark(enabled=False)), compared(work, [1], [3]), rounds=2)
    assert work.ran == ["theirs", "ours"]
    assert pairs == ([], [])


def test_a_sample_is_taken_once_both_ways_came_through_without_a_clock(work: StageWork) -> None:
    found = first_that_works([planned("s1")], lambda _: compared(work, [9], [9]), "readers")
    assert found[0] == planned("s1")
    assert found[2] == []
    assert work.ran == ["theirs", "ours"]


@pytest.mark.parametrize("fault", ["prepare", "ours", "theirs"])
def test_a_sample_that_fails_is_noted_and_the_next_one_taken(work: StageWork, fault: str) -> None:
    """A way without seconds left raises StopIteration."""

    def prepare(sample: Any) -> Interleaved:
        if sample.id == "s1" and fault == "prepare":
            raise StopIteration
        broken = sample.id == "s1"
        return compared(work, [] if broken and fault == "ours" else [9], [] if broken and fault == "theirs" else [9])

    sample, comparison, failures = first_that_works(map(planned, ("s1", "s2")), prepare, "readers")
    assert sample is not None
    assert (sample.id, comparison is None) == ("s2", False)
    assert [(each.sample, each.stage, each.type) for each in failures] == [("s1", "readers", "StopIteration")]


def test_where_every_sample_fails_there_is_nothing_to_compare(work: StageWork) -> None:
    found = first_that_works(map(planned, ("s1", "s2")), lambda _: compared(work, [], []), "readers")
    assert found[:2] == (None, None)
    assert [each.sample for each in found[2]] == ["s1", "s2"]


def test_the_ratio_is_the_median_over_pairs_and_not_the_ratio_of_medians() -> None:
    # A machine that slows down half way: the ratio of the medians would be 1.5.
    assert times_faster((1.0, 10.0, 10.0), (2.0, 15.0, 20.0)) == 2.0
