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
# One request may come as two signals: `timeout` signals its child and then the group, a terminal and torchrun both
# signal each process.
SAME_REQUEST_S = 1.0
# Code under test may catch the exception of the time limit, which is then raised again.
AGAIN_AFTER_S = 1.0
# Shortest timer: one of 0 s would be no timer.
SOONEST_S = 1e-6
# Names of exception types, so that harness need not import torch to know them.
OUT_OF_MEMORY, DEVICE_LOST = "OutOfMemoryError", "AcceleratorError"


class StopRequestedError(KeyboardInterrupt):
    """The run ends between two samples. pytest treats this as the user's interrupt, exit status 2."""


class SampleTimeoutError(Exception):
    """A sample took longer than its time limit."""


class _StopHandler:
    """Signal handler of a block: the first signal requests a stop, a later one goes to the handler from before."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.asked_by: str | None = None
        self._asked_at = 0.0
        self._announce = announce
        self._before: dict[signal.Signals, Any] = {each: signal.getsignal(each) or signal.SIG_DFL for each in SIGNALS}

    def arm(self) -> None:
        """Install this handler in place of any other."""
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
            self._announce(f"{name}: the run ends after the current sample; a second {name} ends it at once")
        elif time.monotonic() - self._asked_at > SAME_REQUEST_S:
            self.disarm()
            signal.raise_signal(number)


_handler: _StopHandler | None = None


def stop_if_asked() -> None:
    """Raise StopRequestedError if a signal has asked for it; called between samples and between tests."""
    if _handler is None:
        return
    # LLVM, which Triton compiles with, installs handlers of its own with its first kernel, which end the process.
    _handler.arm()
    if _handler.asked_by is not None:
        who = "you stopped the run: " if _handler.asked_by == "SIGINT" else ""
        raise StopRequestedError(f"{who}ended by {_handler.asked_by}, after the current sample")


@contextmanager
def orderly_stop(announce: Callable[[str], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM in the block only request a stop; `announce` gets a line for the user."""
    global _handler  # noqa: PLW0603 - signals belong to the process
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

    Python raises it between two of its own instructions. A call of C or CUDA, or the wait for another thread, is not
    interrupted: the limit takes effect when it returns.
    """
    if seconds is None:
        yield
        return
    is_over = False

    def end_it(_number: int, _frame: FrameType | None) -> None:
        if not is_over:  # the block may end while the signal is on its way
            raise SampleTimeoutError(f"took longer than the {seconds:g} s that --sample_timeout allows")

    before = signal.signal(signal.SIGALRM, end_it)
    outer_s, again_s = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_AFTER_S)
    began = time.monotonic()
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer_s:  # set an alarm from before the block again; one that was due in the block comes now
            left_s = max(outer_s - (time.monotonic() - began), SOONEST_S)
            signal.setitimer(signal.ITIMER_REAL, left_s, again_s)


def limited(call: Callable[[Any], Any], seconds: float | None) -> Callable[[Any], Any]:
    """Return `call` under a time limit of `seconds`, if any."""
    return time_limit(seconds)(call) if seconds is not None else call


def empty_gpu_cache() -> None:
    """Give unused memory of the GPU back, so that the next model can have all of it."""
    gc.collect()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()  # does nothing where CUDA was not used


def recover_from(failure: Failure | None) -> None:
    """Free unused memory after the GPU ran out of it; raise StopRequestedError where CUDA itself failed."""
    if failure is None:
        return
    if failure.type == OUT_OF_MEMORY:
        empty_gpu_cache()
    # The device is lost to this process: every further sample would fail, while a new process could measure it.
    if failure.type == DEVICE_LOST:
        raise StopRequestedError(f"the GPU cannot be used any more by this process: {failure.text.splitlines()[0]}")
