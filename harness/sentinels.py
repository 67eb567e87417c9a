"""Sentinel workloads: work that never changes, which says how fast the machine itself is.

They are timed at both ends of a run, and more briefly at both ends of each test whose times are gated. Where they are
slower than in the baseline, so is everything else there, and no change of the code is to blame. They take a fraction of
a second, so every run has them and can become part of a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from harness import clock
from harness.prediction import falls_into_two, is_beyond, predict
from harness.records import Moment, RunRecord, SentinelRecord
from harness.statistics import median, quantile

Workload = Callable[[], object]
Name = TypeVar("Name", str, tuple[str, str])

WARM_UP, ROUNDS = 5, 30
WARM_UP_AT_TEST, ROUNDS_AT_TEST = 2, 10
# A clock that is slower slows every round down; what else runs for a moment slows some, and says nothing of the rest.
SHARE_OF_ROUNDS = 0.25
# A clock that has moved by less leaves every figure within its own minimum effect.
SMALLEST_ON_GPU, SMALLEST_ON_CPU = math.log(1.03), math.log(1.05)
# Two workloads, two moments, two directions: together they are wrong as often as one figure in one direction.
PROBABILITY = 1 - 0.02 / 8


def observe(moment: Moment, device: str) -> SentinelRecord:
    """Time the workloads on `device` now, and ask the GPU what disturbs it while it is still busy."""
    product_s, copy_s = (_timed(work, WARM_UP, ROUNDS) for work in workloads(device).values())
    throttled, others = _disturbances(device)
    return SentinelRecord(moment, product_s, copy_s, throttled, others)


def observe_at_test(moment: Moment, test: str, device: str) -> SentinelRecord | None:
    """Time the workloads on `device` right before or after the rounds of `test`; None where a model leaves no room."""
    import torch

    try:
        product_s, copy_s = (_timed(work, WARM_UP_AT_TEST, ROUNDS_AT_TEST) for work in workloads(device).values())
    except torch.OutOfMemoryError:
        return None
    return SentinelRecord(moment, product_s, copy_s, test=test)


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
    """Return why no figure of a run can be trusted, in words; of the sentinels, as the baseline predicts them."""
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
    for name, values in _by_name(map(speeds, baseline)).items():
        found += _departure(f"the {name}", here.get(name), values, smallest)
    return found


def doubts_at_tests(run: RunRecord, baseline: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Return by test why its own figures cannot be trusted: the machine was of another speed right beside them."""
    smallest, here = _smallest(run), speeds_at_tests(run)
    found: dict[str, list[str]] = {}
    for (test, work), values in _by_name(map(speeds_at_tests, baseline)).items():
        found.setdefault(test, []).extend(
            _departure(f"beside {test} the {work}", here.get((test, work)), values, smallest)
        )
    return found


def baseline_doubts(baseline: Sequence[RunRecord]) -> list[str]:
    """Return why the baseline's machine cannot be predicted: its sessions ran at two speeds, as of a clock.

    Sentinels that merely scatter only widen their own limit: they are short, and figures have a spread of their own.
    """
    smallest = _smallest(baseline[0])
    by_name = _by_name(map(speeds, baseline))
    two = {name: values for name, values in by_name.items() if falls_into_two(values, smallest)}
    if not two:
        return []
    ranges = ", ".join(f"the {name} by {_percent(max(values) - min(values))}" for name, values in two.items())
    return [f"the baseline's machine ran at two speeds: its sessions differ in {ranges}"]


def speeds(run: RunRecord) -> dict[str, float]:
    """Return the logarithm of the lower-quartile seconds of each workload at each end of the run, by name."""
    found = {}
    for each in run.sentinels:
        for work, logarithms in _logarithms(each) if not each.test else ():
            found[f"{work} at the {each.moment}"] = quantile(logarithms, SHARE_OF_ROUNDS)
    return found


def speeds_at_tests(run: RunRecord) -> dict[tuple[str, str], float]:
    """Return the logarithm of the median seconds of each workload beside each test, by test and workload.

    The median, over both of its ends: what slows half of them down has slowed the test's own rounds as well.
    """
    rounds: dict[tuple[str, str], list[float]] = {}
    for each in run.sentinels:
        for work, logarithms in _logarithms(each) if each.test else ():
            rounds.setdefault((each.test, work), []).extend(logarithms)
    return {place: median(logarithms) for place, logarithms in rounds.items()}


def _logarithms(of: SentinelRecord) -> Iterable[tuple[str, list[float]]]:
    for work, seconds in (("matrix product", of.product_s), ("copy", of.copy_s)):
        logarithms = sorted(math.log(value) for value in seconds if value > 0)
        if logarithms:  # of a clock that stood still there is no speed
            yield work, logarithms


def _departure(what: str, here: float | None, values: Sequence[float], smallest: float) -> list[str]:
    """Return in words how far a workload's speed lies from what the baseline predicts, where that is too far."""
    if here is None:
        return [f"{what} is missing that the baseline has"]
    if len(values) < 2:
        return []
    prediction = predict(values, smallest, PROBABILITY)
    change = here - float(prediction.centre)
    if not is_beyond(prediction, abs(change)):
        return []
    limit = _percent(float(prediction.limit))
    return [f"{what}, work that never changes, took {_percent(change)} of its time in the baseline (limit ±{limit})"]


def _by_name(sessions: Iterable[Mapping[Name, float]]) -> dict[Name, list[float]]:
    found: dict[Name, list[float]] = {}
    for session in sessions:
        for name, value in session.items():
            found.setdefault(name, []).append(value)
    return found


def _smallest(run: RunRecord) -> float:
    return SMALLEST_ON_GPU if run.header.device.startswith("cuda") else SMALLEST_ON_CPU


def _timed(work: Workload, warm_up: int, rounds: int) -> tuple[float, ...]:
    for _ in range(warm_up):
        work()
    seconds = []
    for _ in range(rounds):
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
