"""`python -m harness gate` with sessions made by hand: what two of them come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.__main__ import main
from harness.commands import gate as command
from harness.gates.session_gate import SessionGate
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import EndRecord, OutcomeRecord, RunRecord, VerdictRecord
from tests.harness.gates.test_gate import session
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import STARTED_AT, header

BROKEN, KEPT = (VerdictRecord("eager.median_ms.egpt.vision", state, f"it was {state}") for state in ("broken", "pass"))


def made(seconds: float, status: int, *verdicts: VerdictRecord) -> RunRecord:
    of_run = header(options={"gamma": 5, "report": False})
    return session(seconds, header=of_run, end=EndRecord(STARTED_AT, status, "made by hand"), verdicts=verdicts)


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command on sessions made by hand; return its status.

    They exit with their own status or `exits`; one that is None is killed before it writes a line.
    """
    monkeypatch.chdir(tmp_path)
    write_baseline(tmp_path / "baselines" / "tiny", *[made(1.0, 0)] * 10)

    def gate(*sessions: RunRecord | None, exits: int | None = None) -> int:
        left = list(sessions)

        def run(words: Sequence[str], **_how: Any) -> int:
            (folder,) = (Path(word.partition("=")[2]) for word in words if word.startswith("--output-dir="))
            measured = left.pop(0)
            if measured is None:
                return -9
            gates = tuple(SessionGate(tmp_path / "baselines").verdicts(measured))
            write_run(folder, msgspec.structs.replace(measured, gates=gates))
            assert measured.end is not None
            return measured.end.exit_status if exits is None else exits

        monkeypatch.setattr(command, "run_to_end", run)
        status = main(["gate", "--", "--output-dir=out"])
        assert not left
        return status

    return gate


@pytest.mark.parametrize(
    ("sessions", "ended"),
    [
        ([(1.2, 0), (1.2, 1)], (1, "vision of egpt +20.0 %")),
        ([(1.2, 0), (1.0, 0)], (0, "no test failed and no limit was broken")),
        ([(1.2, 1), (1.0, 0)], (1, "a test failed or a limit was broken")),
        ([(1.0, 1)], (1, "a test failed or a limit was broken")),
        ([(1.0, 0)], (0, "no test failed and no limit was broken")),
    ],
)
def test_what_failed_in_the_first_session_stays_failed_whatever_the_second_confirms(
    gate: Callable[..., int],
    sessions: list[tuple[float, int]],
    ended: tuple[int, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, reason = ended
    assert gate(*(made(*each) for each in sessions)) == status
    end = read_journal(Path("out") / JOURNAL_NAME).end
    assert end is not None
    assert (end.exit_status, end.reason[: len(reason)]) == (status, reason)
    assert f"gate: exit status {status}: {reason}" in capsys.readouterr().out


def test_a_limit_that_only_the_second_session_breaks_is_red_and_in_the_report(
    gate: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(made(1.2, 0, KEPT), made(1.0, 1, BROKEN)) == 1
    assert f"gate: exit status 1: {BROKEN.sentence}\n" in capsys.readouterr().out
    assert read_journal(Path("out") / JOURNAL_NAME).verdicts == (BROKEN,)


def test_the_last_line_names_the_test_that_failed(gate: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    failed = OutcomeRecord("test_vision", "failed", "call: too slow")
    assert gate(msgspec.structs.replace(made(1.0, 1), outcomes=(failed,))) == 1
    assert "gate: exit status 1: test_vision failed: call: too slow\n" in capsys.readouterr().out


@pytest.mark.parametrize("status", [0, 2])
def test_a_session_that_could_not_write_down_its_end_is_red_and_not_judged(
    gate: Callable[..., int], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk, pytest exits with 1 behind an end that says otherwise; the folder may be resumed."""
    assert gate(made(1.0, status), exits=1) == 1
    assert "gate: exit status 1: the session was cut short (status 1)" in capsys.readouterr().out
    end = read_journal(Path("out") / JOURNAL_NAME).end
    assert end is not None
    assert end.exit_status == status


def test_a_confirming_session_that_is_killed_leaves_the_figure_undecided_and_says_so(
    gate: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(made(1.2, 0), None) == 11
    assert "gate: exit status 11: the second session was cut short (status -9): run the gate again\n" in (
        capsys.readouterr().out
    )
