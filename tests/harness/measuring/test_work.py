"""What a watched round counts: each thing once, one more as one more, and nothing without a profiler but files."""

from __future__ import annotations

import mmap
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
import torch.profiler

from harness.measuring import clock, work
from harness.measuring.work import TraceEvent, Watched, gpu_work, watch
from harness.records.work import REST, Call
from tests.fixtures.engines.test_engines import needs_gpu, trained
from tests.fixtures.models.generated import clip

X = torch.ones(8, 8)
ADDED_COUNTS = {
    "an operation": (lambda: X + X, {"library_calls": 1, "allocations": 1, "allocated_bytes": 256}),
    "a number to be converted": (lambda: X + 1, {"library_calls": 1, "allocations": 3, "allocated_bytes": 268}),
    "a copy": (X.clone, {"library_calls": 1, "copies": 1, "allocations": 1, "allocated_bytes": 256}),
    "an operation that calls others": (
        lambda: torch.nn.functional.linear(X, X),
        {"library_calls": 1, "allocations": 1, "allocated_bytes": 256},
    ),
    "a view": (lambda: X[0], {"library_calls": 1}),
    "nothing": (lambda: None, {}),
}


def stage() -> None:
    for _ in range(3):
        X.mul(2).sum()


def both(first: Callable[[], object], then: Callable[[], object]) -> Callable[[], None]:
    def call() -> None:
        first()
        then()

    return call


def added(before: Watched, after: Watched) -> dict[str, int]:
    return {name: after.counts[name] - count for name, count in before.counts.items() if after.counts[name] != count}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(12_345))
    return path


@pytest.mark.parametrize("what", ADDED_COUNTS)
def test_what_is_added_to_a_stage_is_added_to_its_counts(what: str) -> None:
    more, expected = ADDED_COUNTS[what]
    before, after = watch(stage, "decode", "cpu"), watch(both(stage, more), "decode", "cpu")
    assert (before.profiler, before.reason) == ("cpu", "")
    assert added(before, after) == expected
    assert {name: call.count for name, call in before.calls.items()} == {"aten::mul": 3, "aten::sum": 3}
    assert sum(call.count for call in after.calls.values()) == after.counts["library_calls"]
    assert sum(call.seconds for call in after.calls.values()) < after.seconds


def test_of_several_watched_rounds_the_fastest_that_did_what_the_last_did_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = iter([Watched(counts={"copies": copies}, seconds=s) for copies, s in ((2, 0.1), (1, 0.3), (1, 0.4))])
    given: list[Any] = []

    def watched(call: Callable[[], object], _stage: str, _device: str) -> Watched:
        call()
        return next(rounds)

    monkeypatch.setattr(work, "watch", watched)
    (found,) = work.watch_stages({"decode": given.append}, SimpleNamespace(id="s1"), "cpu", lambda _: {"tokens": 8})
    assert found == ("decode", Watched("s1", {"copies": 1, "tokens": 8}, seconds=0.3))
    assert len(given) == 4  # the first one is not watched


def test_stages_on_the_host_are_watched_as_often_in_a_run_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    watched: list[str] = []

    def watch_it(call: Callable[[], object], stage: str, _device: str) -> Watched:
        call()
        watched.append(stage)
        return Watched()

    monkeypatch.setattr(work, "watch", watch_it)
    taken: list[str] = []
    calls = {stage: lambda _, stage=stage: taken.append(stage) for stage in ("load", "preprocess", "vision", "decode")}
    found = list(work.watch_stages(calls, SimpleNamespace(id="s1"), "cuda", lambda _: {}))
    assert [stage for stage, _ in found] == [*calls]
    assert Counter(watched) == {"load": 3, "preprocess": 3, "vision": 1, "decode": 1}
    assert Counter(taken) == dict.fromkeys(calls, 4)  # a graph is captured and warm by the last round


def test_calls_of_other_threads_count_in_stages_on_the_host() -> None:
    with ThreadPoolExecutor(2) as threads:

        def spread() -> None:
            list(threads.map(lambda number: X.clone().add_(number), range(6)))

        spread()
        found = watch(spread, "preprocess", "cpu")
    assert {name: call.count for name, call in found.calls.items()} == {"aten::clone": 6, "aten::add_": 6}
    assert (found.counts["library_calls"], found.counts["copies"], "allocations" in found.counts) == (12, 6, False)


def test_files_and_the_bytes_that_are_read_or_mapped_are_counted(file: Path) -> None:
    before = watch(stage, "load", "cpu")
    assert (before.counts["files"], before.counts["read_bytes"]) == (0, 0)
    assert added(before, watch(both(stage, file.read_bytes), "load", "cpu")) == {"files": 1, "read_bytes": 12_345}

    def map_it() -> None:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ):
            pass

    assert added(before, watch(both(stage, map_it), "load", "cpu")) == {"files": 1, "read_bytes": 12_345}
    with file.open("rb") as opened:
        part = partial(mmap.mmap, opened.fileno(), 100, access=mmap.ACCESS_READ)
        assert added(before, watch(both(stage, part), "load", "cpu")) == {"read_bytes": 100}
        page = mmap.ALLOCATIONGRANULARITY
        rest = partial(mmap.mmap, opened.fileno(), 0, access=mmap.ACCESS_READ, offset=2 * page)
        assert added(before, watch(both(stage, rest), "load", "cpu")) == {"read_bytes": 12_345 - 2 * page}
    assert added(before, watch(both(stage, lambda: mmap.mmap(-1, 100).close()), "load", "cpu")) == {}
    assert added(before, watch(both(stage, lambda: file.write_bytes(b"1")), "load", "cpu")) == {}


def test_what_is_opened_between_watched_rounds_is_of_none(file: Path) -> None:
    watch(stage, "load", "cpu")
    file.read_bytes()
    assert watch(stage, "load", "cpu").counts["files"] == 0


@pytest.mark.parametrize("at", ["start", "stop"])
def test_a_profiler_that_fails_leaves_its_reason_and_the_files(
    monkeypatch: pytest.MonkeyPatch, at: str, file: Path
) -> None:
    def fail(_self: Any) -> None:
        raise RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES\nand more")

    monkeypatch.setattr(torch.profiler.profile, at, fail)
    found = watch(file.read_bytes, "load", "cpu")
    monkeypatch.undo()
    assert found.reason == "the profiler failed: RuntimeError: CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"
    assert (found.profiler, found.counts, found.calls) == ("", {"files": 1, "read_bytes": 12_345}, {})
    if at == "stop":  # it still runs: another one cannot begin, which is a reason and no failure
        torch.autograd._disable_profiler()
    assert watch(stage, "decode", "cpu").profiler == "cpu"


def test_without_pytorch_there_are_files(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.delitem(sys.modules, "torch")
    found = watch(file.read_bytes, "load", "cpu")
    assert (found.profiler, found.reason) == ("", "PyTorch is not loaded, so none of its operations were called")
    assert found.counts == {"files": 1, "read_bytes": 12_345}


def test_without_the_system_s_count_there_are_no_bytes(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    monkeypatch.setattr(work, "_PROCESS_IO", str(file / "nowhere"))
    found = watch(file.read_bytes, "load", "cpu").counts
    assert found["files"] == 1
    assert "read_bytes" not in found


def test_a_stage_that_raises_is_not_watched_on() -> None:
    def fail() -> None:
        raise ValueError("torn")

    with pytest.raises(ValueError, match="torn"):
        watch(fail, "decode", "cpu")
    assert watch(stage, "decode", "cpu").profiler == "cpu"


def test_beyond_so_many_names_those_that_are_called_most_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "MAX_CALLS", 1)
    found = watch(both(stage, lambda: X + 1), "decode", "cpu")
    assert {name: call.count for name, call in found.calls.items()} == {"aten::mul": 3, REST: 4}


def test_a_record_has_all_that_was_seen() -> None:
    watched = Watched("s1", {"launches": 2, "tokens": 3}, {"norm <1,1,1>": Call(2, 0.5)}, 1.0, "cuda")
    record = watched.record(test="t", model="m", engine="graph", stage="decode", variant="", versions={"torch": "2"})
    assert (record.sample, record.counts, record.seconds) == ("s1", {"launches": 2, "tokens": 3}, 1.0)
    assert msgspec.json.decode(msgspec.json.encode(record), type=type(record)) == record


TRACE = [
    {"ph": "M", "name": "process_name", "args": {"name": "python", "sort_index": 3}},
    *(
        {"ph": "X", "cat": "kernel", "name": "norm", "dur": 2.0, "args": {"grid": [64, 1, 1], "stream": 7}}
        for _ in range(3)
    ),
    *({"ph": "X", "cat": "kernel", "name": "cat", "dur": 1.0, "args": {"grid": [number, 1, 1]}} for number in range(9)),
    {"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy HtoD (Pinned -> Device)", "dur": 4.0, "args": {"bytes": 1000}},
    {"ph": "X", "cat": "gpu_memset", "name": "Memset (Device)", "dur": 1.0, "args": {"bytes": 10}},
    *(
        {"ph": "X", "cat": kind, "name": name, "dur": 9.0}
        for kind, name in (
            ("cuda_runtime", "cudaLaunchKernel"),
            ("cuda_driver", "cuLaunchKernelEx"),
            ("cuda_runtime", "cudaStreamSynchronize"),
            ("cuda_runtime", "cudaDeviceSynchronize"),
            ("cuda_runtime", "cudaDeviceSynchronize"),
            ("cuda_runtime", "cudaEventQuery"),
            ("cuda_runtime", "cudaEventDestroy"),
            ("cuda_runtime", "cudaMalloc"),
            ("cpu_op", "aten::add"),
        )
    ),
]


def events(trace: list[dict[str, Any]]) -> list[TraceEvent]:
    return msgspec.convert(trace, list[TraceEvent])


def test_a_trace_of_a_gpu_has_kernels_by_grid_copies_and_waits() -> None:
    counts, calls = gpu_work(events(TRACE), Counter(cudaDeviceSynchronize=2))
    assert counts == {"launches": 12, "library_calls": 3, "copies": 1, "synchronisations": 1}
    assert calls == {
        "norm <64,1,1>": Call(3, pytest.approx(6e-6)),
        "cat <various>": Call(9, pytest.approx(9e-6)),
        "Memcpy HtoD (Pinned -> Device)": Call(1, pytest.approx(4e-6)),
        "Memset (Device)": Call(1, pytest.approx(1e-6)),
    }


def test_of_very_many_kernels_those_that_are_called_most_keep_their_names() -> None:
    """Which took longest changes from run to run."""
    numbers = range(1, work.MAX_CALLS + 3)
    kernels = [TraceEvent(f"k{number}", "kernel", 1e6 / number**3) for number in numbers for _ in range(number)]
    _, calls = gpu_work(kernels, Counter())
    assert len(calls) == work.MAX_CALLS + 1
    assert calls[REST] == Call(1 + 2, pytest.approx(1 + 2 / 8))
    assert not {"k1 <>", "k2 <>"} & calls.keys()


def test_a_trace_without_kernels_is_none() -> None:
    with pytest.raises(RuntimeError, match="CUPTI saw no kernel"):
        gpu_work(events([each for each in TRACE if each.get("cat") != "kernel"]), Counter())


def test_a_gpu_that_is_not_there_is_a_reason() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    found = watch(stage, "decode", "cuda")
    assert found.profiler == ""
    assert found.reason.startswith("the profiler failed: ")
    assert found.counts == {"files": 0}


def test_a_trace_is_read_as_the_profiler_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    profile_of, traces = work._profile_of, []

    def read(events: list[TraceEvent], own: Counter[str]) -> Any:
        traces.append(events)
        return gpu_work([*events, *(each for each in made if each.cat == "kernel")], own)

    made = events(TRACE)
    monkeypatch.setattr(work, "_profile_of", lambda _activity: profile_of("CPU"))
    monkeypatch.setattr(work, "gpu_work", read)
    stats = iter([{}, {"allocation.all.allocated": 3, "allocated_bytes.all.allocated": 4096}])
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda _device: next(stats))
    found = watch(stage, "decode", "cuda")
    work._cuda_calls_of_nothing.cache_clear()
    assert Counter(each.name for each in traces[-1] if each.cat == "cpu_op")["aten::mul"] == 3
    assert (found.profiler, found.reason) == ("cuda", "")
    assert (found.counts["launches"], found.counts["allocations"], found.counts["allocated_bytes"]) == (12, 3, 4096)


@pytest.fixture
def on_gpu() -> Iterator[None]:
    clock.use_device("cuda")
    yield
    clock.use_device("cpu")


def replayed(kernels: int, more: Callable[[torch.Tensor], object] = lambda _x: None) -> Callable[[], None]:
    """Replay a captured graph of so many kernels, and do `more` behind it."""
    x = torch.ones(1 << 20, device="cuda")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(kernels):
            x.mul_(2)
    return both(graph.replay, lambda: more(x))


@needs_gpu
@pytest.mark.usefixtures("on_gpu")
def test_kernels_inside_a_captured_graph_are_listed_and_one_more_of_anything_is_one_more() -> None:
    other = torch.ones(1 << 20, device="cuda")
    before = watch(replayed(3), "decode", "cuda")
    assert (before.profiler, before.reason) == ("cuda", "")
    assert before.counts["launches"] == 3
    assert [call.count for call in before.calls.values()] == [3]
    assert before.counts["synchronisations"] == before.counts["copies"] == before.counts["allocations"] == 0
    for _ in range(3):
        assert watch(replayed(3), "decode", "cuda").counts == before.counts
    assert added(before, watch(replayed(4), "decode", "cuda")) == {"launches": 1}
    waits = added(before, watch(replayed(3, lambda _: torch.cuda.synchronize()), "decode", "cuda"))
    assert waits == {"synchronisations": 1, "library_calls": 1}
    copies = added(before, watch(replayed(3, other.copy_), "decode", "cuda"))
    assert (copies["copies"], "launches" in copies) == (1, False)
    allocates = added(before, watch(replayed(3, lambda x: x + 1), "decode", "cuda"))
    assert (allocates["launches"], allocates["allocations"], allocates["allocated_bytes"]) == (1, 1, 4 << 20)


@needs_gpu
@pytest.mark.usefixtures("on_gpu")
def test_one_more_norm_in_the_graph_of_a_decoding_step_is_one_more_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    from fixtures.engines.kernels.decoder_operations import _FewRowOperations

    def step() -> Watched:
        """Watch the one step of an answer of two tokens, behind another one that captures it."""
        pipeline = trained("egpt", device="cuda", dtype="float16").with_engine("graph")
        features = pipeline.encode_vision(pipeline.preprocess(clip("egpt", 0)))
        pipeline.decode(pipeline.prefill(features), max_new_tokens=2, stop_at_eos=False)
        call = partial(pipeline.decode, pipeline.prefill(features), max_new_tokens=2, stop_at_eos=False)
        return watch(call, "decode", "cuda")

    logits = _FewRowOperations.logits

    def logits_behind_a_norm(self: Any, normal: Any) -> torch.Tensor:
        self.norm(normal.rows, self._weights.final_gain)
        return logits(self, normal)

    before, again = step(), step()
    assert (before.counts, before.calls.keys()) == (again.counts, again.calls.keys())
    monkeypatch.setattr(_FewRowOperations, "logits", logits_behind_a_norm)
    after = step()
    assert added(before, after) == {"launches": 1}
    counts = [Counter({name: call.count for name, call in each.calls.items()}) for each in (before, after)]
    ((name, more),) = (counts[1] - counts[0]).items()
    assert (name.startswith("scale_rows <"), more) == (True, 1)
