"""Who is to blame for a time, and what a person reads first of it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.gates.gate import Baseline, judge_session, merged
from harness.gates.witnesses import causes, headline, hidden_changes, with_causes
from harness.records.lines import GateRecord, ReferenceWorkRecord, RunRecord
from harness.records.work import Call, WatchedWork
from harness.report.blocks import plain
from harness.report.sections.verdict import problems
from harness.report.sections.warnings import warnings
from harness.report.terminal import gate_lines
from tests.harness.gates.test_gate import QUIET
from tests.harness.made_runs import header, stage_test

TEST = "test_decode[egpt-graph]"
CALLS = {"norm_matvec <64,1,1>": Call(192, 0.9), "attend_one <32,1,1>": Call(96, 0.1)}
COUNTS = {"launches": 288, "copies": 3}


def session(seconds: float = 1.0, calls: dict[str, Call] | None = None, **changes: Any) -> RunRecord:
    """Three steps of decoding by kernels that take all of its time."""
    stage = stage_test("egpt", "decode", {"s1": [seconds] * 2}, test=TEST, engine="graph")
    counts = COUNTS | changes.pop("counts", {})
    fields: dict[str, Any] = {
        "model": "egpt", "engine": "graph", "stage": "decode", "sample": "s1", "counts": counts, "test": TEST,
        "calls": CALLS if calls is None else calls, "seconds": seconds, "profiler": "cuda",
        "versions": {"torch": "2.11.0"},
    }  # fmt: skip
    work = WatchedWork(
        **fields | {name: changes.pop(name) for name in [*changes] if name in WatchedWork.__struct_fields__}
    )
    of_run = {"header": header(engines=("graph",)), "stages": (stage,), "reference_work": QUIET, "works": (work,)}
    return RunRecord(**of_run | changes)


KNOWN = Baseline("known", [session()] * 10)
MORE = {"norm_matvec <64,1,1>": Call(288, 1.0), "attend_one <32,1,1>": Call(96, 0.1)}
SLOWER = {name: Call(call.count, 1.1 * call.seconds) for name, call in CALLS.items()}


def gate(run: RunRecord, metric: str = "time.decode.egpt.graph") -> GateRecord:
    return {each.metric: each for each in judge_session(run, KNOWN)}[metric]


def regressed(first: RunRecord, second: RunRecord | None = None) -> list[GateRecord]:
    runs = [first, second or first]
    return times(with_causes(merged(*(judge_session(run, KNOWN) for run in runs)), runs, KNOWN.sessions))


def times(gates: list[GateRecord]) -> list[GateRecord]:
    return [gate for gate in gates if gate.metric.startswith(("time.", "ms_per_token."))]


def test_time_and_ledger_are_the_program_with_the_cause_in_the_first_line() -> None:
    gates = regressed(session(1.1, MORE, counts={"launches": 384}))
    assert {(each.state, each.blame) for each in gates} == {("regressed", "program")}
    assert headline(gates) == (
        "decode of egpt, graph +10.0 %: +33.3 ms of +33.3 ms per token in `norm_matvec` (64 -> 96 launches); "
        "1 more figure got worse"
    )


def test_what_was_watched_may_be_shorter_than_what_was_timed() -> None:
    def of_two_steps(seconds: float, launches: int, device_s: float) -> RunRecord:
        calls = {"norm_matvec <64,1,1>": Call(launches, device_s), "attend_one <32,1,1>": Call(64, 0.2 / 3)}
        return session(seconds, calls, counts={"launches": launches + 64, "tokens": 3})

    now, known = of_two_steps(1.1, 192, 0.6 + 0.2 / 3), [of_two_steps(1.0, 128, 0.6)] * 10
    (found,) = causes([now], known, {"time.decode.egpt.graph": [TEST]}).values()
    assert found.sentence == "+33.3 ms of +33.3 ms per token in `norm_matvec` (64 -> 96 launches)"
    assert sum(part.seconds for part in found.parts) == pytest.approx(found.seconds) == pytest.approx(0.2 / 3)
    assert found.steps == 2


def test_time_alone_is_the_machine_and_the_way_to_be_sure_is_named() -> None:
    gates = regressed(session(1.1, SLOWER))
    assert {(each.state, each.blame) for each in gates} == {("regressed", "machine")}
    assert headline(gates) == (
        "decode of egpt, graph +10.0 %: the machine, as it seems: the same work, and no kernel stands out, the median "
        "one took +10.0 %; `python -m harness ab` tells the two apart; 1 more figure got worse"
    )


def test_a_reading_of_the_machine_that_moved_within_its_limit_is_named() -> None:
    warm = tuple(ReferenceWorkRecord(moment, (1.04,), (1.0,)) for moment in ("start", "end"))
    found = gate(session(1.06, SLOWER, reference_work=warm))
    assert (found.state, found.blame) == ("flagged", "machine")
    assert "the matrix product at the ends took +4.0 %" in found.cause


@pytest.mark.parametrize(
    ("seconds", "waited", "blame"),
    [(1.1, 0.06, "machine"), (1.1, 0.02, "program"), (1.1, None, "program"), (1.5, 0.08, "program")],
)
def test_a_call_is_not_blamed_for_the_time_in_which_other_processes_had_the_cores(
    seconds: float, waited: float | None, blame: str
) -> None:
    def beside(waited: float | None) -> tuple[ReferenceWorkRecord, ...]:
        return (*QUIET, ReferenceWorkRecord("during", (), (), test=TEST, waited=waited))

    calls = CALLS | {"attend_one <32,1,1>": Call(96, seconds - 0.9)}
    now, known = session(seconds, calls, reference_work=beside(waited)), [session(reference_work=beside(0.01))] * 3
    (found,) = causes([now], known, {"time.decode.egpt.graph": [TEST]}).values()
    assert found.blame == blame
    assert (found.sentence == "the same work, and waiting for a core adds +5.3 %") == (blame == "machine")


def test_what_disturbed_one_of_two_sessions_does_not_excuse_both() -> None:
    def waiting(waited: float, calls: dict[str, Call]) -> RunRecord:
        readings = (*QUIET, ReferenceWorkRecord("during", (), (), test=TEST, waited=waited))
        return session(sum(each.seconds for each in calls.values()), calls, reference_work=readings)

    slower = CALLS | {"attend_one <32,1,1>": Call(96, 0.2)}
    tests = {"time.decode.egpt.graph": [TEST]}
    for waited, blame in (((0.06, 0.06), "machine"), ((0.06, 0.01), "program"), ((0.01, 0.06), "program")):
        (found,) = causes([waiting(each, slower) for each in waited], [waiting(0.01, CALLS)] * 3, tests).values()
        assert found.blame == blame


@pytest.mark.parametrize(("others", "blame"), [(1, "machine"), (0, "program"), (None, "program")])
def test_a_call_is_not_blamed_where_other_processes_use_the_gpu(others: int | None, blame: str) -> None:
    ends = [msgspec.structs.replace(each, other_processes=others) for each in QUIET]
    now = session(1.1, CALLS | {"attend_one <32,1,1>": Call(96, 0.2)}, reference_work=tuple(ends))
    (found,) = causes([now], KNOWN.sessions, {"time.decode.egpt.graph": [TEST]}).values()
    assert found.blame == blame
    assert (found.sentence == "the same work, and sharing the GPU adds up to +100.0 %") == (blame == "machine")


def test_the_ledger_alone_is_a_warning_with_its_price() -> None:
    run = session(1.0, CALLS | {"Memcpy DtoD": Call(3, 3e-6)}, counts={"copies": 6})
    found = gate(run)
    assert (found.state, found.blame) == ("pass", "program")
    assert found.cause == "`Memcpy DtoD` 0 -> 1 per token, 1 us each; copies 1 -> 2 per token"
    run = msgspec.structs.replace(run, gates=tuple(judge_session(run, KNOWN)))
    (warning,) = [text for text, _ in warnings(run) if "The program's work" in str(text)]
    unseen = "The program's work changed, which its time does not show"
    assert warning == f"{unseen}: time.decode.egpt.graph: {found.cause}."
    assert f"WARNING          time.decode.egpt.graph: {found.cause}" in gate_lines(run.gates)


def test_the_ledger_warns_where_times_are_too_noisy_to_tell() -> None:
    noisy = Baseline("known", [session(math.exp(0.06 * (-1) ** number)) for number in range(10)])
    gates = judge_session(session(counts={"copies": 6}), noisy)
    (time,) = (each for each in gates if each.metric == "time.decode.egpt.graph")
    assert time.state == "unstable"
    assert hidden_changes(gates) == {"copies 1 -> 2 per token": ["time.decode.egpt.graph"]}


def test_less_work_in_less_time_is_no_warning() -> None:
    fewer = {"norm_matvec <64,1,1>": Call(96, 0.5), "attend_one <32,1,1>": Call(96, 0.1)}
    run = session(0.6, fewer, counts={"launches": 192})
    gates = judge_session(run, KNOWN)
    assert {each.state for each in times(gates)} == {"improved"}
    assert not [text for text, _ in warnings(msgspec.structs.replace(run, gates=tuple(gates))) if "Other" in str(text)]


def test_work_that_could_not_be_counted_is_told_with_the_reason() -> None:
    run = session(profiler="", reason="the profiler failed: no CUPTI", calls={})
    torn = session(profiler="", reason="it was torn", calls={})
    run = msgspec.structs.replace(run, works=(*run.works * 3, *session().works * 2, *torn.works))
    assert [plain(text) for text, _ in warnings(run) if "counted" in str(text)] == [
        "The work of 3 of 6 stages was not counted: the profiler failed: no CUPTI.",
        "The work of 1 of 6 stages was not counted: it was torn.",
    ]


def test_an_unchanged_session_has_neither_cause_nor_warning() -> None:
    assert {(each.state, each.blame, each.cause) for each in judge_session(session(), KNOWN)} == {("pass", "", "")}


def test_a_ledger_that_moved_in_one_of_two_sessions_is_no_witness() -> None:
    gates = regressed(session(1.1, MORE, counts={"launches": 384}), session(1.1, SLOWER))
    assert all("launches" not in each.cause for each in gates)


def test_what_was_not_confirmed_has_no_cause() -> None:
    assert {(each.state, each.cause) for each in regressed(session(1.1, SLOWER), session())} == {("pass", "")}


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (session(1.1, works=()), "the run has no ledger of this work"),
        (
            session(1.1, {}, profiler="", reason="CUPTI is not permitted"),
            "no profile of this work: CUPTI is not permitted",
        ),
        (session(1.1, versions={"torch": "2.13.0"}), "other versions do not compare: torch was 2.11.0, is 2.13.0"),
        (session(1.1, {"norm_matvec <64,1,1>": Call(1, 0.1)}), "a profile of the run is damaged and ignored"),
    ],
)
def test_a_verdict_stands_without_its_cause_and_says_why(run: RunRecord, why: str) -> None:
    gates = regressed(run)
    assert {(each.state, each.blame) for each in gates} == {("regressed", "")}
    assert why in headline(gates)


def test_every_place_says_the_same_cause() -> None:
    gates = regressed(session(1.1, MORE, counts={"launches": 384}))
    run = session(gates=tuple(gates))
    cause = "+33.3 ms of +33.3 ms per token in `norm_matvec` (64 -> 96 launches)"
    assert f": {cause}; 1100 ms" in gate_lines(gates)
    assert any(f": {cause}; 1100 ms" in str(each) for each in problems(run))


def test_nothing_regressed_has_no_first_line() -> None:
    assert headline(judge_session(session(), KNOWN)) == ""
