"""A GPU timed by its own clock, on a GPU."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

import torch

from harness.measuring import clock, reference_work
from tests.fixtures.engines.test_engines import needs_gpu


@needs_gpu
def test_how_fast_the_host_launches_is_no_part_of_a_gpu_s_time() -> None:
    factor = torch.ones(4096, 4096, device="cuda", dtype=torch.bfloat16)
    product = torch.empty_like(factor)

    def multiply() -> None:
        torch.mm(factor, factor, out=product)

    def slowly(wait_s: float) -> Callable[[], None]:
        def work() -> None:
            end = time.perf_counter() + wait_s
            while time.perf_counter() < end:
                pass
            multiply()

        return work

    def seconds(work: Callable[[], None]) -> float:
        return statistics.median(clock.seconds_on_gpu(work, "cuda", 8) for _ in range(30))

    seconds(multiply)
    quick = seconds(multiply)
    assert seconds(slowly(0.5 * quick)) < 1.04 * quick


@needs_gpu
def test_the_ends_of_a_session_are_timed_and_leave_no_memory_behind() -> None:
    gc.collect()  # as it does itself
    before = torch.cuda.memory_allocated()
    record = reference_work.observe("end", "cuda")
    assert len(record.product_s) == len(record.copy_s) == reference_work.ROUNDS
    assert min(record.product_s + record.copy_s) > 0
    assert torch.cuda.memory_allocated() == before
