"""Files of runs made by hand: journals and baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.gates.baselines import SessionFile, SessionRecord
from harness.records.fingerprint import fingerprint
from harness.records.folder import write_json
from harness.records.journal import JOURNAL_NAME, Journal
from harness.records.lines import JournalLine, RunRecord


def lines_of(run: RunRecord) -> list[JournalLine]:
    """All lines of a run by kind, its header first and its end last."""
    kinds: list[Any] = [getattr(run, name) for name in run.__struct_fields__ if name not in {"header", "end", "notes"}]
    lines = [line for kind in kinds for line in (kind if isinstance(kind, tuple) else [kind])]
    return [line for line in (run.header, *lines, run.end) if line]


def write_journal(path: Path, *lines: JournalLine) -> Path:
    """Write a journal of these lines; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path)
    for line in lines:
        journal.append(line)
    journal.close()
    return path


def write_run(folder: Path, run: RunRecord) -> Path:
    """Write the journal of a run into its folder; return the folder."""
    return write_journal(folder / JOURNAL_NAME, *lines_of(run)).parent


def write_baseline(folder: Path, *runs: RunRecord) -> None:
    """Write runs as the sessions of a baseline, from the first one on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(runs, start=1):
        write_json(folder / f"{number:04}_20260304.json", SessionFile(SessionRecord(fingerprint(run), run)))
