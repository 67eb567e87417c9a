"""JSON files as records, or one error that names the file, what it should hold and the way out; and back."""

from pathlib import Path
from typing import TypeVar

import msgspec

from harness.errors import JSON_ERRORS, HarnessError, ResultFileError
from harness.records.folder import write_whole

Kind = TypeVar("Kind")


def read_json(
    path: Path, kind: type[Kind], what: str, *, advice: str = "", error: type[HarnessError] = ResultFileError
) -> Kind:
    """Return a file's content, checked to be a `kind` (`object`: any JSON); raise `error` where it is not `what`."""
    way_out = f"; {advice}" if advice else ""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}){way_out}") from cause
    except JSON_ERRORS as cause:
        raise error(f"{path}: is not {what}: {cause}{way_out}") from cause


def write_json(path: Path, content: object) -> None:
    """Write a record or plain values to a file, indented, whole or not at all; raise RunFolderError."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
