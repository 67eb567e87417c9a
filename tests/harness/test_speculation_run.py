"""Speculative decoding under measurement: what runs in which order, and what becomes of failures."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harness import clock
from harness.progress import Quiet
from harness.records import SpeculationRecord
from harness.speculation_run import SpeculationRun
from tests.harness.test_side_by_side import HandBenchmark


@dataclass
class StubPair:
    """Takes 4 s alone, 3 of them for decoding, and 2 together; sample "bad" raises where `bad` says."""

    gamma: int = 2
    bad: str = ""
    now: float = 0.0
    ran: list[str] = field(default_factory=list)

    def alone(self, sample: Any, clock: Any) -> tuple[Any, float]:
        self._work("alone", sample, 4.0)
        return SimpleNamespace(token_ids=(7, 8, 9)), 3.0

    def together(self, sample: Any, clock: Any) -> Any:
        self._work("together", sample, 2.0)
        ids = (7, 8, 9) if sample.id != "odd" else (7, 8, 8)
        rounds = (SimpleNamespace(drafted=2, accepted=1, emitted=2, draft_s=0.5, verify_s=1.0),)
        return SimpleNamespace(generation=SimpleNamespace(token_ids=ids), rounds=rounds, loop_s=1.5)

    def agreements(self, samples: Any, answers: Any) -> list[dict[str, list[bool]]]:
        return [{"own": [True] * len(ids)} for ids in answers]

    def _work(self, what: str, sample: Any, seconds: float) -> None:
        self.ran.append(f"{what} {sample.id}")
        self.now += seconds
        if self.bad == what and sample.id == "bad":
            raise ValueError("torn")


def measured(monkeypatch: pytest.MonkeyPatch, pair: StubPair, *names: str, enabled: bool = True) -> Any:
    monkeypatch.setattr(clock, "now", lambda: pair.now)
    records: list[SpeculationRecord] = []
    run = SpeculationRun(HandBenchmark(enabled=enabled), pair, "t", "videollava", "eager", Quiet())
    agreements, failures = run.measure([SimpleNamespace(id=name) for name in names], records.append)
    return records, agreements, failures


def test_each_request_goes_alone_and_then_together_after_one_that_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = StubPair()
    records, agreements, failures = measured(monkeypatch, pair, "a", "b")
    assert pair.ran == ["together a", "alone a", "together a", "alone b", "together b"]
    assert [(each.alone_s, each.alone_decode_s, each.alone_steps, each.pair_s) for each in records] == [
        (4, 3, 2, 2)
    ] * 2
    assert [each.agrees for each in agreements] == [{"own": (True, True, True)}] * 2
    assert failures == []


def test_an_answer_that_is_not_the_targets_own_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    records, _, _ = measured(monkeypatch, StubPair(), "a", "odd")
    assert [(each.sample, each.identical) for each in records] == [("a", True), ("odd", False)]


@pytest.mark.parametrize("where", ["alone", "together"])
def test_a_sample_that_fails_is_recorded_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    records, agreements, (failure,) = measured(monkeypatch, StubPair(bad=where), "a", "bad", "c")
    assert [each.sample for each in records] == [each.sample for each in agreements] == ["a", "c"]
    assert (failure.sample, failure.type, failure.text) == ("bad", "ValueError", "torn")


def test_without_another_sample_there_are_no_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    records, agreements, _ = measured(monkeypatch, StubPair(), "a")
    assert (len(records), agreements) == (1, [])
