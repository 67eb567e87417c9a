"""Sentinel workloads: work that never changes, timed at both ends of a run, which says how fast the machine itself is.

Where they are slower than in the baseline, so is everything else, and no change of the code is to blame. They take a
fraction of a second, so every run has them and can become part of a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from harness import clock
from harness.prediction import falls_into_two, is_beyond, predict
from harness.records import Moment, RunRecord, SentinelRecord
from harness.statistics import quantile

Workload = Callable[[], object]

WARM_UP, ROUNDS = 5, 30
# A clock that is slower slows every round down; what else runs for a moment slows some, and says nothing of the rest.
SHARE_OF_ROUNDS = 0.25
# A clock that has moved by less leaves every figure within its own minimum effect.
SMALLEST_ON_GPU, SMALLEST_ON_CPU = math.log(1.03), math.log(1.05)
# Two workloads, two moments, two directions: together they are wrong as often as one figure in one direction.
PROBABILITY = 1 - 0.02 / 8


def observe(moment: Moment, device: str) -> SentinelRecord:
    """Time the workloads on `device` now, and ask the GPU what disturbs it while it is still busy."""
    product_s, copy_s = (_timed(work) for work in workloads(device).values())
    throttled, others = _disturbances(device)
    return SentinelRecord(moment, product_s, copy_s, throttled, others)


def workloads(device: str) -> Mapping[str, Workload]:
    """Return a matrix product and a copy, a few milliseconds each; their memory goes with them."""
    import torch

    on_gpu = device.startswith("cuda")
    side, megabytes, times = (4096, 256, 8) if on_gpu else (512, 32, 1)
    factor = torch.ones(side, side, device=device, dtype=torch.bfloat16 if on_gpu else torch.float32)
    source = torch.ones(megabytes << 20, device=device, dtype=torch.uint8)
    product, target = torch.empty_like(factor), torch.empty_like(source)

    def multiply() -> None:
        for _ in range(times):
            torch.mm(factor, factor, out=product)

    def copy() -> None:
        for _ in range(times):
            target.copy_(source)

    return {"matrix product": multiply, "copy": copy}


def doubts(run: RunRecord, baseline: Sequence[RunRecord]) -> list[str]:
    """Return why the figures of a run cannot be trusted, in words; of the sentinels, as the baseline predicts them."""
    found = [
        f"the GPU was throttled at the {each.moment} of the run: {', '.join(each.throttled)}"
        for each in run.sentinels
        if each.throttled
    ]
    found += [
        f"{each.other_processes} other processes were using the GPU at the {each.moment} of the run"
        for each in run.sentinels
        if each.other_processes
    ]
    smallest, here = _smallest(run), speeds(run)
    for name, values in _by_name(baseline).items():
        if name not in here:
            found.append(f"the {name} is missing that the baseline has")
        elif len(values) > 1:
            prediction = predict(values, smallest, PROBABILITY)
            change = here[name] - float(prediction.centre)
            if is_beyond(prediction, abs(change)):
                found.append(
                    f"the {name}, work that never changes, took {_percent(change)} of its time in the baseline "
                    f"(limit ±{_percent(float(prediction.limit))})"
                )
    return found


def baseline_doubts(baseline: Sequence[RunRecord]) -> list[str]:
    """Return why the baseline's machine cannot be predicted: its sessions ran at two speeds, as of a clock.

    Sentinels that merely scatter only widen their own limit: they are short, and figures have a spread of their own.
    """
    smallest = _smallest(baseline[0])
    two = {name: values for name, values in _by_name(baseline).items() if falls_into_two(values, smallest)}
    if not two:
        return []
    ranges = ", ".join(f"the {name} by {_percent(max(values) - min(values))}" for name, values in two.items())
    return [f"the baseline's machine ran at two speeds: its sessions differ in {ranges}"]


def speeds(run: RunRecord) -> dict[str, float]:
    """Return the logarithm of the lower-quartile seconds of each workload at each end of the run, by name."""
    found = {}
    for each in run.sentinels:
        for work, seconds in (("matrix product", each.product_s), ("copy", each.copy_s)):
            logarithms = sorted(math.log(value) for value in seconds if value > 0)
            if logarithms:  # of a clock that stood still there is no speed
                found[f"{work} at the {each.moment}"] = quantile(logarithms, SHARE_OF_ROUNDS)
    return found


def _by_name(baseline: Sequence[RunRecord]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for session in baseline:
        for name, value in speeds(session).items():
            found.setdefault(name, []).append(value)
    return found


def _smallest(run: RunRecord) -> float:
    return SMALLEST_ON_GPU if run.header.device.startswith("cuda") else SMALLEST_ON_CPU


def _timed(work: Workload) -> tuple[float, ...]:
    for _ in range(WARM_UP):
        work()
    seconds = []
    for _ in range(ROUNDS):
        start = clock.now()
        work()
        seconds.append(clock.now() - start)
    return tuple(seconds)


def _disturbances(device: str) -> tuple[tuple[str, ...] | None, int | None]:
    if not device.startswith("cuda"):
        return None, None
    import torch

    from harness import nvidia

    found = nvidia.disturbances(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    torch.cuda.empty_cache()  # a process that has let go of everything leaves the models the whole card
    return found


def _percent(logarithm: float) -> str:
    return f"{100 * math.expm1(logarithm):+.1f} %"
