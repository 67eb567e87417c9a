"""A progress bar on a terminal, drawn between rounds only: no drawing thread runs during a stage."""

import os
import sys
import time
from contextlib import AbstractContextManager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

SECONDS_BETWEEN_DRAWINGS = 0.2


class Progress(AbstractContextManager["Progress"]):
    """A bar with rate and time left on `terminal`, if there is one; wiped when its measurement ends."""

    def __init__(self, terminal: IO[str] | None, prefix: str = "") -> None:
        self._terminal = terminal
        self._prefix = prefix
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._next_drawing = 0.0

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(self, title: str, total: int) -> None:
        """Draw an empty bar of `total` steps in place of the one before."""
        self.stop()
        if self._terminal is None:
            return
        if self._task is None:  # pytest has left the cursor behind the name of the test
            self._terminal.write("\n")
        self._bar = _new_bar(self._terminal)
        self._task = self._bar.add_task(f"{self._prefix} {title}", total=total)
        self._bar.start()

    def advance(self) -> None:
        """Count a step; draw it unless the last drawing is less than SECONDS_BETWEEN_DRAWINGS ago."""
        self._update(advance=1)

    def reach(self, done: int) -> None:
        """Set the count of steps, including steps of other processes, and draw as `advance` does."""
        self._update(completed=done)

    def stop(self) -> None:
        """Wipe the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _update(self, **change: float) -> None:
        if self._bar is None or self._task is None:
            return
        self._bar.update(self._task, **change)  # type: ignore[arg-type]  # of its many parameters, these are numbers
        if time.monotonic() >= self._next_drawing:
            self._bar.refresh()
            self._next_drawing = time.monotonic() + SECONDS_BETWEEN_DRAWINGS


def open_terminal() -> IO[str] | None:
    """Return the real standard error if it is a terminal, whatever pytest captures later; else None."""
    if not os.isatty(2):
        return None
    encoding = getattr(sys.__stderr__, "encoding", None) or "utf-8"
    return os.fdopen(os.dup(2), "w", encoding=encoding, errors="replace")


def _new_bar(terminal: IO[str]) -> "rich.progress.Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(TextColumn):
        """How many steps a second, once that is known."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:.3g}/s" if speed else "", style="progress.data.speed")

    return Progress(
        *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(""), TimeRemainingColumn()),
        console=Console(file=terminal),
        auto_refresh=False,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
