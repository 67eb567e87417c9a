"""Peak memory of one call; never of a timed round, since resetting and reading the counters takes time."""

import ctypes
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from harness.records.quantities import MemoryPeak, is_gpu

# Writing 5 to clear_refs sets the process's "high water mark" back to its present resident set (man 5 proc).
CLEAR_REFERENCES = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


Meter = Callable[[Callable[[], object]], MemoryPeak]
"""Runs a call, and returns the peaks of memory during it."""


def host_peak(call: Callable[[], object]) -> MemoryPeak:
    """Return the peak resident set of this process, by Linux' own counter; None where it cannot be reset."""
    before = read_host_peak() if reset_host_peak() else None
    call()
    peak = read_host_peak()
    if before is None or peak is None:
        return MemoryPeak()
    return MemoryPeak(host_bytes=peak, host_growth_bytes=peak - before)


def gpu_peak(device: str, call: Callable[[], object]) -> MemoryPeak:
    """Return the peaks of PyTorch's allocator, exact without synchronisation, and the host's."""
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    host = host_peak(call)
    allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return msgspec.structs.replace(host, device_allocated_bytes=allocated, device_reserved_bytes=reserved)


def meter_for(device: str) -> Meter:
    """Return the meter for `device` ("cpu", "cuda", "cuda:1")."""
    return partial(gpu_peak, device) if is_gpu(device) else host_peak


def reset_host_peak() -> bool:
    """Set the peak resident set back to the present one; False where the system has no way to."""
    # Give freed memory back to the system first, where the C library can: a call that reuses it would show no growth.
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
    try:
        CLEAR_REFERENCES.write_text("5")
    except OSError:
        return False
    return True


def read_host_peak() -> int | None:
    """Return the peak resident set in bytes since the last reset; None where the system has none."""
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
