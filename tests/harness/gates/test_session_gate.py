"""Creep: small steps, each within the last baseline's limit, in the distance from a release."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import BaselineError
from harness.gates.session_gate import SessionGate, confirmed_verdicts
from harness.gates.witnesses import headline
from harness.records.lines import GateRecord, RunRecord
from harness.records.work import Call
from harness.report.sections.verdict import problems
from harness.report.terminal import gate_lines
from tests.harness.gates import test_witnesses
from tests.harness.gates.test_gate import session
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import header, stage_test

SINCE = "time.vision.egpt since v1.2"
MORE_ROUNDS = stage_test("egpt", "vision", {"s1": [1.0] * 9, "s2": [1.0] * 9}, test="test_vision")


def run(seconds: float, **changes: Any) -> RunRecord:
    return session(seconds, header=header(device="cuda"), **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release at one second, and since then a baseline that is 2.8 % slower."""
    for name, seconds in (("v1.2", 1.0), ("baselines", 1.028)):
        write_baseline(tmp_path / name / "tiny", *[run(seconds)] * 10)
    return tmp_path


def gate(folder: Path, confirms: Path | None = None) -> SessionGate:
    return SessionGate(folder / "baselines", confirms, folder / "v1.2")


def confirmed(folder: Path, first: RunRecord, second: RunRecord) -> list[GateRecord]:
    """What comes of two sessions."""
    options = first.header.options | {"release": str(folder / "v1.2")}
    first = msgspec.structs.replace(first, header=msgspec.structs.replace(first.header, options=options))
    first = msgspec.structs.replace(first, gates=tuple(gate(folder).verdicts(first)))
    write_run(folder / "first", first)
    again = gate(folder, folder / "first").verdicts(second)
    return confirmed_verdicts(first, msgspec.structs.replace(second, gates=tuple(again)), folder / "baselines")


def test_a_small_step_behind_others_is_flagged_since_the_release_and_confirmed(folder: Path) -> None:
    first = gate(folder).verdicts(run(1.03))
    assert [(each.metric, each.state) for each in first] == [("time.vision.egpt", "pass"), (SINCE, "flagged")]
    found = confirmed(folder, run(1.03), run(1.031))
    assert [each.state for each in found] == ["pass", "regressed"]
    assert headline(found).startswith("vision of egpt +3.0 % since v1.2: ")
    confirming = gate(folder, folder / "first")
    assert confirming.wants("test_vision")
    assert confirming.regressions(run(1.03), "test_vision") == []


def test_a_figure_of_two_tests_regresses_behind_the_second_of_them(tmp_path: Path) -> None:
    def loads(draft_s: float) -> RunRecord:
        seconds = {"egpt": draft_s, "videollava": 3.0}
        return session(
            stages=tuple(
                stage_test(key, "load", {"s1": [each] * 2}, test=f"test_{key}", sources=("png",))
                for key, each in seconds.items()
            )
        )

    slower = loads(1.5)
    write_baseline(tmp_path / "baselines" / "tiny", *[loads(1.0)] * 10)
    gates = SessionGate(tmp_path / "baselines").verdicts(slower)
    of_speedup = tuple(each for each in gates if each.metric == "speedup.stage1.videollava")
    write_run(tmp_path / "first", msgspec.structs.replace(slower, gates=of_speedup))
    for order in (("test_egpt", "test_videollava"), ("test_videollava", "test_egpt")):
        confirming = SessionGate(tmp_path / "baselines", tmp_path / "first")
        assert [len(confirming.regressions(slower, test)) for test in order] == [0, 1]


def test_a_small_step_that_is_not_confirmed_passes(folder: Path) -> None:
    assert [each.state for each in confirmed(folder, run(1.03), run(1.0))] == ["pass", "pass"]


@pytest.mark.parametrize("first", [1.031, 1.04, 1.06, 1.1])
def test_a_slower_first_session_hides_no_regression_since_the_release(folder: Path, first: float) -> None:
    found = confirmed(folder, run(first), run(1.031))
    assert [(each.metric, each.state) for each in found] == [("time.vision.egpt", "pass"), (SINCE, "regressed")]
    assert f"REGRESSED        {SINCE}" in gate_lines(found)


def test_what_is_worse_than_the_last_baseline_is_told_once(folder: Path) -> None:
    flagged = gate(folder).verdicts(run(1.1))
    regressed = confirmed(folder, run(1.1), run(1.1))
    for gates, state in ((flagged, "flagged"), (regressed, "regressed")):
        assert [each.state for each in gates] == [state, state], "both are kept"
        assert "since" not in gate_lines(gates)
        assert len([*problems(run(1.1, gates=tuple(gates)))]) == 1
    assert headline(regressed).startswith("vision of egpt +7.0 %: ")
    assert "more figure" not in headline(regressed)


def test_the_cause_since_the_release_is_what_changed_since_the_release(folder: Path) -> None:
    def of_launches(seconds: float, launches: int) -> RunRecord:
        calls = {"norm_matvec <64,1,1>": Call(launches, seconds - 0.1), "attend_one <32,1,1>": Call(96, 0.1)}
        return test_witnesses.session(seconds, calls, counts={"launches": launches + 96})

    write_baseline(folder / "v1.2" / "tiny", *[of_launches(1.0, 192)] * 10)
    write_baseline(folder / "baselines" / "tiny", *[of_launches(1.04, 240)] * 10)
    now = of_launches(1.06, 288)
    found = {each.metric: each for each in confirmed(folder, now, now)}
    of_release = found["time.decode.egpt.graph since v1.2"]
    assert (of_release.state, of_release.blame) == ("regressed", "program")
    assert "(64 -> 96 launches)" in of_release.cause
    assert "80 -> 96" in found["time.decode.egpt.graph"].cause


def test_a_cause_is_what_both_sessions_did_otherwise(tmp_path: Path) -> None:
    slower = {name: Call(call.count, 1.1 * call.seconds) for name, call in test_witnesses.CALLS.items()}
    write_baseline(tmp_path / "baselines" / "tiny", *[test_witnesses.session()] * 10)
    first = test_witnesses.session(1.1, test_witnesses.MORE, counts={"launches": 384})
    flagged = tuple(SessionGate(tmp_path / "baselines").verdicts(first))
    first = msgspec.structs.replace(first, gates=flagged)
    assert "launches" in flagged[0].cause
    for second, is_told in ((first, True), (test_witnesses.session(1.1, slower), False)):
        gates = tuple(SessionGate(tmp_path / "baselines").verdicts(second))
        found = confirmed_verdicts(first, msgspec.structs.replace(second, gates=gates), tmp_path / "baselines")
        assert (found[0].state, "launches" in found[0].cause) == ("regressed", is_told)


@pytest.mark.parametrize(
    ("release", "state"),
    [
        ([run(1.0)] * 4, "missing baseline"),
        ([run(math.exp(0.06 * (-1) ** number)) for number in range(10)], "unstable"),
        ([session(header=header(device="cuda"), stages=(MORE_ROUNDS,))] * 10, "invalid"),
    ],
)
def test_a_release_that_cannot_tell_says_so(folder: Path, release: list[RunRecord], state: str) -> None:
    shutil.rmtree(folder / "v1.2")
    write_baseline(folder / "v1.2" / "tiny", *release)
    assert [(each.metric, each.state) for each in gate(folder).verdicts(run(1.03))] == [
        ("time.vision.egpt", "pass"), (SINCE, state),
    ]  # fmt: skip


def test_a_release_without_any_baseline_is_refused_before_anything_is_measured(folder: Path) -> None:
    shutil.rmtree(folder / "v1.2")
    with pytest.raises(BaselineError, match=r"v1\.2: holds no baseline; --release names a copy"):
        gate(folder)


def test_figures_that_are_new_or_gone_since_the_release_are_no_verdicts(folder: Path) -> None:
    gone = stage_test("egpt", "load", {"s1": [1.0] * 2}, test="test_load")
    write_baseline(folder / "v1.2" / "tiny", *[session(header=header(device="cuda"), stages=(gone,))] * 10)
    assert [each.metric for each in gate(folder).verdicts(run(1.03))] == ["time.vision.egpt"]


def test_of_two_baselines_of_the_same_conditions_that_of_the_most_sessions_is_taken(folder: Path) -> None:
    for name in ("another", "younger"):
        write_baseline(folder / "baselines" / name, *[run(2.0)] * 6)
    (found,) = SessionGate(folder / "baselines").verdicts(run(1.03))
    assert (found.state, found.sessions) == ("pass", 10)


def test_without_a_release_nothing_creeps(folder: Path) -> None:
    found = SessionGate(folder / "baselines").verdicts(run(1.03))
    assert [(each.metric, each.state) for each in found] == [("time.vision.egpt", "pass")]


def test_a_release_of_other_conditions_is_a_missing_baseline(folder: Path) -> None:
    shutil.rmtree(folder / "v1.2")
    write_baseline(folder / "v1.2" / "tiny", *[session(1.0)] * 10)
    found = gate(folder).verdicts(run(1.03))
    assert [(each.metric, each.state) for each in found][-1] == ("everything since v1.2", "missing baseline")
