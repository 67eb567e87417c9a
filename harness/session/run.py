"""A run in progress: its journal, the files derived from it, and the limits that have been judged so far."""

from __future__ import annotations

import glob
from pathlib import Path

import msgspec

from harness.gates.limits import judge
from harness.legacy.writing import encode_legacy, legacy_file_name, legacy_records
from harness.records.folder import make_folder, point_latest_to, write_whole
from harness.records.journal import FILE_NAME as JOURNAL_NAME
from harness.records.journal import Journal, rank_file_name, read_journal
from harness.records.lines import AttemptRecord, EndRecord, Header, JournalLine, RunRecord, VerdictRecord

RUN_FILE_NAME = "run.json"


class Run:
    """Everything that this process writes down, in one folder."""

    def __init__(
        self, folder: Path, header: Header, output_json: Path | None = None, attempt: AttemptRecord | None = None
    ) -> None:
        """Make the folder and write the journal's first line, or with `attempt` go on with the run that is there.

        Raises RunFolderError where that cannot be done, or another process is at it.
        """
        if attempt is None:
            make_folder(folder)
        self.folder = folder
        self.header = header
        self.attempt = attempt
        self._output_json = output_json
        self._journal = Journal(folder / rank_file_name(attempt.rank if attempt else 0), reopen=attempt is not None)
        self._judged: set[str] = set()
        self._journal.append(attempt or header)
        point_latest_to(self.folder)

    def append(self, line: JournalLine) -> None:
        """Write one finished measurement down."""
        self._journal.append(line)

    def leave(self, end: EndRecord) -> None:
        """Write down how this process ended, one of several that work on the run; whoever merges judges and derives."""
        self.append(end)
        self.close()

    def close(self) -> None:
        """Let go of the journal, as a kill would."""
        self._journal.close()

    def conclude_test(self, test: str) -> list[VerdictRecord]:
        """Judge the limits whose figures have just become known, derive all files, and return the broken ones."""
        verdicts = [
            verdict
            for verdict in judge(self.header.limits, self.read(), test)
            if verdict.state != "not run" and verdict.limit not in self._judged
        ]
        for verdict in verdicts:
            self._judged.add(verdict.limit)
            self.append(verdict)
        derive_files(self.folder, self.read(), self._output_json)
        return [verdict for verdict in verdicts if verdict.state == "broken"]

    def read(self) -> RunRecord:
        """Return everything written so far."""
        return read_journal(self.folder / JOURNAL_NAME)

    def finish(self, end: EndRecord) -> RunRecord:
        """Write down the limits that could not be judged and how the run ended; return the whole record."""
        for verdict in judge(self.header.limits, self.read()):
            if verdict.limit not in self._judged:
                self.append(verdict)
        self.append(end)
        self.close()
        record = self.read()
        derive_files(self.folder, record, self._output_json)
        return record


def derive_files(folder: Path, run: RunRecord, output_json: Path | None = None) -> Path | None:
    """Write `run.json` and the legacy result file from a run's record; return the latter, if it has records."""
    content = msgspec.json.format(msgspec.json.encode(run), indent=1)
    write_whole(folder / RUN_FILE_NAME, content + b"\n")
    records = legacy_records(run)
    if not records:
        return None
    path = output_json or folder / legacy_file_name(run, len(records))
    write_whole(path, encode_legacy(records))
    if output_json is None:
        for earlier in _earlier_legacy_files(folder, run, path):
            earlier.unlink()
    return path


def derive_report(folder: Path, run: RunRecord) -> str | None:
    """Write `report.html` and `report.md` from a run's record; return in words why they are not there."""
    try:
        from harness.report.files import write_run_report  # matplotlib: a second that only a run at its end can spare

        write_run_report(folder, run)
    except Exception as error:
        # Whatever it was: a run that was measured must not be lost for its report.
        return f"no report was made ({type(error).__name__}: {error}); try python -m harness report {folder}"
    return None


def _earlier_legacy_files(folder: Path, run: RunRecord, path: Path) -> list[Path]:
    """Files that this very run derived when fewer samples were known: the number of samples is in the name."""
    before, _, after = legacy_file_name(run, 0).rpartition("_n0_")
    pattern = f"{glob.escape(before)}_n*_{glob.escape(after)}"
    return [each for each in folder.glob(pattern) if each != path]
