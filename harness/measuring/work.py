"""The work of a stage in profiled, untimed rounds: kernels or calls, allocations, copies, synchronisations, files.

Counts must repeat exactly in each run of one program, so these are left out:

- CUDA calls that only query, or by which PyTorch reserves memory and events: their number depends on earlier work, or
  on the progress of the device.
- Bytes of copies: recording shapes doubles the CPU profiler's time, and CUPTI's sizes vary in a replayed graph.
- Allocations of other libraries, and in stages on the host those of PyTorch: its profiler sees one thread only.
- Bytes read in stages on a GPU, since threads of the driver read too. Files opened by C code such as FFmpeg are not
  counted as files, but as bytes. Child processes are not counted.
"""

import functools
import os
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import msgspec

from harness.measuring import clock
from harness.measuring.environment import LIBRARIES, stable_gpu, version
from harness.measuring.rounds import failure_of
from harness.measuring.stopping import recover_from
from harness.records.quantities import is_gpu
from harness.records.work import REST, Call, WatchedWork
from harness.stages import LEGACY_STAGES, Sample

# Enough for all kernels of a model's stage. Of more, the most frequent are kept: the longest vary from run to run.
MAX_CALLS, MAX_NAME = 60, 200
# A kernel with more grids, such as one whose grid grows with the KV cache, is listed once.
MAX_GRIDS = 4
# Rounds of a stage, and how many of the last ones are watched: on a GPU one, since a trace takes long; on a CPU three,
# since other processes slow some calls down. Lazily made objects, such as graphs, exist by then.
ROUNDS, WATCHED = 4, {True: 1, False: 3}
ON_DEVICE = LEGACY_STAGES[3]
# Only copies within these operations count: others also copy scalars that they convert.
_COPYING = {f"aten::{name}" for name in ("copy_", "clone", "contiguous", "reshape", "to")}
_LEFT_OUT = re.compile("Query|Get|IsCapturing|[Mm]alloc|Alloc|Free|Create|Destroy|Occupancy")
_PROCESS_IO = "/proc/self/io"


@dataclass(frozen=True, slots=True)
class Watched:
    """The work of one watched call; `profiler` is "cuda", "cpu", or "" for the `reason`."""

    sample: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, Call] = field(default_factory=dict)
    seconds: float = 0.0
    profiler: str = ""
    reason: str = ""

    def record(self, **names: Any) -> WatchedWork:
        """Return the work as a record; `names` are its test, model, engine, stage, variant and versions."""
        return WatchedWork(**names, **{each.name: getattr(self, each.name) for each in fields(self)})


def is_on_gpu(stage: str, device: str) -> bool:
    """Return whether a stage runs on a GPU in a run on `device`; the first two stages run on the host."""
    return is_gpu(device) and stage in ON_DEVICE


def watch(call: Callable[[], object], stage: str, device: str) -> Watched:
    """Run `call`, a stage on `device`; return its work, or only files and seconds if the profiler fails."""
    on_gpu = is_on_gpu(stage, device)
    profiler = _GpuProfiler(device) if on_gpu else _CpuProfiler(one_thread=stage in ON_DEVICE)
    reason = "PyTorch is not loaded, so none of its operations were called"
    if "torch" in sys.modules:
        reason = _problem_of(profiler.start)
    try:
        with _files_counted() as files:
            seconds = clock.seconds_of(call)
    finally:
        reason = reason or _problem_of(profiler.stop)
    if on_gpu:
        files.pop("read_bytes", None)
    seen = profiler.counts | files, profiler.calls, round(seconds, 9)
    return Watched("", *seen, "" if reason else profiler.name, reason)


def watch_stages(
    calls: Mapping[str, Callable[[Any], Any]], sample: Sample, device: str, amounts: Callable[[Any], Mapping[str, int]]
) -> Iterator[tuple[str, Watched]]:
    """Take a sample through all stages several times, the last ones watched; yield the work of each stage.

    `amounts` counts frames and tokens of an output. The first stage that fails ends it, with the failure as `reason`.
    """
    outputs: list[Any] = []
    seen: defaultdict[str, list[Watched]] = defaultdict(list)
    for left in range(ROUNDS, 0, -1):
        outputs[:] = [sample]
        for stage, call in calls.items():
            run = functools.partial(_replace_by, outputs, call)
            try:
                if left > WATCHED[is_on_gpu(stage, device)]:
                    run()
                else:
                    seen[stage].append(watch(run, stage, device))
            except Exception as error:
                failure = failure_of(error, sample.id, stage)
                yield stage, Watched(sample.id, reason=failure.sentence())
                outputs.clear()
                recover_from(failure)
                return
            if left == 1:
                watched = fastest(seen[stage])
                yield stage, replace(watched, sample=sample.id, counts={**watched.counts, **amounts(outputs[0])})


def fastest(watched: Sequence[Watched]) -> Watched:
    """Return the fastest of the calls with the same counts as the last one."""
    return min((each for each in watched if each.counts == watched[-1].counts), key=lambda each: each.seconds)


def _replace_by(values: list[Any], call: Callable[[Any], Any]) -> None:
    """Replace the one value of `values` by `call(value)`, so that the input can be freed."""
    values[:] = [call(values[0])]


@functools.cache
def versions(device: str) -> dict[str, str]:
    """Return the versions of libraries, GPU and driver, on which a program's work depends."""
    gpu = stable_gpu(device) or {}
    found = {name: version(name) for name in LIBRARIES if not name.startswith("pytest")}
    found |= {"GPU": gpu.get("name"), "driver": gpu.get("driver"), "CUDA": gpu.get("cuda")}
    return {name: each for name, each in found.items() if each is not None}


def _problem_of(work: Callable[[], object]) -> str:
    """Return why `work` of a profiler failed, or an empty text."""
    try:
        work()
    except Exception as error:  # any error of a profiler: the figures do not need it
        return f"the profiler failed: {type(error).__name__}: {error}".splitlines()[0]
    return ""


def _calls(seconds: Mapping[str, list[float]]) -> dict[str, Call]:
    names = sorted(seconds, key=lambda name: (-len(seconds[name]), name))
    rest = [each for name in names[MAX_CALLS:] for each in seconds[name]]
    kept = {name: seconds[name] for name in names[:MAX_CALLS]} | ({REST: rest} if rest else {})
    return {name: Call(len(each), round(sum(each), 9)) for name, each in kept.items()}


def _profile_of(activity: str, **options: Any) -> Any:
    """Start PyTorch's profiler of "CPU" or "CUDA", and return it."""
    # Keeps the profiler, which reads this with its first trace, from writing to stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from torch.profiler import ProfilerActivity, profile, supported_activities

    kind = getattr(ProfilerActivity, activity)
    if kind not in supported_activities():  # type: ignore[no-untyped-call]
        raise RuntimeError(f"this PyTorch cannot watch {activity}: it was built without CUPTI")
    started = profile(activities=[kind], **options)
    started.start()
    return started


class _CpuProfiler:
    """Lists PyTorch's outermost operations, of this thread or of all, with their seconds."""

    name = "cpu"

    def __init__(self, *, one_thread: bool) -> None:
        self.one_thread = one_thread
        self.counts: dict[str, int] = {}
        self.calls: dict[str, Call] = {}

    def start(self) -> None:
        """Start the profiler."""
        from torch._C._profiler import _ExperimentalConfig

        all_threads = {"experimental_config": _ExperimentalConfig(profile_all_threads=True)}
        self._profile = _profile_of("CPU", **({"profile_memory": True} if self.one_thread else all_threads))

    def stop(self) -> None:
        """Stop the profiler, and count operations, copies and allocations."""
        self._profile.stop()
        outermost: defaultdict[str, list[float]] = defaultdict(list)
        latest: dict[int, tuple[str, int]] = {}  # by thread: the latest outermost operation, and its end in ns
        allocated, copies = [], 0
        # The events of C++: the list of public events takes twenty times as long.
        for event in self._profile.profiler.kineto_results.events():
            name = event.name()
            if name == "[memory]":
                allocated += [event.nbytes()] if event.nbytes() > 0 else []
            elif "::" in name:
                thread = event.start_thread_id()
                if thread not in latest or event.start_ns() >= latest[thread][1]:
                    latest[thread] = name, event.end_ns()
                    outermost[name].append(event.duration_ns() * 1e-9)
                copies += name == "aten::copy_" and latest[thread][0] in _COPYING
        self.calls = _calls(outermost)
        self.counts = {"library_calls": sum(each.count for each in self.calls.values()), "copies": copies}
        if self.one_thread:
            self.counts |= {"allocations": len(allocated), "allocated_bytes": sum(allocated)}


class _Details(msgspec.Struct):
    grid: tuple[int, ...] = ()


class TraceEvent(msgspec.Struct):
    """The fields of a Chrome trace's event that are read: `cat` is its kind, `dur` its µs."""

    name: str = ""
    cat: str = ""
    dur: float = 0.0
    args: _Details = msgspec.field(default_factory=_Details)


class _Trace(msgspec.Struct, rename={"events": "traceEvents"}):
    events: list[TraceEvent] = []


class _GpuProfiler:
    """Lists kernels and copies on a GPU by CUPTI, replayed graphs included, and the calls of CUDA."""

    name = "cuda"

    def __init__(self, device: str) -> None:
        self.device = device
        self.counts: dict[str, int] = {}
        self.calls: dict[str, Call] = {}

    def start(self) -> None:
        """Start the profiler."""
        import torch

        # CUPTI fails with captured graphs if it is taken down and set up again (see torch.profiler).
        os.environ |= {"TEARDOWN_CUPTI": "0", "DISABLE_CUPTI_LAZY_REINIT": "1"}
        self._own = _cuda_calls_of_nothing()
        self._memory = torch.cuda.memory_stats(self.device)
        self._profile = _profile_of("CUDA")

    def stop(self) -> None:
        """Stop the profiler, and count kernels, copies, calls of CUDA and allocations."""
        import torch

        after = torch.cuda.memory_stats(self.device)
        self.counts, self.calls = gpu_work(_events_of(self._profile), self._own)
        for name, key in (("allocations", "allocation"), ("allocated_bytes", "allocated_bytes")):
            self.counts[name] = after[f"{key}.all.allocated"] - self._memory.get(f"{key}.all.allocated", 0)


@functools.cache
def _cuda_calls_of_nothing() -> Counter[str]:
    """Return, by name, the calls of CUDA that the profiler itself makes; this also warms it up."""
    profile = _profile_of("CUDA")
    clock.seconds_of(lambda: None)
    return _cuda_calls(_events_of(profile))


def _events_of(profile: Any) -> list[TraceEvent]:
    profile.stop()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")  # only the trace has the kernels' grids
        profile.export_chrome_trace(str(trace))
        return msgspec.json.decode(trace.read_bytes(), type=_Trace).events


def _cuda_calls(events: Iterable[TraceEvent]) -> Counter[str]:
    kinds = {"cuda_runtime", "cuda_driver"}
    return Counter(each.name for each in events if each.cat in kinds and not _LEFT_OUT.search(each.name))


def gpu_work(events: list[TraceEvent], own: Counter[str]) -> tuple[dict[str, int], dict[str, Call]]:
    """Return counts and calls of a trace without the profiler's `own` calls; RuntimeError where no kernel was seen."""
    kernels: defaultdict[str, defaultdict[tuple[int, ...], list[float]]] = defaultdict(lambda: defaultdict(list))
    others: defaultdict[str, list[float]] = defaultdict(list)
    copies = 0
    for each in events:
        if each.cat == "kernel":
            kernels[each.name][each.args.grid].append(each.dur * 1e-6)
        elif each.cat in {"gpu_memcpy", "gpu_memset"}:
            others[each.name].append(each.dur * 1e-6)
            copies += each.cat == "gpu_memcpy"
    if not kernels:
        raise RuntimeError("CUPTI saw no kernel: it is not there, or not permitted to this user")
    for name, by_grid in kernels.items():
        for grid, seconds in by_grid.items():
            written = ",".join(map(str, grid)) if len(by_grid) <= MAX_GRIDS else "various"
            others[f"{name[:MAX_NAME]} <{written}>"] += seconds
    cuda_calls = _cuda_calls(events) - own
    return {
        "launches": sum(len(seconds) for by_grid in kernels.values() for seconds in by_grid.values()),
        "library_calls": cuda_calls.total(),
        "copies": copies,
        "synchronisations": sum(count for name, count in cuda_calls.items() if "Synchronize" in name),
    }, _calls(others)


_tally: dict[str, int] | None = None


@contextmanager
def _files_counted() -> Iterator[dict[str, int]]:
    """Count files that are opened for reading in a block, and bytes read or mapped, where the system tells them."""
    global _tally  # noqa: PLW0603 - an audit hook stays for good, and serves all threads
    _install_hook()
    counts = {"files": 0, "read_bytes": 0}
    before, asking = _bytes_read()
    _tally = counts
    try:
        yield counts
    finally:
        _tally = None
        counts["read_bytes"] += _bytes_read()[0] - before - asking
        if not asking:
            del counts["read_bytes"]


@functools.cache
def _install_hook() -> None:
    def count_reads(event: str, arguments: tuple[Any, ...]) -> None:
        counts = _tally
        if counts is None:
            return
        if event == "open":
            path, _, flags = arguments
            reads = isinstance(flags, int) and flags & os.O_ACCMODE != os.O_WRONLY
            counts["files"] += reads and not isinstance(path, int)
        elif event == "mmap.__new__" and arguments[0] >= 0:
            handle, length, _, offset = arguments
            counts["read_bytes"] += length or os.fstat(handle).st_size - offset

    sys.addaudithook(count_reads)


def _bytes_read() -> tuple[int, int]:
    """Return the bytes that this process has read, and those that this call reads; zeros where not known."""
    try:
        with open(_PROCESS_IO, "rb", buffering=0) as file:  # noqa: PTH123 - unbuffered, so that the size of this read is exact
            content = file.read(1000)
    except OSError:
        return 0, 0
    return int(content.split()[1]), len(content)
