"""Peak memory of one call; never of a timed round, since resetting and reading the counters takes time."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.records.quantities import MemoryPeak, is_gpu

# Writing 5 to clear_refs sets the process's "high water mark" back to its present resident set (man 5 proc).
CLEAR_REFERENCES = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class MemoryMeter(Protocol):
    """Measures the peak of memory during a call."""

    def peak_while(self, call: Callable[[], object]) -> MemoryPeak:
        """Run `call` and return the peaks."""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Peak resident set of this process, from Linux' own counter."""

    def peak_while(self, call: Callable[[], object]) -> MemoryPeak:
        """Run `call`; `host_bytes` is None where the kernel does not let the counter be reset."""
        before = read_host_peak() if reset_host_peak() else None
        call()
        peak = read_host_peak()
        if before is None or peak is None:
            return MemoryPeak()
        return MemoryPeak(host_bytes=peak, host_growth_bytes=peak - before)


@dataclass(frozen=True, slots=True)
class CudaMemory:
    """Peak allocated and reserved bytes of one GPU, and the host's peak."""

    device: str

    def peak_while(self, call: Callable[[], object]) -> MemoryPeak:
        """Run `call`; the allocator's peaks are exact, whether or not the device has caught up."""
        import torch

        torch.cuda.reset_peak_memory_stats(self.device)
        host = HostMemory().peak_while(call)
        return MemoryPeak(
            host_bytes=host.host_bytes,
            host_growth_bytes=host.host_growth_bytes,
            device_allocated_bytes=torch.cuda.max_memory_allocated(self.device),
            device_reserved_bytes=torch.cuda.max_memory_reserved(self.device),
        )


def meter_for(device: str) -> MemoryMeter:
    """Return the meter for `device` ("cpu", "cuda", "cuda:1")."""
    return CudaMemory(device) if is_gpu(device) else HostMemory()


def reset_host_peak() -> bool:
    """Set the peak resident set back to the present one; False where the system has no way to."""
    # What earlier rounds freed goes back to the system first, where the C library can: else calls grow by nothing.
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
