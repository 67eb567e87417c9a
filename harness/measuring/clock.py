"""The clock, and the one place where the device is synchronised.

pytest-benchmark takes `now` as its timer (see pytest.ini), the whole pass reads it at the stages' boundaries. Work on
a GPU is only queued when a call returns: a time read before the device has caught up belongs to nothing.
"""

import time
from collections.abc import Callable

from harness.records.quantities import is_gpu

_gpu = ""  # that is waited for; on the CPU a call has done its work when it returns
_read: Callable[[], float] = time.perf_counter


def now() -> float:
    """Wait until the device has done all that it was given, then return the time in seconds."""
    if _gpu:
        import torch

        torch.cuda.synchronize(_gpu)
    return _read()


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes, until the device has done it."""
    start = now()
    work()
    return now() - start


def seconds_on_gpu(work: Callable[[], object], device: str, times: int) -> float:
    """Return the seconds that the GPU `device` takes for `work`, by its own clock: the mean of `times` in a row."""
    # As many go before them. While the device does those, the host gets ahead: launching is no part of the time as long
    # as it takes less than the work.
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
    """Wait for `device` ("cpu", "cuda", "cuda:1") from now on."""
    global _gpu  # noqa: PLW0603 - pytest-benchmark takes a function, not an object
    _gpu = device if is_gpu(device) else ""


def use_reader(read: Callable[[], float] = time.perf_counter) -> None:
    """Take the time from `read`; tests of the harness move such a clock by hand."""
    global _read  # noqa: PLW0603 - see above
    _read = read
