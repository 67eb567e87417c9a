"""`python -m harness gate` with sessions made by hand: what two of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.__main__ import main
from harness.commands import gate as command
from harness.gates.session_gate import SessionGate
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import EndRecord, RunRecord
from tests.harness.gates.test_gate import session
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import STARTED_AT, header


def made(seconds: float, status: int) -> RunRecord:
    of_run = header(options={"gamma": 5, "report": False})
    return session(seconds, header=of_run, end=EndRecord(STARTED_AT, status, "made by hand"))


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
    sessions: list[tuple[float, int]],
    ended: tuple[int, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_baseline(tmp_path / "baselines" / "tiny", *[made(1.0, 0)] * 10)
    left, (status, reason) = list(sessions), ended

    def run(words: Sequence[str], **_how: Any) -> int:
        (folder,) = (Path(word.partition("=")[2]) for word in words if word.startswith("--output-dir="))
        measured = made(*left.pop(0))
        gates = tuple(SessionGate(tmp_path / "baselines").verdicts(measured))
        write_run(folder, msgspec.structs.replace(measured, gates=gates))
        assert measured.end is not None
        return measured.end.exit_status

    monkeypatch.setattr(command, "run_to_end", run)
    assert main(["gate", "--", "--output-dir=out"]) == status
    assert not left
    end = read_journal(tmp_path / "out" / JOURNAL_NAME).end
    assert end is not None
    assert (end.exit_status, end.reason[: len(reason)]) == (status, reason)
    assert f"gate: exit status {status}: {reason}" in capsys.readouterr().out
