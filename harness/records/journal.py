"""The journal of a run: one line per finished measurement, on disk before the next one starts.

All other files of a run are derived from it: a killed run keeps every finished measurement. Under torchrun the first
rank writes `journal.jsonl`, which begins with the header, and rank N writes `journal.N.jsonl` beside it.

Each line ends with the key `chain`: the SHA-256 of the previous line's `chain` and of this line without that key.
"""

import errno
import fcntl
import os
import re
import shlex
from contextlib import suppress
from hashlib import sha256
from io import FileIO
from pathlib import Path

import msgspec

from harness.errors import JSON_ERRORS, ResultFileError, RunFolderError
from harness.records.lines import FORMAT_VERSION, AttemptRecord, Header, JournalLine, PassRecord, RunRecord
from harness.records.merging import merged_record

JOURNAL_NAME = "journal.jsonl"
_OF_A_RANK = re.compile(r"journal\.(\d{1,6})\.jsonl")
# Errors of file systems that cannot lock: the journal is then written without a lock.
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}

# The end of a line; journals of older versions lack it.
_CHAIN = re.compile(rb'(.*),"chain":"([0-9a-f]{64})"\}', re.DOTALL)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(JournalLine).decode


class Journal:
    """An open, append-only journal: a new file, or with `reopen` an existing one without its torn last line.

    The operating system locks the file until it is closed or the process ends. Raises RunFolderError naming the
    process that holds the lock.
    """

    def __init__(self, path: Path, *, reopen: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_CREAT | (0 if reopen else os.O_EXCL)
        try:
            self._file = FileIO(os.open(path, flags, 0o666), "r+")
        except FileExistsError:
            raise
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be opened for writing ({error.strerror})") from error
        try:
            self._lock()
            before = self._file.readall().rpartition(b"\n")[0] if reopen else b""
            self._size = len(before) + (len(before) > 0)
            self._chain = _split_chain(before[before.rfind(b"\n") + 1 :])[1]
            self._cut_to_size()
        except BaseException:
            self._file.close()
            raise

    def append(self, line: JournalLine) -> None:
        """Write one line and wait until the disk has it; raise RunFolderError where it cannot be written."""
        content = _encode(line)
        chain = _chain_of(self._chain, content)
        content = content[:-1] + b',"chain":"' + chain + b'"}\n'
        try:
            written = 0
            while written < len(content):
                written += os.write(self._file.fileno(), content[written:])
            os.fsync(self._file.fileno())
        except BaseException as error:
            self._cut_to_size()  # removes the part of a line that did not fit, or was interrupted
            if not isinstance(error, OSError):
                raise
            raise RunFolderError(
                f"{self.path}: cannot be written ({error.strerror}); what it holds is intact. Make room, "
                f"and resume with --resume={shlex.quote(str(self.path.parent))}, or choose another --output-dir"
            ) from error
        self._size += len(content)
        self._chain = chain

    def close(self) -> None:
        """Close the file; every line is on disk already."""
        self._file.close()

    def _cut_to_size(self) -> None:
        os.ftruncate(self._file.fileno(), self._size)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            record = read_journal(self.path.with_name(JOURNAL_NAME))
            attempts = [each for each in record.attempts if rank_file_name(each.rank) == self.path.name]
            latest: AttemptRecord | Header = attempts[-1] if attempts else record.header
            who = f"process {latest.environment.get('pid')} is writing this run since {latest.started_at}"
            raise RunFolderError(f"{self.path}: {who}; wait for its end, or end it") from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise


def rank_file_name(rank: int) -> str:
    """Return the name of the journal of one rank."""
    return f"journal.{rank}.jsonl" if rank else JOURNAL_NAME


def read_journal(path: Path) -> RunRecord:
    """Return the run in a journal and in the journals of its other ranks beside it, without torn last lines.

    Raises ResultFileError naming file and line where the journal is missing, has no header, has a newer version, or is
    damaged before its last line. A line whose `chain` is wrong gives a note.
    """
    lines = _whole_lines(path)
    if not lines:
        problem = "holds no finished line, not even a header: nothing was measured in this run. Remove its folder"
        raise ResultFileError(f"{path}: {problem}")
    version = FORMAT_VERSION
    with suppress(*JSON_ERRORS):  # `_records` raises for the same line, naming it
        version = msgspec.json.decode(lines[0], type=_Version).format_version
    if version > FORMAT_VERSION:  # checked first: other fields of a newer version may differ
        raise ResultFileError(
            f"{path}: has format version {version}, this reader knows up to {FORMAT_VERSION}; "
            "use the version of the suite that wrote it, or a newer one"
        )
    header, *rest = _records(path, lines)
    if not isinstance(header, Header):
        raise ResultFileError(f"{path}, line 1: must be the run's header; is this the journal of a run?")
    others = {each: _whole_lines(each) if each.exists() else [] for each in _of_other_ranks(path)}
    of_ranks = {each: _records(each, found) for each, found in others.items()}
    planned = {sample.id for sample in header.samples}
    for each, found in of_ranks.items():
        strangers = {line.sample for line in found if isinstance(line, PassRecord)} - planned
        if strangers:
            raise ResultFileError(f"{each}: has passes of {min(strangers)!r}, which {path} does not plan; move it away")
    run = merged_record(header, rest, [*of_ranks.values()])
    notes = [note for each, found in {path: lines, **others}.items() for note in _first_break(each, found)]
    return msgspec.structs.replace(run, notes=tuple(notes))


def read_finished_run(folder: Path) -> RunRecord | None:
    """Return the run in a session's folder; None where it measured nothing or has not ended."""
    path = folder / JOURNAL_NAME
    run = read_journal(path) if path.exists() else None
    return run if run and run.end else None


def _of_other_ranks(path: Path) -> list[Path]:
    """Return the journals of ranks 1, 2, … up to the highest one that exists."""
    if path.name != JOURNAL_NAME:
        return []
    names = (each.name for each in path.parent.iterdir())
    found = [int(match[1]) for match in map(_OF_A_RANK.fullmatch, names) if match]
    return [path.with_name(rank_file_name(rank)) for rank in range(1, max(found, default=0) + 1)]


class _Version(msgspec.Struct):
    format_version: int = FORMAT_VERSION  # the one header field that every version has


def _whole_lines(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResultFileError(f"{path}: cannot be read ({error.strerror}); name the folder of a run") from error
    *whole, _torn = content.split(b"\n")
    return whole


def _chain_of(before: bytes, content: bytes) -> bytes:
    """Return the `chain` of the line `content` behind a line of chain `before`, in hexadecimal digits."""
    return sha256(before + content).hexdigest().encode()


def _split_chain(line: bytes) -> tuple[bytes, bytes]:
    """Return a line without its `chain`, and the `chain`, empty where it has none."""
    found = _CHAIN.fullmatch(line)
    return (found[1] + b"}", found[2]) if found else (line, b"")


def _first_break(path: Path, lines: list[bytes]) -> list[str]:
    """Return a sentence on the first line whose `chain` is wrong, or nothing."""
    before = b""
    for number, line in enumerate(lines, start=1):
        content, chain = _split_chain(line)
        if (before or chain) and chain != _chain_of(before, content):
            return [f"{path.name}, line {number}: from here on lines were changed, moved or taken out after the run."]
        before = chain
    return []


def _records(path: Path, lines: list[bytes]) -> list[JournalLine]:
    records: list[JournalLine] = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_decode(line))
        except JSON_ERRORS as error:
            others = "Remove that line to use the others; its measurement is lost"
            way_out = others if number > 1 else "The others need this line: restore the file"
            raise ResultFileError(f"{path}, line {number}: {error}. {way_out}") from error
    return records
