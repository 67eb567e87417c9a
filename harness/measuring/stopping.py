"""How a measurement ends early: by a signal, by a sample's time limit, or because the device is lost."""

import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from harness.records.lines import Failure

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# What sends a signal often sends it twice: `timeout` to its child and then to the whole group, a terminal and torchrun
# each by itself.
SAME_REQUEST_S = 1.0
# Code under test may catch whatever is raised in it; the time limit then raises again.
AGAIN_AFTER_S = 1.0
# A timer of 0 s would be none.
SOONEST_S = 1e-6
# By name: the harness records what an exception is called, and imports no torch to know it.
OUT_OF_MEMORY, DEVICE_LOST = "OutOfMemoryError", "AcceleratorError"


class StopRequestedError(KeyboardInterrupt):
    """The run ends between two samples; pytest takes it for the user's interrupt, exit status 2."""


class SampleTimeoutError(Exception):
    """A sample took longer than its time limit."""


class _StopHandler:
    """The signal handler of a block: the first signal only asks, a later one does what it did before the block."""

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
        """Restore the handlers from before the block."""
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


_handler: _StopHandler | None = None


def stop_if_asked() -> None:
    """Raise StopRequestedError where a signal came since the last time; called between samples and between tests."""
    if _handler is None:
        return
    # LLVM, by which Triton compiles, installs handlers of its own with its first kernel, and they end the process.
    _handler.arm()
    if _handler.asked_by is not None:
        who = "you stopped the run: " if _handler.asked_by == "SIGINT" else ""
        raise StopRequestedError(f"{who}ended by {_handler.asked_by}, behind the sample that was being measured")


@contextmanager
def orderly_stop(announce: Callable[[str], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM in the block only ask for the end; `announce` is given a line for the user."""
    global _handler  # noqa: PLW0603 - signals are the process's, and so is what they ask for
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    _handler = _StopHandler(announce)
    _handler.arm()
    try:
        yield
    finally:
        _handler.disarm()
        _handler = None


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise SampleTimeoutError in a block that takes longer than `seconds`, if any. For the main thread only.

    Python raises it between two of its own instructions: a call of C or CUDA, or the wait for another thread,
    is not interrupted. The limit takes effect when such a call returns.
    """
    if seconds is None:
        yield
        return
    is_over = False

    def end_it(_number: int, _frame: FrameType | None) -> None:
        if not is_over:  # the block may end while the signal is on its way
            raise SampleTimeoutError(f"took longer than the {seconds:g} s that --sample_timeout leaves it")

    before = signal.signal(signal.SIGALRM, end_it)
    outer_s, again_s = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_AFTER_S)
    began = time.monotonic()
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer_s:  # whoever had set an alarm waits for it still; one that was due in the block comes now
            left_s = max(outer_s - (time.monotonic() - began), SOONEST_S)
            signal.setitimer(signal.ITIMER_REAL, left_s, again_s)


def limited(call: Callable[[Any], Any], seconds: float | None) -> Callable[[Any], Any]:
    """Return `call` under a time limit of `seconds`, if any."""
    return time_limit(seconds)(call) if seconds is not None else call


def empty_gpu_cache() -> None:
    """Give back memory of the GPU that nothing refers to, so that the next model finds it whole."""
    gc.collect()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()  # does nothing where CUDA was not used


def recover_from(failure: Failure | None) -> None:
    """Give memory back after the GPU ran out of it; raise StopRequestedError where CUDA itself failed."""
    if failure is None:
        return
    if failure.type == OUT_OF_MEMORY:
        empty_gpu_cache()
    # Nothing works in this process any more: every further sample would be recorded as failed that a new process could
    # measure.
    if failure.type == DEVICE_LOST:
        raise StopRequestedError(f"the GPU cannot be used any more by this process: {failure.text.splitlines()[0]}")
