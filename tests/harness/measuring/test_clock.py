from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from harness.measuring import clock


@pytest.fixture(autouse=True)
def clock_as_before() -> Iterator[None]:
    before = clock._gpu, clock._read
    yield
    clock._gpu, clock._read = before


def fake_torch(monkeypatch: pytest.MonkeyPatch, happened: list[str]) -> None:
    cuda = SimpleNamespace(synchronize=lambda device: happened.append(f"synchronize {device}"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


def test_time_comes_from_the_reader_in_use() -> None:
    moments = iter([10.0, 12.5])
    clock.use_reader(lambda: next(moments))
    assert [clock.now(), clock.now()] == [10.0, 12.5]


def test_without_a_reader_it_is_the_performance_counter() -> None:
    clock.use_reader()
    assert clock._read is time.perf_counter
    before = time.perf_counter()
    assert before <= clock.now() <= time.perf_counter()


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_gpu_has_caught_up_before_the_time_is_read(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    fake_torch(monkeypatch, happened)

    def read() -> float:
        happened.append("read")
        return 1.0

    clock.use_reader(read)
    clock.use_device(device)
    clock.now()
    assert happened == [f"synchronize {device}", "read"]


def test_cpu_waits_for_nothing_even_after_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    fake_torch(monkeypatch, happened)
    clock.use_device("cuda")
    clock.use_device("cpu")
    clock.now()
    assert happened == []


class FakeEvent:
    """An event of a GPU that writes down what happens to it, and lies 3 ms behind every other."""

    def __init__(self, happened: list[str]) -> None:
        self._happened = happened

    def record(self) -> None:
        self._happened.append("record")

    def synchronize(self) -> None:
        self._happened.append("wait")

    def elapsed_time(self, _end: object) -> float:
        return 3.0


def test_as_much_work_lies_before_what_the_gpu_times(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []

    @contextmanager
    def chosen(device: str) -> Iterator[None]:
        happened.append(device)
        yield
        happened.append("left")

    def event(*, enable_timing: bool) -> FakeEvent:
        assert enable_timing
        return FakeEvent(happened)

    cuda = SimpleNamespace(Event=event, device=chosen)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert clock.seconds_on_gpu(lambda: happened.append("work"), "cuda:1", 2) == pytest.approx(0.0015)
    assert happened == ["cuda:1", "work", "work", "record", "work", "work", "record", "wait", "left"]
