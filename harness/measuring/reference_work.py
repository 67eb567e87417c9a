"""Reference work of fixed size: its time tells the speed of the machine itself.

It is timed at both ends of a run, and for a fraction of a second between the rounds of each test in which the host
works. A gate compares figures with the baseline's prediction for that speed.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from harness.measuring import clock, nvidia
from harness.measuring.stopping import empty_gpu_cache
from harness.records.lines import Moment, ReferenceWorkRecord
from harness.records.quantities import is_gpu

Workload = Callable[[], object]
Workloads = Mapping[str, Callable[[str], Workload]]
AnySample = TypeVar("AnySample")

# Version of the workloads. It is part of the fingerprint: times of different workloads do not compare.
VERSION = 4
WARM_UP, ROUNDS = 5, 30
# Readings of a few milliseconds at this interval cost a test some 5 % of its time, a short test more. They are many and
# short, since a shared core may change its speed within tenths of a second.
INTERVAL_S, READINGS = 0.1, 100
# Half of the last-level cache of the processor it was chosen on, so that a neighbour's use of that cache shows early.
READ_BYTES = 16 << 20
FRAME, RESIZED = (480, 640), (336, 448)  # height and width of a camera's frame, and of a vision tower's input
# Calls in a row per reading: 0.16 ms (product) and 0.13 ms (copy) each on an H200.
TIMES_ON_GPU = 8
IN_TESTS = ("cached read", "resize")  # on the host: the first shows a shared cache, the second a shared core
_SCHEDULED = Path("/proc/thread-self/schedstat")


def _product(device: str) -> Workload:
    import torch

    side, dtype = (4096, torch.bfloat16) if is_gpu(device) else (320, torch.float32)
    factor = torch.ones(side, side, device=device, dtype=dtype)
    product = torch.empty_like(factor)
    return lambda: torch.mm(factor, factor, out=product)


def _copy(device: str) -> Workload:
    import torch

    megabytes = 256 if is_gpu(device) else 32
    source = torch.ones(megabytes << 20, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def _read(_device: str) -> Workload:
    """Read an array that fits into the host's last-level cache, which other machines' work often shares."""
    import torch

    numbers = torch.ones(READ_BYTES // 4)

    return _on_one_thread(lambda: (numbers.sum(), numbers.sum()))


def _resize(_device: str) -> Workload:
    """Resize a picture by vector instructions, whose units are shared with the core's other thread."""
    import torch
    from torch.nn.functional import interpolate

    image = torch.zeros(1, *FRAME, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    return _on_one_thread(lambda: interpolate(image, size=RESIZED, mode="bicubic", align_corners=False, antialias=True))


def _on_one_thread(work: Workload) -> Workload:
    """Return `work` limited to one thread of PyTorch."""
    # More threads would spin for a while after the work, on the cores that the next round needs.
    import torch

    def on_one_thread() -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            work()
        finally:
            torch.set_num_threads(threads)

    return on_one_thread


# A millisecond or two each, the copy on a CPU more; made for a device, and their memory goes with them.
WORKLOADS: Workloads = {"matrix product": _product, "copy": _copy, "cached read": _read, "resize": _resize}


def observe(moment: Moment, device: str, workloads: Workloads = WORKLOADS) -> ReferenceWorkRecord:
    """Time the workloads on `device`, and read the GPU's throttling and other processes right after them."""
    product_s, copy_s = (_seconds_of(workloads[name](device), device) for name in ("matrix product", "copy"))
    throttled, others = nvidia.disturbances(device)
    empty_gpu_cache()  # leaves the models the whole card
    return ReferenceWorkRecord(moment, product_s, copy_s, throttled, others)


class Probe:
    """Times the host's reference work, and waits for a core, between the rounds of a test; idle unless `host`."""

    # The GPU is not probed: during a test its speed follows the heat of the test itself.

    def __init__(self, test: str, *, host: bool, workloads: Workloads = WORKLOADS) -> None:
        """Prepare a probe; `between` makes the workloads when its first item is drawn."""
        self._test = test
        self._workloads = workloads
        self._seconds: dict[str, list[float]] = {name: [] for name in (IN_TESTS if host else ())}
        self._start, self._waited_s = 0.0, 0.0

    def between(self, samples: Iterable[AnySample], lasting_s: float = math.inf) -> Iterator[AnySample]:
        """Yield `samples`, with a reading before the first one and then before every n-th.

        n is fixed after the first round: one reading per INTERVAL_S, or more often to fit READINGS into rounds that
        take `lasting_s` seconds in all.
        """
        # Spaced by rounds, not by time: a slow machine would get more readings per round.
        works = {name: self._workloads[name]("cpu") for name in self._seconds}
        interval_s, every = min(INTERVAL_S, lasting_s / READINGS), 1
        self._start, self._waited_s = clock.now(), _waited_s()
        for number, sample in enumerate(samples):
            if number % every == 0:
                for name, work in works.items():
                    work()  # untimed: refills the caches, so that the reading does not depend on the round before
                    self._seconds[name].append(clock.seconds_of(work))
            start = clock.now()
            yield sample
            if number == 0:
                took_s = clock.now() - start
                every = math.ceil(interval_s / took_s) if took_s > 0 else 1

    def records(self) -> list[ReferenceWorkRecord]:
        """Return the readings so far as one record, or none."""
        read_s, resize_s = (tuple(self._seconds.get(name, ())) for name in IN_TESTS)
        elapsed_s, waited_s = clock.now() - self._start, _waited_s()
        waited = round((waited_s - self._waited_s) / elapsed_s, 6) if waited_s and elapsed_s else None
        record = ReferenceWorkRecord("during", (), (), test=self._test, read_s=read_s, resize_s=resize_s, waited=waited)
        return [record] if read_s else []


def _waited_s() -> float:
    """Return the seconds that this thread was ready to run and had no core; 0 where the system does not tell."""
    try:
        return int(_SCHEDULED.read_text().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return 0.0


def _seconds_of(work: Workload, device: str) -> tuple[float, ...]:
    for _ in range(WARM_UP):
        work()
    if is_gpu(device):
        return tuple(clock.seconds_on_gpu(work, device, TIMES_ON_GPU) for _ in range(ROUNDS))
    return tuple(clock.seconds_of(work) for _ in range(ROUNDS))
