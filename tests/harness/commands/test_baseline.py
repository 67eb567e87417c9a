"""`python -m harness baseline record`: which sessions count, and when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands import baseline
from harness.commands.child_session import PytestArguments
from harness.errors import BaselineError
from harness.gates.baselines import SessionFile, SessionRecord, read_sessions
from harness.records.fingerprint import fingerprint
from harness.records.folder import write_json
from tests.harness.gates.test_gate import session
from tests.harness.made_files import write_baseline


def test_sessions_by_other_arguments_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A baseline of one stage has the same conditions as one of all stages, and so the same folder."""
    baselines = tmp_path / "baselines"
    write_baseline(baselines / "tiny", *[session()] * 3)

    def one_session(where: Path, arguments: PytestArguments) -> Path:
        path = where / "tiny" / f"{len(read_sessions(where)) + 1:04}_20260305.json"
        write_json(path, SessionFile(SessionRecord(fingerprint(session()), session(), arguments.words)))
        return path

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(baseline, "_one_session", one_session)
    baseline.record(baselines, ["suite"], 2)
    assert [each.record.arguments == () for each in read_sessions(baselines)] == [True] * 3 + [False] * 2


def test_a_session_that_cannot_be_removed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    write_baseline(tmp_path / "tiny", session())
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(BaselineError, match=r"tiny/0001_20260304\.json: cannot be removed \(Permission denied\)$"):
        baseline.retire(tmp_path, ["tiny/0001"])
