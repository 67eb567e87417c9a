"""Bars on a terminal, nothing elsewhere. Drawn between rounds only, by the caller: no thread runs beside a stage."""

from __future__ import annotations

import os
import time
from typing import IO, TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import rich.progress

SECONDS_BETWEEN_DRAWINGS = 0.2


class Progress(Protocol):
    """Something that is told how far a measurement has come."""

    def start(self, title: str, total: int) -> None:
        """Begin a bar of `total` steps, in place of the one before."""

    def advance(self) -> None:
        """One step is done."""

    def reach(self, done: int) -> None:
        """So many steps are done, by all processes together."""

    def stop(self) -> None:
        """Take the bar away."""


class Quiet:
    """Progress where nobody is looking."""

    def start(self, title: str, total: int) -> None:
        """Say nothing."""

    def advance(self) -> None:
        """Say nothing."""

    def reach(self, done: int) -> None:
        """Say nothing."""

    def stop(self) -> None:
        """Say nothing."""


class TerminalBar:
    """A bar with rate and time left, wiped when its measurement ends so that pytest's own lines stay whole."""

    def __init__(self, terminal: IO[str], prefix: str) -> None:
        self._terminal = terminal
        self._prefix = prefix
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._next_drawing = 0.0

    def start(self, title: str, total: int) -> None:
        """Draw an empty bar, on a line of its own: pytest has left the cursor behind the name of the test."""
        self.stop()
        if self._task is None:
            self._terminal.write("\n")
        self._bar = _new_bar(self._terminal)
        self._task = self._bar.add_task(f"{self._prefix} {title}", total=total)
        self._bar.start()

    def advance(self) -> None:
        """Count a step, and draw it unless the last drawing is only just past."""
        if self._bar is None or self._task is None:
            return
        self._bar.advance(self._task)
        self._draw_now_and_then()

    def reach(self, done: int) -> None:
        """Set the bar to a count, and draw it as `advance` does."""
        if self._bar is None or self._task is None:
            return
        self._bar.update(self._task, completed=done)
        self._draw_now_and_then()

    def _draw_now_and_then(self) -> None:
        if self._bar is not None and time.monotonic() >= self._next_drawing:
            self._bar.refresh()
            self._next_drawing = time.monotonic() + SECONDS_BETWEEN_DRAWINGS

    def stop(self) -> None:
        """Wipe the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def open_terminal() -> IO[str] | None:
    """Return the real standard error if it is a terminal, whatever pytest captures later; else None."""
    if not os.isatty(2):
        return None
    return os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")


def progress_on(terminal: IO[str] | None, prefix: str) -> Progress:
    """Return a bar on the terminal, or quiet where there is none."""
    return TerminalBar(terminal, prefix) if terminal else Quiet()


def _new_bar(terminal: IO[str]) -> rich.progress.Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        """How many steps a second, once that is known."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(""),
        TimeRemainingColumn(),
        console=Console(file=terminal),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
