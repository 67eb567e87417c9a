"""The folder of a run, files that are written whole or not at all, and JSON files as records."""

import contextlib
import os
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import msgspec

from harness.errors import JSON_ERRORS, HarnessError, ResultFileError, RunFolderError

RESULTS = Path("results")
LATEST = "latest"
BENCHMARK_FILE_NAME = "benchmark.json"
MAX_NAME_BYTES = 255
_TIME = "%Y%m%d_%H%M%S"


def planned_folder(root: Path, output_dir: Path | None) -> Path:
    """Return `output_dir`, or one under `root`/results named by the time; raise RunFolderError if it is in use."""
    if output_dir is not None:
        _require_unused(output_dir)
        require_room_for(output_dir, "--output-dir")
        return output_dir.absolute()
    return unused_folder(root / RESULTS)


def require_room_for(path: Path, option: str, *, is_file: bool = False) -> None:
    """Raise RunFolderError where the folder or file that `option` names cannot be made; make a file's folder."""
    if is_file and os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        raise RunFolderError(f"{path}: is a folder; {option} names a file")
    above = next(each for each in path.absolute().parents if os.path.lexists(each))
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise RunFolderError(f"{path}: cannot be made: {above} is not a writable folder; choose another {option}")
    if is_file:
        _make(path.parent, option)  # pytest-benchmark makes none


def unused_folder(parent: Path, prefix: str = "") -> Path:
    """Return the path of a new folder in `parent`, named by `prefix`, date and time."""
    return _unused(parent, prefix + datetime.now().astimezone().strftime(_TIME))


def keep_aside(path: Path, own: bytes) -> Path | None:
    """Rename a file, unless it is a JSON list with `own`; return its new path, if any. Raises RunFolderError."""
    try:
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises for a name that is too long
            return None
        if (content := path.read_bytes()).startswith(b"[") and own in content:
            return None
        changed = datetime.fromtimestamp(path.stat().st_mtime).astimezone().strftime(_TIME)
        stem = shortened(path.name.removesuffix(".json"), len(changed) + 10)
        return path.rename(_unused(path.parent, f"{stem}.{changed}", ".json"))
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be renamed ({error.strerror}); name another --output_json") from error


def _unused(parent: Path, stem: str, suffix: str = "") -> Path:
    names = chain([stem], (f"{stem}_{number}" for number in count(2)))
    return next(path for name in names if not (path := parent / f"{name}{suffix}").exists())


def make_folder(folder: Path) -> None:
    """Make the folder that was planned; raise RunFolderError where it cannot be made or another run has taken it."""
    _make(folder, "--output-dir")
    _require_unused(folder)


def _make(folder: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be made ({error.strerror}); choose another {option}") from error


def point_latest_to(folder: Path) -> None:
    """Point the link `latest` at a folder under results/; a real file named `latest` stays."""
    link = folder.parent / LATEST
    if folder.parent.name != RESULTS.name or (link.exists() and not link.is_symlink()):
        return
    fresh = folder.parent / f".{LATEST}.{os.getpid()}"
    with contextlib.suppress(OSError):  # a convenience: a file system without links is no reason to end a run
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.replace(link)


def shortened(name: str, more_bytes: int) -> str:
    """Cut a file name so that `more_bytes` can be added: file systems take 255 bytes."""
    return os.fsencode(name)[: MAX_NAME_BYTES - more_bytes].decode(errors="ignore")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: a reader sees the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{shortened(path.name, 10)}.{uuid4().hex[:8]}")
        # Not mkstemp, whose files only their owner may read: here the umask decides.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error.strerror}); name another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunFolderError(f"{path}: cannot be written ({error.strerror}); make room and derive it again") from error


def _require_unused(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: is a file; --output-dir names a folder")
    if any(folder.iterdir()):
        raise RunFolderError(f"{folder}: is not empty; a run writes into a new folder, name another --output-dir")


Kind = TypeVar("Kind")


def read_json(
    path: Path,
    kind: type[Kind],
    what: str,
    *,
    advice: str = "",
    error: type[HarnessError] = ResultFileError,
    version: int | None = None,
) -> Kind:
    """Return a file's content, checked to be a `kind` (`object`: any JSON); raise `error` where it is not `what`.

    `version`: the only `format_version` that the content may have.
    """
    way_out = f"; {advice}" if advice else ""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as cause:
        raise error(f"{path}: cannot be read ({cause.strerror}){way_out}") from cause
    except JSON_ERRORS as cause:
        raise error(f"{path}: is not {what}: {cause}{way_out}") from cause
    stored = getattr(found, "format_version", None)
    if version is not None and stored != version:
        raise error(f"{path}: has format version {stored}, this reader knows {version}{way_out}")
    return found


def write_json(path: Path, content: object, indent: int = 1) -> None:
    """Write a record or plain values to a file in UTF-8, indented, whole or not at all; raise RunFolderError."""
    write_whole(path, msgspec.json.format(msgspec.json.encode(content), indent=indent) + b"\n")
