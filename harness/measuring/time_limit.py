"""A limit to the time that a sample may take: an exception is raised in the middle of it, and the run goes on.

Python raises it between two of its own instructions. A call of C or CUDA that does not return is not interrupted, nor
is a file that is being loaded by another thread; the limit takes effect when such a call comes back.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Code under test may catch whatever is raised in it, and go on: then it is raised again.
AGAIN_AFTER_S = 1.0


class SampleTimeoutError(Exception):
    """A sample took longer than it may."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise SampleTimeoutError in the block where it takes longer; None is no limit. For the main thread only."""
    if seconds is None:
        yield
        return
    is_over = False

    def end_it(_number: int, _frame: FrameType | None) -> None:
        if not is_over:  # the block may end while the signal is on its way
            raise SampleTimeoutError(f"took longer than the {seconds:g} s that --sample_timeout leaves it")

    before = signal.signal(signal.SIGALRM, end_it)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_AFTER_S)
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limited(call: Callable[[Any], Any], seconds: float | None) -> Callable[[Any], Any]:
    """Return a call that may take so long."""

    def within_limit(value: Any) -> Any:
        with time_limit(seconds):
            return call(value)

    return within_limit if seconds is not None else call
