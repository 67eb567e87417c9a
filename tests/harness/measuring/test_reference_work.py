from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import torch

from harness.measuring import clock, nvidia, reference_work
from harness.records.lines import ReferenceWorkRecord


def test_every_round_of_each_workload_is_timed_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    worked: list[str] = []
    clock.use_reader(lambda: float(next(ticks)))
    try:
        record = reference_work.observe("start", "cpu", noted(worked))
    finally:
        clock.use_reader()
    rounds = reference_work.WARM_UP + reference_work.ROUNDS
    assert worked == ["matrix product"] * rounds + ["copy"] * rounds
    assert record == ReferenceWorkRecord("start", (1.0,) * reference_work.ROUNDS, (1.0,) * reference_work.ROUNDS)


def test_a_gpu_is_timed_by_its_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []

    def seconds_on_gpu(work: reference_work.Workload, device: str, times: int) -> float:
        work()
        assert (device, times) == ("cuda:1", reference_work.TIMES_ON_GPU)
        return {"matrix product": 0.25, "copy": 0.5}[worked[-1]]

    monkeypatch.setattr(clock, "seconds_on_gpu", seconds_on_gpu)
    monkeypatch.setattr(nvidia, "disturbances", lambda _device: (("too hot (driver)",), 2))
    record = reference_work.observe("end", "cuda:1", noted(worked))
    rounds = reference_work.WARM_UP + reference_work.ROUNDS
    assert worked == ["matrix product"] * rounds + ["copy"] * rounds
    seconds = ((0.25,) * reference_work.ROUNDS, (0.5,) * reference_work.ROUNDS)
    assert record == ReferenceWorkRecord("end", *seconds, ("too hot (driver)",), 2)


class Hand:
    """A clock that moves when told to."""

    time = 0.0

    def read(self) -> float:
        return self.time


@pytest.fixture
def hand() -> Iterator[Hand]:
    hand = Hand()
    clock.use_reader(hand.read)
    yield hand
    clock.use_reader()


def noted(worked: list[str], work: Callable[[], None] = lambda: None) -> reference_work.Workloads:
    """Workloads that write down their names, and do `work`."""

    def workload(name: str) -> reference_work.Workload:
        return lambda: (worked.append(name), work())

    return {name: lambda _, name=name: workload(name) for name in reference_work.WORKLOADS}


@pytest.mark.parametrize(("host", "names"), [(True, ["cached read", "resize"]), (False, [])])
def test_readings_come_before_one_of_every_few_rounds(
    host: bool, names: list[str], hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[str] = []

    def work() -> None:
        hand.time += 0.5

    watch = reference_work.Probe("test_vision", host=host, workloads=noted(worked, work))
    came = []
    for sample in watch.between(range(7)):
        came.append(len(worked) // max(len(names), 1))
        # The pace of the first one counts: rounds that become slower are read beside as often.
        hand.time += reference_work.INTERVAL_S * (0.4 if sample < 3 else 2.0)
    assert worked[: 2 * len(names)] == [name for name in names for _ in ("untimed", "timed")]
    if not names:
        assert came == [0] * 7
        assert watch.records() == []
        return
    assert came == [2, 2, 2, 4, 4, 4, 6]
    (record,) = watch.records()
    assert (record.moment, record.test, record.throttled, record.other_processes) == (
        "during",
        "test_vision",
        None,
        None,
    )
    timed = [record.product_s, record.copy_s, record.read_s, record.resize_s]
    assert [len(each) for each in timed] == [3 if name in names else 0 for name in reference_work.WORKLOADS]
    assert sum(timed, ()) == pytest.approx((0.5,) * 3 * len(names))


@pytest.mark.parametrize("round_s", [0.0101, 0.0])
def test_short_rounds_have_readings_as_well(round_s: float, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    watch = reference_work.Probe("test_vision", host=True, workloads=noted(worked))
    for _ in watch.between(range(reference_work.READINGS), lasting_s=0.01 * reference_work.READINGS):
        hand.time += round_s
    (record,) = watch.records()
    assert len(record.read_s) == reference_work.READINGS


def test_what_holds_memory_goes_with_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Held:
        def __call__(self) -> None:
            pass

    held: list[weakref.ref[Held]] = []

    def workload(_device: str) -> Held:
        made = Held()
        held.append(weakref.ref(made))
        return made

    watch = reference_work.Probe("test_vision", host=True, workloads=dict.fromkeys(reference_work.WORKLOADS, workload))
    samples = watch.between(range(3))
    assert next(samples) == 0
    assert all(each() for each in held)
    del samples
    assert not any(each() for each in held)


def test_real_workloads_do_something_that_takes_time() -> None:
    record = reference_work.observe("end", "cpu")
    assert min(record.product_s + record.copy_s) > 0
    watch = reference_work.Probe("test_vision", host=True)
    assert list(watch.between([1])) == [1]
    (during_test,) = watch.records()
    assert min(during_test.read_s + during_test.resize_s) > 0


def test_the_time_that_other_processes_kept_a_test_from_a_core_is_a_share_of_its_own(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "schedstat"
    monkeypatch.setattr(reference_work, "_SCHEDULED", file)
    probe = reference_work.Probe("test_vision", host=True, workloads=noted([]))
    file.write_text("5000000000 2000000000 7\n")
    for _ in probe.between(range(4)):
        hand.time += 0.5
    file.write_text("6000000000 2500000000 9\n")
    assert [record.waited for record in probe.records()] == [0.25]
    for torn in ("", "0 0 1", "no such thing"):
        file.write_text(torn)
        assert [record.waited for record in probe.records()] == [None]
    file.unlink()
    assert [record.waited for record in probe.records()] == [None]


@pytest.mark.parametrize("name", reference_work.IN_TESTS)
def test_a_reading_keeps_to_one_thread_and_leaves_the_rest_as_they_were(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    used: list[int] = []
    where = {"cached read": (torch.Tensor, "sum"), "resize": (torch.nn.functional, "interpolate")}
    monkeypatch.setattr(*where[name], lambda *_words, **_named: used.append(torch.get_num_threads()))
    work = reference_work.WORKLOADS[name]("cpu")
    torch.set_num_threads(3)
    try:
        work()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert used
    assert set(used) == {1}


def test_a_record_has_the_seconds_of_every_workload_by_its_name() -> None:
    record = ReferenceWorkRecord("during", (1.0,), (2.0,), read_s=(3.0,), resize_s=(4.0,))
    assert list(record.seconds_by_work) == list(reference_work.WORKLOADS)
    assert list(record.seconds_by_work.values()) == [(1.0,), (2.0,), (3.0,), (4.0,)]
