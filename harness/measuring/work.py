"""What a stage does when it is watched and never timed: kernels or calls, allocations, copies, waits, files.

Counts are the same in each run of one program, and so some things are left out:

- Calls by which CUDA is only asked something, or by which PyTorch stocks up on memory and events: how many there are
  depends on what went before, or on how far the device is.
- Bytes of copies: with shapes, the CPU's profiler would take twice as long, and CUPTI tells those in a replayed graph
  now so, now otherwise. Allocations of other libraries, and in
  stages on the host those of PyTorch too: its profiler sees these in one thread only, and those stages have several.
- Bytes read in stages on a GPU, whose driver has threads that read as well. Files that C opens, as FFmpeg does, are not
  among the files; what is read of them is among the bytes. Child processes are not looked at.
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

# Enough for all kernels of a model's stage. Beyond, those that are called most are kept, and not those that took
# longest, since which these are changes from run to run.
MAX_CALLS, MAX_NAME = 60, 200
# A kernel of more grids, such as one whose grid grows with the KV cache, is one call.
MAX_GRIDS = 4
# Of a stage's rounds the last are watched, by whether it is on a GPU: what is made lazily there, such as a graph, is
# made by then, and a trace takes long. On a CPU other processes make some calls of a round far slower.
ROUNDS, WATCHED = 4, {True: 1, False: 3}
ON_DEVICE = LEGACY_STAGES[3]
# An operation also copies a number that it converts for itself: no copy that anybody asked for.
_COPYING = {f"aten::{name}" for name in ("copy_", "clone", "contiguous", "reshape", "to")}
_LEFT_OUT = re.compile("Query|Get|IsCapturing|[Mm]alloc|Alloc|Free|Create|Destroy|Occupancy")
_PROCESS_IO = "/proc/self/io"


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen of one call; `profiler` is "cuda", "cpu", or "" for the `reason`."""

    sample: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    calls: Mapping[str, Call] = field(default_factory=dict)
    seconds: float = 0.0
    profiler: str = ""
    reason: str = ""

    def record(self, **names: Any) -> WatchedWork:
        """Return it as a record; `names` are its test, model, engine, stage, variant and versions."""
        return WatchedWork(**names, **{each.name: getattr(self, each.name) for each in fields(self)})


def is_on_gpu(stage: str, device: str) -> bool:
    """Return whether a stage of a run on `device` works on a GPU; its first two are the host's."""
    return is_gpu(device) and stage in ON_DEVICE


def watch(call: Callable[[], object], stage: str, device: str) -> Watched:
    """Run `call`, a stage on `device`, and return what it did; without a profiler, what can be seen without one.

    Raises what `call` raises, and nothing else.
    """
    on_gpu = is_on_gpu(stage, device)
    profiler = _GpuProfiler(device) if on_gpu else _CpuProfiler(one_thread=stage in ON_DEVICE)
    reason = "PyTorch is not loaded, so nothing of it was called"
    if "torch" in sys.modules:
        reason = _failure_of(profiler.start)
    try:
        with _files_counted() as files:
            seconds = clock.seconds_of(call)
    finally:
        reason = reason or _failure_of(profiler.stop)
    if on_gpu:
        files.pop("read_bytes", None)
    seen = profiler.counts | files, profiler.calls, round(seconds, 9)
    return Watched("", *seen, "" if reason else profiler.name, reason)


def watch_stages(
    calls: Mapping[str, Callable[[Any], Any]],
    sample: Sample,
    device: str,
    amounts: Callable[[Any], Mapping[str, int]],
) -> Iterator[tuple[str, Watched]]:
    """Take a sample through all stages, at last watched, and yield what each did; `amounts` counts frames and tokens.

    The first that fails is the last, and its failure the reason.
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
    """Return the fastest of those that did what the last one did."""
    return min((each for each in watched if each.counts == watched[-1].counts), key=lambda each: each.seconds)


def _replace_by(values: list[Any], call: Callable[[Any], Any]) -> None:
    """Put what a call gives in the place of what it is given."""
    values[:] = [call(values[0])]


@functools.cache
def versions(device: str) -> dict[str, str]:
    """Return the versions of all that decides how a program's work is done; works of others do not compare."""
    gpu = stable_gpu(device) or {}
    found = {name: version(name) for name in LIBRARIES if not name.startswith("pytest")}
    found |= {"GPU": gpu.get("name"), "driver": gpu.get("driver"), "CUDA": gpu.get("cuda")}
    return {name: each for name, each in found.items() if each is not None}


def _failure_of(work: Callable[[], object]) -> str:
    """Return why `work` of a profiler failed, or nothing."""
    try:
        work()
    except Exception as error:  # whatever a profiler raises, the figures do without it
        return f"the profiler failed: {type(error).__name__}: {error}".splitlines()[0]
    return ""


def _calls(seconds: Mapping[str, list[float]]) -> dict[str, Call]:
    names = sorted(seconds, key=lambda name: (-len(seconds[name]), name))
    rest = [each for name in names[MAX_CALLS:] for each in seconds[name]]
    kept = {name: seconds[name] for name in names[:MAX_CALLS]} | ({REST: rest} if rest else {})
    return {name: Call(len(each), round(sum(each), 9)) for name, each in kept.items()}


def _profile_of(activity: str, **options: Any) -> Any:
    """Return PyTorch's profiler of "CPU" or "CUDA", started."""
    # Read with its first trace: it would write lines to stderr.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from torch.profiler import ProfilerActivity, profile, supported_activities

    kind = getattr(ProfilerActivity, activity)
    if kind not in supported_activities():  # type: ignore[no-untyped-call]
        raise RuntimeError(f"this PyTorch cannot watch {activity}: it was built without CUPTI")
    started = profile(activities=[kind], **options)
    started.start()
    return started


class _CpuProfiler:
    """PyTorch's operations that no other one calls, of this thread or of all, with the seconds until they return."""

    name = "cpu"

    def __init__(self, *, one_thread: bool) -> None:
        self.one_thread = one_thread
        self.counts: dict[str, int] = {}
        self.calls: dict[str, Call] = {}

    def start(self) -> None:
        """Begin to watch."""
        from torch._C._profiler import _ExperimentalConfig

        all_threads = {"experimental_config": _ExperimentalConfig(profile_all_threads=True)}
        self._profile = _profile_of("CPU", **({"profile_memory": True} if self.one_thread else all_threads))

    def stop(self) -> None:
        """End, and count."""
        self._profile.stop()
        outermost: defaultdict[str, list[float]] = defaultdict(list)
        latest: dict[int, tuple[str, int]] = {}  # by thread: the outermost one, and where it ends
        allocated, copies = [], 0
        # As C++ made them: a list of the public events takes twenty times as long.
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
    """An event of a Chrome trace, as far as it is read: `cat` is its kind, `dur` its µs."""

    name: str = ""
    cat: str = ""
    dur: float = 0.0
    args: _Details = msgspec.field(default_factory=_Details)


class _Trace(msgspec.Struct, rename={"events": "traceEvents"}):
    events: list[TraceEvent] = []


class _GpuProfiler:
    """What CUPTI lists: the kernels and copies on a GPU, those of replayed graphs among them, and CUDA's own calls."""

    name = "cuda"

    def __init__(self, device: str) -> None:
        self.device = device
        self.counts: dict[str, int] = {}
        self.calls: dict[str, Call] = {}

    def start(self) -> None:
        """Begin to watch."""
        import torch

        # Taken down and set up again, CUPTI fails where there are captured graphs (torch.profiler says so, too).
        os.environ |= {"TEARDOWN_CUPTI": "0", "DISABLE_CUPTI_LAZY_REINIT": "1"}
        self._own = _cuda_calls_of_nothing()
        self._memory = torch.cuda.memory_stats(self.device)
        self._profile = _profile_of("CUDA")

    def stop(self) -> None:
        """End, and count."""
        import torch

        after = torch.cuda.memory_stats(self.device)
        self.counts, self.calls = gpu_work(_events_of(self._profile), self._own)
        for name, key in (("allocations", "allocation"), ("allocated_bytes", "allocated_bytes")):
            self.counts[name] = after[f"{key}.all.allocated"] - self._memory.get(f"{key}.all.allocated", 0)


@functools.cache
def _cuda_calls_of_nothing() -> Counter[str]:
    """Return, by name, the calls of CUDA that come of watching itself; the first watching takes long, too."""
    profile = _profile_of("CUDA")
    clock.seconds_of(lambda: None)
    return _cuda_calls(_events_of(profile))


def _events_of(profile: Any) -> list[TraceEvent]:
    profile.stop()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")  # the one place that has grids
        profile.export_chrome_trace(str(trace))
        return msgspec.json.decode(trace.read_bytes(), type=_Trace).events


def _cuda_calls(events: Iterable[TraceEvent]) -> Counter[str]:
    kinds = {"cuda_runtime", "cuda_driver"}
    return Counter(each.name for each in events if each.cat in kinds and not _LEFT_OUT.search(each.name))


def gpu_work(events: list[TraceEvent], own: Counter[str]) -> tuple[dict[str, int], dict[str, Call]]:
    """Return counts and calls of a trace; `own` are the calls of CUDA that come of watching.

    Raises RuntimeError where no kernel was seen.
    """
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
    global _tally  # noqa: PLW0603 - Python takes a hook for good, and one for all threads
    _install_hook()
    found = {"files": 0, "read_bytes": 0}
    before, asking = _bytes_read()
    _tally = found
    try:
        yield found
    finally:
        _tally = None
        found["read_bytes"] += _bytes_read()[0] - before - asking
        if not asking:
            del found["read_bytes"]


@functools.cache
def _install_hook() -> None:
    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        found = _tally
        if found is None:
            return
        if event == "open":
            path, _, flags = arguments
            reads = isinstance(flags, int) and flags & os.O_ACCMODE != os.O_WRONLY
            found["files"] += reads and not isinstance(path, int)
        elif event == "mmap.__new__" and arguments[0] >= 0:
            handle, length, _, offset = arguments
            found["read_bytes"] += length or os.fstat(handle).st_size - offset

    sys.addaudithook(hear)


def _bytes_read() -> tuple[int, int]:
    """Return the bytes that this process has read so far, and those of asking; zeros where the system does not tell."""
    try:
        with open(_PROCESS_IO, "rb", buffering=0) as file:  # noqa: PTH123 - a path of our own, and of its size to the byte
            content = file.read(1000)
    except OSError:
        return 0, 0
    return int(content.split()[1]), len(content)
