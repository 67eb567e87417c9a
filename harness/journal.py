"""The journal of a run: one line per finished measurement, on disk before the next one starts.

All other files of a run are derived from it, so that a run that was killed has lost nothing that it had finished.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from harness.errors import DAMAGED_JSON, ResultFileError, RunFolderError
from harness.records import (
    FORMAT_VERSION,
    AgreementRecord,
    EndRecord,
    EngineRecord,
    GateRecord,
    Header,
    JournalLine,
    MachineRecord,
    ModelRecord,
    OutcomeRecord,
    PassRecord,
    RunRecord,
    SentinelRecord,
    SideBySideRecord,
    SpeculationCostRecord,
    SpeculationRecord,
    StageRecord,
    VerdictRecord,
)

FILE_NAME = "journal.jsonl"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JournalLine).decode


class Journal:
    """An open journal, append only: a new one, or with `reopen` that of a run that has come to its end."""

    def __init__(self, path: Path, *, reopen: bool = False) -> None:
        self.path = path
        self._file = path.open("ab" if reopen else "xb")

    def append(self, line: JournalLine) -> None:
        """Write one line and wait until the disk has it; raise RunFolderError where it cannot be written."""
        try:
            self._file.write(_encode(line) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise RunFolderError(
                f"{self.path}: cannot be written ({error.strerror}); what it holds is intact. "
                f"Make room or choose another --output-dir, and run again"
            ) from error

    def close(self) -> None:
        """Close the file; every line is on disk already."""
        self._file.close()


def read_journal(path: Path) -> RunRecord:
    """Return what a journal holds, a torn last line left out.

    Raises ResultFileError naming file and line where it is missing, has no header, is of a version that this reader
    does not know, or is damaged before its last line.
    """
    lines = _whole_lines(path)
    if not lines:
        raise ResultFileError(f"{path}: holds no finished line, not even a header: nothing was measured in this run")
    _require_known_version(path, lines[0])
    header, *rest = [_record(path, number, line) for number, line in enumerate(lines, start=1)]
    if not isinstance(header, Header):
        raise ResultFileError(f"{path}, line 1: must be the run's header; is this the journal of a run?")
    return _sorted_by_kind(header, rest)


class _Version(msgspec.Struct):
    """The one field of a header that is the same in every version."""

    format_version: int = FORMAT_VERSION


def _require_known_version(path: Path, first_line: bytes) -> None:
    """Look at the version before anything else: of a newer one, no other field can be counted on."""
    try:
        version = msgspec.json.decode(first_line, type=_Version).format_version
    except DAMAGED_JSON:
        return  # no header at all: reading it says so, with the line
    if version > FORMAT_VERSION:
        raise ResultFileError(
            f"{path}: has format version {version}, this reader knows up to {FORMAT_VERSION}; "
            "use the version of the suite that wrote it, or a newer one"
        )


def _whole_lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResultFileError(f"{path}: cannot be read ({error.strerror}); name the folder of a run") from error
    *whole, _torn = content.split(b"\n")
    return whole


def _record(path: Path, number: int, line: bytes) -> JournalLine:
    try:
        record: JournalLine = _decode(line)
    except DAMAGED_JSON as error:
        raise ResultFileError(
            f"{path}, line {number}: {error}. Remove that line to use the others; its measurement is lost"
        ) from error
    return record


def _sorted_by_kind(header: Header, lines: list[JournalLine]) -> RunRecord:
    ends = [line for line in lines if isinstance(line, EndRecord)]
    machines = [line for line in lines if isinstance(line, MachineRecord)]
    engines = [line for line in lines if isinstance(line, EngineRecord)]
    return RunRecord(
        header=header,
        models=tuple(line for line in lines if isinstance(line, ModelRecord)),
        stages=tuple(line for line in lines if isinstance(line, StageRecord)),
        passes=tuple(line for line in lines if isinstance(line, PassRecord)),
        side_by_side=tuple(line for line in lines if isinstance(line, SideBySideRecord)),
        agreements=tuple(line for line in lines if isinstance(line, AgreementRecord)),
        speculations=tuple(line for line in lines if isinstance(line, SpeculationRecord)),
        speculation_costs=tuple(line for line in lines if isinstance(line, SpeculationCostRecord)),
        verdicts=tuple(line for line in lines if isinstance(line, VerdictRecord)),
        end=ends[-1] if ends else None,
        sentinels=tuple(line for line in lines if isinstance(line, SentinelRecord)),
        outcomes=tuple(line for line in lines if isinstance(line, OutcomeRecord)),
        gates=tuple({line.metric: line for line in lines if isinstance(line, GateRecord)}.values()),
        machine=machines[-1] if machines else None,
        engines=tuple({(line.model, line.engine): line for line in engines}.values()),
    )
