from __future__ import annotations

import ctypes
import gc
from functools import partial
from pathlib import Path

import pytest
import torch

from harness.measuring import memory
from harness.measuring.memory import gpu_peak, host_peak, meter_for
from harness.records.quantities import MemoryPeak

MIB = 1024 * 1024
can_reset = pytest.mark.skipif(not memory.reset_host_peak(), reason="this kernel does not let the peak be reset")


def allocate_and_free() -> None:
    block = bytearray(b"x") * (64 * MIB)
    del block


def resident_bytes() -> int:
    return next(
        int(line.split()[1]) * 1024 for line in memory.STATUS.read_text().splitlines() if line.startswith("VmRSS:")
    )


@can_reset
def test_host_peak_sees_what_was_allocated_and_freed_inside_the_call() -> None:
    gc.collect()
    memory.reset_host_peak()
    before = resident_bytes()
    peak = host_peak(allocate_and_free)
    assert peak.host_bytes is not None
    assert peak.host_growth_bytes is not None
    assert 60 * MIB < peak.host_bytes - before < 96 * MIB
    assert 60 * MIB < peak.host_growth_bytes < 96 * MIB


@can_reset
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library gives nothing back")
def test_a_call_grows_by_what_it_takes_however_often_it_took_it_before() -> None:
    """Small pieces below one that is kept stay with the C library, and the next call would find them there."""
    kept: list[bytes] = []

    def take() -> None:
        pieces = [bytes(60_000) for _ in range(1000)]
        kept.append(pieces[-1])

    growth = [host_peak(take).host_growth_bytes or 0 for _ in range(3)]
    assert min(growth) > 40 * MIB


@can_reset
def test_host_peak_does_not_see_what_was_freed_before_the_call() -> None:
    allocate_and_free()
    before = resident_bytes()
    peak = host_peak(lambda: None)
    assert peak.host_bytes is not None
    assert peak.host_bytes - before < 16 * MIB


@can_reset
def test_host_peak_is_not_read_before_the_call_has_run() -> None:
    held: list[bytearray] = []
    peak = host_peak(lambda: held.append(bytearray(b"x") * (64 * MIB)))
    assert peak.host_bytes is not None
    assert peak.host_bytes >= 64 * MIB


def test_peak_that_cannot_be_reset_is_none_and_the_call_still_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFERENCES", tmp_path / "missing" / "clear_refs")
    calls: list[int] = []
    assert host_peak(lambda: calls.append(1)) == MemoryPeak()
    assert calls == [1]


@pytest.mark.parametrize("content", [None, "Name:\tpython\nVmRSS:\t 12 kB\n"])
def test_peak_that_the_system_does_not_tell_is_none(
    content: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = tmp_path / "status"
    if content:
        status.write_text(content)
    monkeypatch.setattr(memory, "STATUS", status)
    assert memory.read_host_peak() is None


def test_peak_is_in_bytes_though_the_kernel_counts_in_kib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("VmPeak:\t 999 kB\nVmHWM:\t   12 kB\nVmRSS:\t 8 kB\n")
    monkeypatch.setattr(memory, "STATUS", status)
    assert memory.read_host_peak() == 12 * 1024


@can_reset
def test_an_error_in_the_call_comes_through() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        host_peak(fail)


class CudaCounters:
    """torch.cuda's peaks, in bytes, over calls that hold memory for a while; reserved is twice what is allocated."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.peak = 0
        self.devices: set[str] = set()
        for name in ("reset_peak_memory_stats", "max_memory_allocated", "max_memory_reserved"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def hold(self, size: int) -> None:
        self.peak = max(self.peak, size)

    def reset_peak_memory_stats(self, device: str) -> None:
        self.devices.add(device)
        self.peak = 0

    def max_memory_allocated(self, device: str) -> int:
        self.devices.add(device)
        return self.peak

    def max_memory_reserved(self, device: str) -> int:
        self.devices.add(device)
        return 2 * self.peak


def test_a_gpus_peak_is_that_of_the_call_and_of_nothing_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = CudaCounters(monkeypatch)
    counters.hold(900)
    for size in (100, 70):
        peak = gpu_peak("cuda:1", partial(counters.hold, size))
        assert (peak.device_allocated_bytes, peak.device_reserved_bytes) == (size, 2 * size)
    assert counters.devices == {"cuda:1"}


def test_each_device_has_its_meter() -> None:
    assert meter_for("cpu") is host_peak
    of_gpu = meter_for("cuda:1")
    assert isinstance(of_gpu, partial)
    assert (of_gpu.func, of_gpu.args) == (gpu_peak, ("cuda:1",))
