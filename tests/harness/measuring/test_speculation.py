"""Speculative decoding under measurement: what runs in which order, and what becomes of failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.progress import Progress
from harness.measuring.speculation import MAX_PASS, TURNS, SpeculationRun
from harness.records.quantities import MemoryPeak
from harness.records.speculation import AgreementRecord, DivergenceRecord, SpeculationCostRecord, SpeculationRecord
from tests.harness.measuring.test_interleaved import HandBenchmark


@dataclass
class StubContext:
    """A step takes 1 s, a drafted token 0.25, a pass over m tokens 1 + m / 8."""

    pair: StubPair
    dtype: str = "float32"
    target_context: int = 9
    draft_context: int = 5
    surplus: int = 0

    def steps(self, count: int) -> None:
        self._work(1.0 * count)

    def draft_step(self) -> None:
        self._work(0.25)

    def verify(self, count: int) -> None:
        self._work(1 + count / 8)

    def restore(self) -> None:
        self.surplus = 0

    def _work(self, seconds: float) -> None:
        assert self.surplus == 0, "not restored"
        self.surplus = 1
        self.pair.now += seconds


class Meter:
    def __call__(self, call: Any) -> MemoryPeak:
        call()
        return MemoryPeak(host_bytes=7)


@dataclass
class StubPair:
    """Takes 4 s alone, 3 of them for decoding, and 2 together; sample "bad" raises where `bad` says."""

    gamma: int = 2
    bad: str = ""
    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def generate_target(self, sample: Any, clock: Any) -> tuple[Any, float]:
        self._work("alone", sample, 4.0)
        return SimpleNamespace(token_ids=(7, 8, 9)), 3.0

    def generate_speculative(self, sample: Any, clock: Any) -> Any:
        self._work("together", sample, 2.0)
        ids = (7, 8, 9) if sample.id != "odd" else (7, 8, 8)
        rounds = (SimpleNamespace(drafted=2, accepted=1, emitted=2, draft_s=0.5, verify_s=1.0),)
        return SimpleNamespace(generation=SimpleNamespace(token_ids=ids), rounds=rounds, loop_s=1.5, first_s=0.75)

    def agreements(self, samples: Any, answers: Any) -> list[dict[str, list[bool]]]:
        return [{"own": [True] * len(ids), "shuffled": [True] + [False] * (len(ids) - 1)} for ids in answers]

    def divergence(self, sample: Any, alone: Any, together: Any) -> Any:
        return SimpleNamespace(place=2, margin=0.25, allowed=0.5)

    def aligned_context(self, sample: Any, answer: Any) -> StubContext:
        self.ran.append(f"matched {sample.id} {answer}")
        return StubContext(self)

    def _work(self, what: str, sample: Any, seconds: float) -> None:
        self.ran.append(f"{what} {sample.id}")
        self.now += seconds
        if self.bad == what and sample.id == "bad":
            raise ValueError("torn")


def measured(
    monkeypatch: pytest.MonkeyPatch,
    pair: StubPair,
    *names: str,
    enabled: bool = True,
    requests: int | None = None,
    known: Any = {},  # noqa: B006  # only read
) -> Any:
    clock.use_reader(lambda: pair.now)
    lines: list[Any] = []
    run = SpeculationRun(
        Benchmark(HandBenchmark(enabled=enabled)), pair, "t", "videollava", "eager", Progress(None), Meter()
    )
    failures = run.measure([SimpleNamespace(id=name) for name in names], lines.append, requests, known)
    kinds = (SpeculationRecord, AgreementRecord, SpeculationCostRecord)
    return *([line for line in lines if isinstance(line, kind)] for kind in kinds), failures


def test_each_request_goes_alone_and_then_together_after_one_that_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = StubPair()
    records, agreements, _, failures = measured(monkeypatch, pair, "a", "b")
    assert pair.ran[-4:] == ["alone a", "together a", "alone b", "together b"]
    assert [(each.alone_s, each.alone_decode_s, each.alone_steps, each.pair_s) for each in records] == [
        (4, 3, 2, 2)
    ] * 2
    assert [(each.first_alone_s, each.first_pair_s) for each in records] == [(1, 0.75)] * 2
    assert [each.agrees["own"] for each in agreements] == [(True, True, True)] * 2
    assert failures == []


def test_samples_beyond_the_requests_are_answered_by_the_target_alone_for_the_agreement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = StubPair(bad="alone")
    records, agreements, _, failures = measured(monkeypatch, pair, "a", "b", "bad", "c", requests=1)
    assert pair.ran[-5:] == ["alone a", "together a", "alone b", "alone bad", "alone c"]
    assert [each.sample for each in records] == ["a"]
    assert [each.sample for each in agreements] == ["a", "b", "c"]
    assert [(each.sample, each.stage) for each in failures] == [("bad", "speculative")]


def test_answers_that_are_known_are_not_asked_for_again_but_those_of_the_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair, known = StubPair(), {"a": (1, 2, 3, 4), "c": (5, 6)}
    _, agreements, _, _ = measured(monkeypatch, pair, "a", "b", "c", requests=1, known=known)
    assert pair.ran[-3:] == ["alone a", "together a", "alone b"]
    assert [(each.sample, len(each.agrees["own"])) for each in agreements] == [("a", 3), ("b", 3), ("c", 2)]


def test_an_answer_that_is_not_the_targets_own_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    records, _, _, _ = measured(monkeypatch, StubPair(), "a", "odd")
    divergence = DivergenceRecord(2, 0.25, 0.5)
    assert [(each.sample, each.identical, each.divergence) for each in records] == [
        ("a", True, None), ("odd", False, divergence),
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["alone", "together"])
def test_a_sample_that_fails_is_recorded_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    records, agreements, _, (failure,) = measured(monkeypatch, StubPair(bad=where), "a", "bad", "c")
    assert [each.sample for each in records] == [each.sample for each in agreements] == ["a", "c"]
    assert (failure.sample, failure.type, failure.text) == ("bad", "ValueError", "torn")


def test_without_another_sample_there_are_no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    records, agreements, costs, _ = measured(monkeypatch, StubPair(), "a")
    assert (len(records), agreements, len(costs)) == (1, [], 1)


def test_pieces_are_timed_at_one_place_of_the_first_answer_and_memory_in_rounds_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = StubPair()
    _, _, (cost,), _ = measured(monkeypatch, pair, "a", "b")
    assert pair.ran[:4] == ["alone a", "matched a (7, 8, 9)", "alone a", "together a"]
    assert (set(cost.step_s), set(cost.draft_step_s)) == ({1.0}, {0.25})
    assert {count: set(seconds) for count, seconds in cost.verify_s.items()} == {
        count: {1 + count / 8} for count in range(1, MAX_PASS + 1)
    }
    assert {len(seconds) for seconds in cost.verify_s.values()} == {TURNS}
    assert (cost.dtype, cost.target_context, cost.draft_context) == ("float32", 9, 5)
    assert cost.alone_memory == cost.pair_memory == MemoryPeak(host_bytes=7)


def test_costs_are_measured_on_the_first_sample_that_can_be_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    records, _, (cost,), (failure,) = measured(monkeypatch, StubPair(bad="alone"), "bad", "b", "c")
    assert (cost.sample, failure.sample, [each.sample for each in records]) == ("b", "bad", ["b", "c"])


def test_where_no_request_came_through_nothing_more_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(monkeypatch, StubPair(bad="alone"), "bad")[:3] == ([], [], [])


def test_with_benchmarks_disabled_one_request_goes_both_ways_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = StubPair()
    assert measured(monkeypatch, pair, "a", "b", enabled=False) == ([], [], [], [])
    assert pair.ran == ["alone a", "together a"]
