"""Peaks of memory: the highest of several, and the one that counts on a device."""

from __future__ import annotations

import pytest

from harness.records.quantities import MemoryPeak


def test_highest_takes_each_kind_by_itself_and_nothing_from_nothing() -> None:
    peaks = [MemoryPeak(1, None, 30), MemoryPeak(None, None, 20), MemoryPeak(2, None, None)]
    assert MemoryPeak.highest(peaks) == MemoryPeak(2, None, 30)
    assert MemoryPeak.highest([]) == MemoryPeak()
    assert MemoryPeak.highest([MemoryPeak(host_bytes=0)]) == MemoryPeak(host_bytes=0)


@pytest.mark.parametrize(("device", "size"), [("cpu", 1), ("cuda", 2), ("cuda:1", 2), ("not recorded", 1)])
def test_allocations_count_on_a_gpu_and_the_resident_set_elsewhere(device: str, size: int) -> None:
    assert MemoryPeak(1, 2, 3).on(device) == size
