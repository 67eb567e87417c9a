"""The folder that a run writes into, and how a file gets there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import datetime
from pathlib import Path

from harness.errors import RunFolderError

RESULTS = Path("results")
LATEST = "latest"


def planned_folder(root: Path, output_dir: Path | None) -> Path:
    """Return where this run will write: `output_dir`, or a folder under `root`/results named by the time of day.

    Raises RunFolderError where `output_dir` is a file or holds something already.
    """
    if output_dir is not None:
        _require_unused(output_dir)
        return output_dir.absolute()
    name = datetime.now().astimezone().strftime("%Y%m%d_%H%M%S")
    candidates = [root / RESULTS / name, *(root / RESULTS / f"{name}_{number}" for number in range(2, 1000))]
    return next(candidate for candidate in candidates if not candidate.exists())


def make_folder(folder: Path) -> None:
    """Make the folder that was planned; raise RunFolderError where it cannot be made or another run has taken it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"{folder}: cannot be made ({error.strerror}); choose another --output-dir") from error
    _require_unused(folder)


def point_latest_to(folder: Path) -> None:
    """Let `latest`, beside a folder under results/, name it; left alone where someone has put a real file there."""
    link = folder.parent / LATEST
    if folder.parent.name != RESULTS.name or (link.exists() and not link.is_symlink()):
        return
    fresh = folder.parent / f".{LATEST}.{os.getpid()}"
    with contextlib.suppress(OSError):  # a convenience: a file system without links is no reason to end a run
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(folder.name)
        fresh.replace(link)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: a reader sees the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise RunFolderError(f"{path}: cannot be written ({error.strerror}); make room and derive it again") from error


def _require_unused(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: is a file; --output-dir names a folder")
    if any(folder.iterdir()):
        raise RunFolderError(f"{folder}: is not empty; a run writes into a new folder, name another --output-dir")
