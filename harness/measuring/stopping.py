"""SIGINT and SIGTERM: the sample at hand is finished, then the run ends in order. A later one ends it at once.

What sends a signal often sends it twice: `timeout` to its child and then to the whole group, a terminal and torchrun
each by itself. Within a second that is one request. And what is measured may take signals for itself: LLVM, by which
Triton compiles, installs handlers of its own with its first kernel, and they end the process without a word. So ours
are put back between samples.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_REQUEST_S = 1.0


class StopRequestedError(KeyboardInterrupt):
    """The run is to end between two samples; pytest takes it for the user's interrupt, exit status 2."""


class _Waiting:
    """The handler of a block: it keeps who asked for an end, and lets a later signal do what it did before."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.asked_by: str | None = None
        self._asked_at = 0.0
        self._announce = announce
        self._before: dict[signal.Signals, Any] = {each: signal.getsignal(each) or signal.SIG_DFL for each in SIGNALS}

    def arm(self) -> None:
        """Take the signals, from whatever has them now."""
        for each in SIGNALS:
            signal.signal(each, self._ask)

    def disarm(self) -> None:
        """Leave the signals as they were before the block."""
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.asked_by is None:
            self.asked_by, self._asked_at = name, time.monotonic()
            self._announce(f"{name}: ending behind the sample that is being measured; once more ends at once")
        elif time.monotonic() - self._asked_at > SAME_REQUEST_S:
            self.disarm()
            signal.raise_signal(number)


_waiting: _Waiting | None = None


def stop_if_asked() -> None:
    """Raise StopRequestedError where a signal came since the last time; called between samples and between tests."""
    if _waiting is None:
        return
    _waiting.arm()
    if _waiting.asked_by is not None:
        raise StopRequestedError(f"ended by {_waiting.asked_by}, behind the sample that was being measured")


@contextmanager
def orderly_stop(announce: Callable[[str], None]) -> Iterator[None]:
    """Within the block, let the first signal only ask; `announce` is given a line for whoever waits."""
    global _waiting  # noqa: PLW0603 - signals are the process's, and so is what they ask for
    if threading.current_thread() is not threading.main_thread():
        yield  # nobody but the main thread is told of a signal
        return
    _waiting = _Waiting(announce)
    _waiting.arm()
    try:
        yield
    finally:
        _waiting.disarm()
        _waiting = None
