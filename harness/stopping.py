"""SIGINT and SIGTERM: the sample at hand is finished, then the run ends in order. A second one ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequestedError(KeyboardInterrupt):
    """The run is to end between two samples; pytest takes it for the user's interrupt, exit status 2."""


_asked_by: str | None = None


def stop_if_asked() -> None:
    """Raise StopRequestedError where a signal came since the last time; called between samples and between tests."""
    if _asked_by is not None:
        raise StopRequestedError(f"ended by {_asked_by}, behind the sample that was being measured")


@contextmanager
def orderly_stop(announce: Callable[[str], None]) -> Iterator[None]:
    """Within the block, let the first signal only ask; `announce` is given a line for whoever waits."""
    global _asked_by  # noqa: PLW0603 - signals are the process's, and so is what they ask for
    if threading.current_thread() is not threading.main_thread():
        yield  # nobody but the main thread is told of a signal
        return

    def ask(number: int, _frame: FrameType | None) -> None:
        global _asked_by  # noqa: PLW0603 - see above
        _asked_by = signal.Signals(number).name
        for each, handler in before.items():
            signal.signal(each, handler)
        announce(f"{_asked_by}: ending behind the sample that is being measured; once more ends at once")

    before: dict[signal.Signals, Any] = {each: signal.signal(each, ask) for each in SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        _asked_by = None
