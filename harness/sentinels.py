"""Sentinel workloads: work that never changes within a version, which says how fast the machine itself is.

They are timed at both ends of a run, and between the rounds of each test in which the host has a part. Where they are
slower than in the baseline, so is everything else there, and no change of the code is to blame; what is measured beside
them is compared with what the baseline lets one expect at their speed. They take a fraction of a second at each end and
in each test, so every run has them and can become part of a baseline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from harness import clock
from harness.prediction import falls_into_two, is_beyond, predict
from harness.records import Moment, RunRecord, SentinelRecord
from harness.statistics import mean, mean_of_faster_half

Workload = Callable[[], object]
AnySample = TypeVar("AnySample")

# Of the workloads: changed with them, since times of other work say nothing of the machine. Part of the fingerprint.
VERSION = 4
WARM_UP, ROUNDS = 5, 30
# Of a few milliseconds each: so often, a reading costs a test some 5 % of its time, and a short test more. Many short
# ones tell more than few long ones, since a shared core may change its speed within tenths of a second.
INTERVAL_S, READINGS = 0.1, 100
# Half of the last cache of the processor it was chosen on; a neighbour that takes some of that slows this down first.
READ_BYTES = 16 << 20
FRAME, RESIZED = (480, 640), (336, 448)  # heights and widths, of a camera and for a tower
# In a row, of 0.16 ms (product) and 0.13 ms (copy) each on an H200.
TIMES_ON_GPU = 8
# At the ends: a clock that has moved by less leaves every figure within its own minimum effect.
SMALLEST_ON_GPU, SMALLEST_ON_CPU = math.log(1.03), math.log(1.05)
# Two workloads, two moments, two directions: together they are wrong as often as one figure in one direction.
PROBABILITY = 1 - 0.02 / 8
IN_TESTS = ("cached read", "resize")  # of the host: where its memory is shared, and where its cores are


def observe(moment: Moment, device: str) -> SentinelRecord:
    """Time the workloads on `device` now, and ask the GPU right after them what disturbs it."""
    product_s, copy_s = (_timed(WORKLOADS[name](device), device) for name in ("matrix product", "copy"))
    throttled, others = _disturbances(device)
    return SentinelRecord(moment, product_s, copy_s, throttled, others)


class Watch:
    """Takes readings between a test's rounds, where no clock runs: what comes and goes within a test is seen.

    `host`: whether it does the stage, or launches it piece by piece. Of a GPU nothing is read: beside a test it is as
    fast as the test's own heat lets it be, which is the program's doing.
    """

    def __init__(self, test: str, *, host: bool) -> None:
        """Take nothing yet, and no memory before `between` is drawn from."""
        self._test = test
        self._seconds: dict[str, list[float]] = {name: [] for name in (IN_TESTS if host else ())}

    def between(self, samples: Iterable[AnySample], lasting_s: float = math.inf) -> Iterator[AnySample]:
        """Yield `samples`; a reading comes before the first one, and then before one of every few.

        They are as many as fill INTERVAL_S at the pace of the first one, or less, for READINGS in rounds that are to
        fill `lasting_s` in all. Not one after so much time: a slow machine would then be read too often, beside the
        rounds that it makes.
        """
        works = {name: WORKLOADS[name]("cpu") for name in self._seconds}
        interval_s, every = min(INTERVAL_S, lasting_s / READINGS), 1
        for number, sample in enumerate(samples):
            if number % every == 0:
                self._take(works)
            start = clock.now()
            yield sample
            if number == 0:
                took_s = clock.now() - start
                every = math.ceil(interval_s / took_s) if took_s > 0 else 1

    def _take(self, works: Mapping[str, Workload]) -> None:
        for name, work in works.items():
            work()  # what the round pushed out of the caches comes back: the program is no part of a reading
            start = clock.now()
            work()
            self._seconds[name].append(clock.now() - start)

    def records(self) -> list[SentinelRecord]:
        """Return what was read so far, or nothing."""
        read_s, resize_s = (tuple(self._seconds.get(name, ())) for name in IN_TESTS)
        return [SentinelRecord("during", (), (), test=self._test, read_s=read_s, resize_s=resize_s)] if read_s else []


def _product(device: str) -> Workload:
    import torch

    side, dtype = (4096, torch.bfloat16) if device.startswith("cuda") else (320, torch.float32)
    factor = torch.ones(side, side, device=device, dtype=dtype)
    product = torch.empty_like(factor)
    return lambda: torch.mm(factor, factor, out=product)


def _copy(device: str) -> Workload:
    import torch

    megabytes = 256 if device.startswith("cuda") else 32
    source = torch.ones(megabytes << 20, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _read(_device: str) -> Workload:
    """Read what fits into the host's largest cache, which is often shared with other machines' work."""
    import torch

    numbers = torch.ones(READ_BYTES // 4)

    def read() -> None:
        for _ in range(2):
            numbers.sum()

    return _on_one_thread(read)


def _resize(_device: str) -> Workload:
    """Resize a picture by vector instructions, whose units a core's other thread uses too."""
    import torch
    from torch.nn.functional import interpolate

    picture = torch.zeros(1, *FRAME, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    return _on_one_thread(
        lambda: interpolate(picture, size=RESIZED, mode="bicubic", align_corners=False, antialias=True)
    )


def _on_one_thread(work: Workload) -> Workload:
    """Others would wait for more work for a while, on the cores that the next round runs on."""
    import torch

    def alone() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            work()
        finally:
            torch.set_num_threads(threads)

    return alone


# A millisecond or two each, the copy on a CPU more; made for a device, and their memory goes with them.
WORKLOADS: dict[str, Callable[[str], Workload]] = {
    "matrix product": _product,
    "copy": _copy,
    "cached read": _read,
    "resize": _resize,
}


def disturbances(run: RunRecord) -> list[str]:
    """Return what disturbed the GPU at an end of a run, in words: no figure can be trusted then."""
    found = [
        f"the GPU was throttled at the {each.moment} of the run: {', '.join(each.throttled)}"
        for each in run.sentinels
        if each.throttled
    ]
    return found + [
        f"{each.other_processes} other processes were using the GPU at the {each.moment} of the run"
        for each in run.sentinels
        if each.other_processes
    ]


def doubts(run: RunRecord, baseline: Sequence[RunRecord]) -> list[str]:
    """Return in words where the machine was another at an end of the run than the baseline's sessions predict.

    That speaks against times beside which nothing was read: those with readings are compared at their own speed.
    """
    found: list[str] = []
    smallest, here = _smallest(run), speeds(run)
    for name, values in _by_name(map(speeds, baseline)).items():
        found += _departure(f"the {name}", here.get(name), values, smallest)
    return found


def conditions(readings: Mapping[tuple[str, str], float], tests: Sequence[str]) -> dict[str, float]:
    """Return how fast the machine was during some tests, as logarithms of seconds by workload; empty if none was timed.

    `readings` are a session's `speeds_in_tests`: of one test each workload, of several their mean for each test.
    """
    by_test = {test: {work: value for (at, work), value in readings.items() if at == test} for test in tests}
    if not tests or not all(by_test.values()):
        return {}
    if len(by_test) == 1:
        return {f"the {work} during {tests[0]}": value for work, value in by_test[tests[0]].items()}
    return {f"what never changes during {test}": mean(found.values()) for test, found in by_test.items()}


def baseline_doubts(baseline: Sequence[RunRecord]) -> list[str]:
    """Return why the baseline's machine cannot be predicted at the ends: its sessions ran at two speeds, as of a clock.

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
    """Return the logarithm of each workload's seconds at each end of the run, by name; as of figures, its faster half.

    A clock that is slower slows every round down; what else runs for a moment slows some, and says nothing of the rest.
    """
    found = {}
    for each in run.sentinels:
        for work, logarithms in _logarithms(each) if not each.test else ():
            found[f"{work} at the {each.moment}"] = mean_of_faster_half(logarithms)
    return found


def speeds_in_tests(run: RunRecord) -> dict[tuple[str, str], float]:
    """Return the logarithm of each workload's seconds during each test, by test and workload; as of figures."""
    rounds: dict[tuple[str, str], list[float]] = {}
    for each in run.sentinels:
        for work, logarithms in _logarithms(each) if each.test else ():
            rounds.setdefault((each.test, work), []).extend(logarithms)
    return {place: mean_of_faster_half(logarithms) for place, logarithms in rounds.items()}


def _logarithms(of: SentinelRecord) -> Iterable[tuple[str, list[float]]]:
    for work, seconds in zip(WORKLOADS, (of.product_s, of.copy_s, of.read_s, of.resize_s), strict=True):
        logarithms = [math.log(value) for value in seconds if value > 0]
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


def _by_name(sessions: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for session in sessions:
        for name, value in session.items():
            found.setdefault(name, []).append(value)
    return found


def _smallest(run: RunRecord) -> float:
    return SMALLEST_ON_GPU if run.header.device.startswith("cuda") else SMALLEST_ON_CPU


def _timed(work: Workload, device: str) -> tuple[float, ...]:
    for _ in range(WARM_UP):
        work()
    if device.startswith("cuda"):
        return tuple(clock.seconds_on_gpu(work, device, TIMES_ON_GPU) for _ in range(ROUNDS))
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
