"""Any file or folder that holds results, as the record of a run: ours of every kind, and the old script's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.errors import ResultFileError
from harness.legacy.reading import run_of_legacy_file
from harness.records.journal import FILE_NAME as JOURNAL_NAME
from harness.records.journal import read_journal
from harness.records.lines import RunRecord
from harness.records.sessions import OURS, SessionRecord

WAY_OUT = "name a run's folder or a result file"
Kind = TypeVar("Kind")


def read_result(path: Path, gamma: int = 5) -> RunRecord | None:
    """Return what a result holds; None for a file of answers alone, which has token ids and no times.

    A run's folder, journal.jsonl, run.json, a session of a baseline, or a legacy result file. Raises ResultFileError.
    """
    if path.is_dir():
        return read_journal(path / JOURNAL_NAME)
    if path.suffix == ".jsonl":
        return read_journal(path)
    content = _json(path)
    if isinstance(content, dict) and "header" in content:
        return _converted(path, content, RunRecord)
    if isinstance(content, dict) and OURS in content:
        return _converted(path, content[OURS], SessionRecord).run
    if isinstance(content, dict) and "results" in content:
        return None
    try:
        return run_of_legacy_file(path, gamma)
    except ValueError as error:  # what a record refuses to hold
        raise ResultFileError(f"{path}: {error}; {WAY_OUT}") from error


def _json(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise ResultFileError(
            f"{path}: cannot be read ({error.strerror}); name a run's folder or a result file"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ResultFileError(f"{path}: is no JSON: {error}; name a run's folder or a result file") from error


def _converted(path: Path, content: Any, kind: type[Kind]) -> Kind:
    try:
        return msgspec.convert(content, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ResultFileError(f"{path}: is not what a run writes: {error}") from error
