"""Notes what a program may not do while it reads a hostile file: run something, connect, touch files elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fixtures.data.recording import READER
from tests import ROOT

# Where Python and its packages are: modules are imported at any time. The rest tells a process about itself.
MAY_BE_READ = tuple(
    os.path.realpath(path) for path in (ROOT, sys.prefix, sys.base_prefix, "/proc/self", "/proc/meminfo", "/usr/share")
)
DEVICES = ("/dev/null", "/dev/urandom")
RUNS_SOMETHING = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile", "subprocess.Popen",
    "pty.spawn", "socket.connect", "socket.bind", "socket.getaddrinfo", "ctypes.dlopen", "webbrowser.open",
    "pickle.find_class", "marshal.loads",
)  # fmt: skip
CHANGES_FILES = (
    "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate",
    "os.utime", "shutil.rmtree", "shutil.move", "shutil.copyfile", "tempfile.mkstemp",
)  # fmt: skip


@dataclass(slots=True)
class Probe:
    """Listens from its making on, as long as the process lives; notes only within `watching`."""

    allowed: str
    seen: list[str] = field(default_factory=list)
    _listening: bool = False

    @classmethod
    def over(cls, folder: Path) -> Probe:
        """What happens in `folder` is allowed; to be called once a process, since nobody can stop listening."""
        watch = cls(os.path.realpath(folder))
        sys.addaudithook(watch.hear)
        return watch

    @contextmanager
    def watching(self) -> Iterator[list[str]]:
        """Gives the list of what happens in the block."""
        self.seen = []
        self._listening = True
        try:
            yield self.seen
        finally:
            self._listening = False

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called by Python at each event."""
        if not self._listening:
            return
        if event == "open":
            self._opened(arguments[0], arguments[2])
        elif event in CHANGES_FILES:
            self.seen += [f"{event} {path!r}" for path in arguments if _is_path(path) and not self._inside(path)]
        elif event in RUNS_SOMETHING and not _by_an_import() and not _starts_a_reader(event, arguments):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "exec" and not _by_an_import():
            self.seen.append(f"exec of {getattr(arguments[0], 'co_filename', '?')}")

    def _opened(self, path: Any, flags: int) -> None:
        if not _is_path(path) or self._inside(path):
            return
        real = os.path.realpath(os.fsdecode(path))
        reads = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) == 0
        if real in DEVICES or (reads and any(_is_below(real, place) for place in MAY_BE_READ)):
            return
        self.seen.append(f"open {real!r} to {'read' if reads else 'write'}")

    def _inside(self, path: Any) -> bool:
        return _is_below(os.path.realpath(os.fsdecode(path)), self.allowed)


def _starts_a_reader(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether it is our own program that reads a recording, which cannot open a second file."""
    return event == "subprocess.Popen" and list(arguments[1])[:3] == [sys.executable, "-P", str(READER)]


def _is_path(argument: Any) -> bool:
    return isinstance(argument, (str, bytes, os.PathLike)) and bool(argument)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + os.sep)


def _by_an_import() -> bool:
    """Whether a module is just being imported, or a class made by the standard library or NumPy: their own code."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("importlib._bootstrap") or name in {"dataclasses", "collections", "typing", "enum"}:
            return True
        frame = frame.f_back
    return False
