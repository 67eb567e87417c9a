"""What holds of several lines on one thing, within a journal and across those of several ranks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.records.lines import (
    AttemptRecord,
    EndRecord,
    EngineRecord,
    GateRecord,
    MachineRecord,
    OutcomeRecord,
    PassRecord,
    VerdictRecord,
)
from harness.records.merging import merged_record, world_size
from tests.harness.made_runs import STARTED_AT, failed_pass, header, stage_test, whole_pass

AGAIN = AttemptRecord(STARTED_AT, {})
INTERRUPTED, ENDED = EndRecord(STARTED_AT, 2, "a signal"), EndRecord(STARTED_AT, 0, "it ended")
SAMPLES = [f"s{number}" for number in range(5)]


def of_two(number: int) -> AttemptRecord:
    return AttemptRecord(STARTED_AT, {}, rank=number, world_size=2)


def load(seconds: float, model: str = "egpt") -> object:
    return stage_test(model, "load", {"s1": [seconds]})


def test_a_stage_test_that_was_measured_anew_is_there_once() -> None:
    run = merged_record(header(), [load(1.0), load(1.0, "videollava"), AGAIN, load(2.0)])  # type: ignore[list-item]
    assert sorted((each.model, each.round_s) for each in run.stages) == [("egpt", (2.0,)), ("videollava", (1.0,))]


def test_after_a_resume_the_device_is_what_the_later_attempt_measured_it_to_be() -> None:
    slow, fast = (MachineRecord(rate, rate, {}) for rate in (1e9, 9e9))
    assert merged_record(header(), [slow, AGAIN, fast]).machine == fast
    assert merged_record(header(), [of_two(0), fast], [[of_two(1), slow]]).machine == fast
    assert merged_record(header(), []).machine is None


def test_one_test_may_record_two_measurements() -> None:
    run = merged_record(header(), [AGAIN, load(1.0), load(2.0)])  # type: ignore[list-item]
    assert [each.round_s for each in run.stages] == [(1.0,), (2.0,)]


def test_an_answer_holds_over_failures_before_and_behind_it() -> None:
    run = merged_record(header(), [failed_pass("egpt", "s1"), AGAIN, whole_pass("egpt", "s1")])
    assert run.passes == (whole_pass("egpt", "s1"),)
    run = merged_record(header(), [of_two(0), failed_pass("egpt", "s1")], [[of_two(1), whole_pass("egpt", "s1")]])
    assert run.passes == (whole_pass("egpt", "s1"),)
    run = merged_record(header(), [of_two(0), whole_pass("egpt", "s1")], [[of_two(1), failed_pass("egpt", "s1")]])
    assert run.passes == (whole_pass("egpt", "s1"),)


def test_of_two_failures_the_later_one_holds() -> None:
    run = merged_record(header(), [failed_pass("egpt", "s1", text="one"), AGAIN, failed_pass("egpt", "s1", text="two")])
    assert [each.failure.text for each in run.passes if each.failure] == ["two"]


@given(st.permutations(SAMPLES), st.integers(0, 5), st.lists(st.integers(0, 1), min_size=5, max_size=5))
def test_who_measured_what_and_when_makes_no_other_record(order: list[str], kill: int, ranks: list[int]) -> None:
    passes = [whole_pass("egpt", sample) for sample in order]
    undisturbed = merged_record(header(), passes)
    gone_on_with = merged_record(header(), [*passes[:kill], AGAIN, *passes[kill:]])
    journals: list[list[PassRecord]] = [[], []]
    for rank, record in zip(ranks, passes, strict=True):
        journals[rank].append(record)
    shared = merged_record(header(), [of_two(0), *journals[0]], [[of_two(1), *journals[1]]])
    assert gone_on_with.passes == undisturbed.passes
    assert sorted(shared.passes, key=lambda each: each.sample) == sorted(passes, key=lambda each: each.sample)


def test_of_two_verdicts_on_a_limit_and_two_outcomes_of_a_test_the_later_holds() -> None:
    verdicts = [VerdictRecord("limit", state, state) for state in ("broken", "pass")]
    outcomes = [OutcomeRecord("test", outcome, "why") for outcome in ("skipped", "failed")]
    run = merged_record(header(), [verdicts[0], outcomes[0], AGAIN, verdicts[1], outcomes[1]])
    assert (run.verdicts, run.outcomes) == ((verdicts[1],), (outcomes[1],))


def test_within_an_attempt_too_the_later_verdict_on_a_limit_holds() -> None:
    verdicts = [VerdictRecord("limit", state, state) for state in ("pass", "broken")]
    assert merged_record(header(), verdicts).verdicts == (verdicts[1],)


def test_of_two_verdicts_on_a_figure_and_two_engines_of_a_model_the_later_holds() -> None:
    gates = [GateRecord("time.load.egpt", state, state) for state in ("flagged", "regressed")]
    engines = [EngineRecord("egpt", "graph", {"captures": count}) for count in (1, 2)]
    other = EngineRecord("llava", "graph", {"captures": 3})
    run = merged_record(header(), [gates[0], engines[0], other, gates[1], engines[1]])
    assert (run.gates, run.engines) == ((gates[1],), (engines[1], other))


def test_a_run_that_goes_on_has_no_end_until_its_last_attempt_has() -> None:
    assert merged_record(header(), [INTERRUPTED]).end == INTERRUPTED
    assert merged_record(header(), [INTERRUPTED, AGAIN]).end is None
    assert merged_record(header(), [INTERRUPTED, AGAIN, ENDED]).end == ENDED


def test_a_run_by_ranks_has_come_to_its_end_when_all_of_them_have() -> None:
    begun = header(environment={"world_size": 2})
    assert world_size(begun, []) == 2
    assert merged_record(begun, [ENDED]).end is None
    assert merged_record(begun, [ENDED], [[of_two(1)]]).end is None
    assert merged_record(begun, [ENDED], [[of_two(1), ENDED]]).end == ENDED
    assert merged_record(begun, [ENDED, of_two(0)], [[of_two(1), ENDED]]).end is None
    assert merged_record(begun, [of_two(0), ENDED], [[], [of_two(2), ENDED]]).end is None  # the second rank is missing
    assert merged_record(begun, [ENDED], [[of_two(1), INTERRUPTED]]).end == INTERRUPTED


def test_a_single_process_that_goes_on_needs_no_end_of_the_ranks_before_it() -> None:
    run = merged_record(header(environment={"world_size": 2}), [AGAIN, ENDED], [[of_two(1)]])
    assert run.end == ENDED
