from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from harness import clock


@pytest.fixture(autouse=True)
def clock_as_before() -> Iterator[None]:
    before = clock._synchronize, clock._read
    yield
    clock._synchronize, clock._read = before


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
