"""The clock, and the one place where the device is synchronised.

pytest-benchmark takes `now` as its timer (see pytest.ini); the whole pass reads it at the stages' boundaries. A GPU's
work is only queued when a call returns, so the clock waits for the device before it reads the time.
"""

import time
from collections.abc import Callable

from harness.records.quantities import is_gpu

_gpu = ""  # the device to wait for; none on the CPU, where a call returns when its work is done
_read: Callable[[], float] = time.perf_counter


def now() -> float:
    """Wait until the device has done all queued work, then return the time in seconds."""
    if _gpu:
        import torch

        torch.cuda.synchronize(_gpu)
    return _read()


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds of a call, until the device has done its work."""
    start = now()
    work()
    return now() - start


def seconds_on_gpu(work: Callable[[], object], device: str, times: int) -> float:
    """Return the seconds that the GPU `device` takes for `work`, by its own clock: the mean of `times` in a row."""
    # As many untimed calls go before them: the host gets ahead of the device meanwhile, so that launching is not timed
    # as long as it is faster than the work.
    import torch

    with torch.cuda.device(device):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        for _ in range(times):
            work()
        begin.record()
        for _ in range(times):
            work()
        end.record()
        end.synchronize()
    milliseconds: float = begin.elapsed_time(end)
    return milliseconds / 1000 / times


def use_device(device: str) -> None:
    """Make the clock wait for `device` ("cpu", "cuda", "cuda:1")."""
    global _gpu  # noqa: PLW0603 - pytest-benchmark takes a function, not an object
    _gpu = device if is_gpu(device) else ""


def use_reader(read: Callable[[], float] = time.perf_counter) -> None:
    """Make the clock read `read`; tests of the harness move such a clock by hand."""
    global _read  # noqa: PLW0603 - see above
    _read = read
