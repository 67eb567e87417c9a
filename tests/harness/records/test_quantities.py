"""Peaks of memory, the highest of several and the one that counts on a device; and numbers as text."""

from __future__ import annotations

import pytest

from harness.records.quantities import MemoryPeak, in_digits


def test_highest_takes_each_kind_by_itself_and_nothing_from_nothing() -> None:
    peaks = [MemoryPeak(1, None, 30), MemoryPeak(None, None, 20), MemoryPeak(2, None, None)]
    assert MemoryPeak.highest(peaks) == MemoryPeak(2, None, 30)
    assert MemoryPeak.highest([]) == MemoryPeak()
    assert MemoryPeak.highest([MemoryPeak(host_bytes=0)]) == MemoryPeak(host_bytes=0)


@pytest.mark.parametrize(("device", "size"), [("cpu", 1), ("cuda", 2), ("cuda:1", 2), ("not recorded", 1)])
def test_allocations_count_on_a_gpu_and_the_resident_set_elsewhere(device: str, size: int) -> None:
    assert MemoryPeak(1, 2, 3).on(device) == size


@pytest.mark.parametrize(
    ("form", "value", "shown"),
    [
        ("{:.4g} ms", 7.43, "7.43 ms"),
        ("{:.4g} ms", 1511.2, "1511 ms"),
        ("{:.4g} ms", 10_140.4, "10140 ms"),
        ("{:.3g}x", 1234.5, "1234x"),
        ("{:.0f} MiB", 123_456.0, "123456 MiB"),
        ("{:.3g}", 2e-7, "2e-07"),
    ],
)
def test_no_large_value_is_written_with_an_exponent(form: str, value: float, shown: str) -> None:
    assert in_digits(form, value) == shown
