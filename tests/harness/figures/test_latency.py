"""Latency sample by sample: what a percentile takes."""

from __future__ import annotations

import pytest

from harness.figures.latency import Latency


@pytest.mark.parametrize(("percent", "enough"), [(50, 1), (90, 1), (99, 100)])
def test_a_percentile_needs_so_many_samples(percent: int, enough: int) -> None:
    def of(samples: int) -> Latency:
        return Latency("egpt", "eager", "ttft", tuple(map(float, range(1, samples + 1))))

    found = of(enough).percentile(percent)
    assert found is not None
    assert found.samples == enough
    assert enough == 1 or of(enough - 1).percentile(percent) is None
