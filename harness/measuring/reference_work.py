"""Reference work, which never changes within a version: its time is the speed of the machine itself.

It is timed at both ends of a run, and between the rounds of each test in which the host works, for a fraction of a
second. Figures are compared with what the baseline predicts for that speed.
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

# Of the workloads, and part of the fingerprint: times of other work are not comparable.
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
IN_TESTS = ("cached read", "resize")  # of the host: where its memory is shared, and where its cores are
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
    """Read what fits into the host's largest cache, which is often shared with other machines' work."""
    import torch

    numbers = torch.ones(READ_BYTES // 4)

    return _on_one_thread(lambda: (numbers.sum(), numbers.sum()))


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
WORKLOADS: Workloads = {"matrix product": _product, "copy": _copy, "cached read": _read, "resize": _resize}


def observe(moment: Moment, device: str, workloads: Workloads = WORKLOADS) -> ReferenceWorkRecord:
    """Time the workloads on `device` now, and ask the GPU right after them what disturbs it."""
    product_s, copy_s = (_timed(workloads[name](device), device) for name in ("matrix product", "copy"))
    throttled, others = nvidia.disturbances(device)
    empty_gpu_cache()  # a process that has let go of everything leaves the models the whole card
    return ReferenceWorkRecord(moment, product_s, copy_s, throttled, others)


class Probe:
    """Times the host's reference work between rounds, and their waits for a core; only if the `host` works in them."""

    # Of a GPU nothing is read: during a test its speed follows the heat of the test itself.

    def __init__(self, test: str, *, host: bool, workloads: Workloads = WORKLOADS) -> None:
        """Take nothing yet, and no memory before `between` is drawn from."""
        self._test = test
        self._workloads = workloads
        self._seconds: dict[str, list[float]] = {name: [] for name in (IN_TESTS if host else ())}
        self._start, self._waited_s = 0.0, 0.0

    def between(self, samples: Iterable[AnySample], lasting_s: float = math.inf) -> Iterator[AnySample]:
        """Yield `samples`; a reading comes before the first one, and then before one of every few.

        The spacing, in rounds, is fixed after the first one: about one reading per INTERVAL_S, or less, for READINGS in
        rounds that fill `lasting_s` in all.
        """
        # Not by time: a slow machine would be read more often per round.
        works = {name: self._workloads[name]("cpu") for name in self._seconds}
        interval_s, every = min(INTERVAL_S, lasting_s / READINGS), 1
        self._start, self._waited_s = clock.now(), _waited_s()
        for number, sample in enumerate(samples):
            for name, work in works.items() if number % every == 0 else ():
                work()  # what the round pushed out of the caches comes back: the program is no part of a reading
                self._seconds[name].append(clock.seconds_of(work))
            start = clock.now()
            yield sample
            if number == 0:
                took_s = clock.now() - start
                every = math.ceil(interval_s / took_s) if took_s > 0 else 1

    def records(self) -> list[ReferenceWorkRecord]:
        """Return what was read so far, or nothing."""
        read_s, resize_s = (tuple(self._seconds.get(name, ())) for name in IN_TESTS)
        elapsed_s, waited_s = clock.now() - self._start, _waited_s()
        waited = round((waited_s - self._waited_s) / elapsed_s, 6) if waited_s and elapsed_s else None
        record = ReferenceWorkRecord("during", (), (), test=self._test, read_s=read_s, resize_s=resize_s, waited=waited)
        return [record] if read_s else []


def _waited_s() -> float:
    """Return for how long this thread could have run so far and had no core; 0 where the system does not tell."""
    try:
        return int(_SCHEDULED.read_text().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return 0.0


def _timed(work: Workload, device: str) -> tuple[float, ...]:
    for _ in range(WARM_UP):
        work()
    on_gpu = is_gpu(device)
    return tuple(
        clock.seconds_on_gpu(work, device, TIMES_ON_GPU) if on_gpu else clock.seconds_of(work) for _ in range(ROUNDS)
    )
