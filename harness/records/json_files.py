"""JSON files as records, or one error that names the file, what it should hold and the way out."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from harness.errors import JSON_ERRORS, HarnessError, ResultFileError

Kind = TypeVar("Kind")


def read_json(
    path: Path, kind: type[Kind], what: str, *, advice: str = "", error: type[HarnessError] = ResultFileError
) -> Kind:
    """Return a file's content, checked to be a `kind`; `object` is any JSON.

    Raises `error`: the file cannot be read, or is not `what`; `advice` follows.
    """
    way_out = f"; {advice}" if advice else ""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}){way_out}") from cause
    except JSON_ERRORS as cause:
        raise error(f"{path}: is not {what}: {cause}{way_out}") from cause
