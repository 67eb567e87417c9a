from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import torch

from harness import clock, sentinels
from harness.records import RunRecord, SentinelRecord
from tests.harness.made_runs import header

PRODUCT_S, COPY_S, READ_S, RESIZE_S = 0.004, 0.010, 0.001, 0.002


def observed(moment: Any, product: float = 1.0, copy: float = 1.0, **changes: Any) -> SentinelRecord:
    return SentinelRecord(moment, (PRODUCT_S * product,) * 9, (COPY_S * copy,) * 9, **changes)


def during(read: float = 1.0, resize: float = 1.0, test: str = "test_vision") -> SentinelRecord:
    read_s, resize_s = (READ_S * read,) * 9, (RESIZE_S * resize,) * 9
    return SentinelRecord("during", (), (), test=test, read_s=read_s, resize_s=resize_s)


def run(start: SentinelRecord | None = None, end: SentinelRecord | None = None, device: str = "cpu") -> RunRecord:
    return RunRecord(header(device=device), sentinels=(start or observed("start"), end or observed("end")))


QUIET = [run() for _ in range(10)]


def test_every_round_of_each_workload_is_timed_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    worked: list[str] = []
    clock.use_reader(lambda: float(next(ticks)))
    take_down(monkeypatch, worked)
    try:
        record = sentinels.observe("start", "cpu")
    finally:
        clock.use_reader()
    rounds = sentinels.WARM_UP + sentinels.ROUNDS
    assert worked == ["matrix product"] * rounds + ["copy"] * rounds
    assert record == SentinelRecord("start", (1.0,) * sentinels.ROUNDS, (1.0,) * sentinels.ROUNDS)


def test_a_gpu_is_timed_by_its_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    take_down(monkeypatch, worked)

    def seconds_on_gpu(work: sentinels.Workload, device: str, times: int) -> float:
        work()
        assert (device, times) == ("cuda:1", sentinels.TIMES_ON_GPU)
        return {"matrix product": 0.25, "copy": 0.5}[worked[-1]]

    monkeypatch.setattr(clock, "seconds_on_gpu", seconds_on_gpu)
    monkeypatch.setattr(sentinels, "_disturbances", lambda _device: (("too hot (driver)",), 2))
    record = sentinels.observe("end", "cuda:1")
    rounds = sentinels.WARM_UP + sentinels.ROUNDS
    assert worked == ["matrix product"] * rounds + ["copy"] * rounds
    seconds = ((0.25,) * sentinels.ROUNDS, (0.5,) * sentinels.ROUNDS)
    assert record == SentinelRecord("end", *seconds, ("too hot (driver)",), 2)


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


def take_down(monkeypatch: pytest.MonkeyPatch, worked: list[str], work: Callable[[], None] = lambda: None) -> None:
    """Let every workload write down its name, and do `work`."""

    def workload(name: str) -> sentinels.Workload:
        return lambda: (worked.append(name), work())

    monkeypatch.setattr(
        sentinels, "WORKLOADS", {name: lambda _, name=name: workload(name) for name in sentinels.WORKLOADS}
    )


@pytest.mark.parametrize(("host", "names"), [(True, ["cached read", "resize"]), (False, [])])
def test_readings_come_before_one_of_every_few_rounds(
    host: bool, names: list[str], hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    worked: list[str] = []

    def work() -> None:
        hand.time += 0.5

    take_down(monkeypatch, worked, work)
    watch = sentinels.Watch("test_vision", host=host)
    came = []
    for sample in watch.between(range(7)):
        came.append(len(worked) // max(len(names), 1))
        # The pace of the first one counts: rounds that become slower are read beside as often.
        hand.time += sentinels.INTERVAL_S * (0.4 if sample < 3 else 2.0)
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
    assert [len(each) for each in timed] == [3 if name in names else 0 for name in sentinels.WORKLOADS]
    assert sum(timed, ()) == pytest.approx((0.5,) * 3 * len(names))


@pytest.mark.parametrize("round_s", [0.0101, 0.0])
def test_short_rounds_have_readings_as_well(round_s: float, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    take_down(monkeypatch, worked)
    watch = sentinels.Watch("test_vision", host=True)
    for _ in watch.between(range(sentinels.READINGS), lasting_s=0.01 * sentinels.READINGS):
        hand.time += round_s
    (record,) = watch.records()
    assert len(record.read_s) == sentinels.READINGS


def test_what_holds_memory_goes_with_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Held:
        def __call__(self) -> None:
            pass

    held: list[weakref.ref[Held]] = []

    def workload(_device: str) -> Held:
        made = Held()
        held.append(weakref.ref(made))
        return made

    monkeypatch.setattr(sentinels, "WORKLOADS", dict.fromkeys(sentinels.WORKLOADS, workload))
    watch = sentinels.Watch("test_vision", host=True)
    samples = watch.between(range(3))
    assert next(samples) == 0
    assert all(each() for each in held)
    del samples
    assert not any(each() for each in held)


def test_real_workloads_do_something_that_takes_time() -> None:
    record = sentinels.observe("end", "cpu")
    assert min(record.product_s + record.copy_s) > 0
    watch = sentinels.Watch("test_vision", host=True)
    assert list(watch.between([1])) == [1]
    (during_test,) = watch.records()
    assert min(during_test.read_s + during_test.resize_s) > 0


@pytest.mark.parametrize("name", sentinels.IN_TESTS)
def test_a_reading_keeps_to_one_thread_and_leaves_the_rest_as_they_were(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    used: list[int] = []
    where = {"cached read": (torch.Tensor, "sum"), "resize": (torch.nn.functional, "interpolate")}
    monkeypatch.setattr(*where[name], lambda *_words, **_named: used.append(torch.get_num_threads()))
    work = sentinels.WORKLOADS[name]("cpu")
    torch.set_num_threads(3)
    try:
        work()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert used
    assert set(used) == {1}


def test_a_machine_as_fast_as_ever_raises_no_doubt() -> None:
    assert sentinels.doubts(run(), QUIET) == []
    assert sentinels.baseline_doubts(QUIET) == []


@pytest.mark.parametrize("moment", ["start", "end"])
@pytest.mark.parametrize("work", ["product", "copy"])
@pytest.mark.parametrize("factor", [1.06, 1 / 1.06])
def test_a_machine_of_another_speed_is_doubted_on_both_sides(moment: str, work: str, factor: float) -> None:
    now = run(**{moment: observed(moment, **{work: factor})})
    (doubt,) = sentinels.doubts(now, QUIET)
    assert f"at the {moment}" in doubt
    assert sentinels.doubts(run(**{moment: observed(moment, **{work: 1 + (factor - 1) / 2})}), QUIET) == []


def test_other_work_for_a_moment_is_no_slower_machine() -> None:
    calm, disturbed = (PRODUCT_S,) * 5, (PRODUCT_S * 1.5,) * 4
    now = run(SentinelRecord("start", calm + disturbed, (COPY_S,) * 9))
    assert sentinels.doubts(now, QUIET) == []
    assert sentinels.baseline_doubts([*QUIET[1:], now]) == []
    mostly = run(SentinelRecord("start", calm[1:] + disturbed * 2, (COPY_S,) * 9))
    assert sentinels.doubts(mostly, QUIET) != []


def test_a_gpu_is_held_to_less() -> None:
    baseline = [run(device="cuda") for _ in range(10)]
    slower = observed("start", product=1.04)
    assert sentinels.doubts(run(slower), QUIET) == []
    assert sentinels.doubts(run(slower, device="cuda"), baseline) != []


def test_a_noisy_baseline_widens_the_limit() -> None:
    noisy = [run(observed("start", copy=math.exp(0.03 * (-1) ** number))) for number in range(10)]
    assert sentinels.doubts(run(observed("start", copy=1.08)), noisy) == []


def test_sentinels_that_are_missing_are_a_doubt() -> None:
    (doubt, *_) = sentinels.doubts(RunRecord(header()), QUIET)
    assert "is missing that the baseline has" in doubt


@pytest.mark.parametrize(
    ("disturbance", "words"),
    [
        ({"throttled": ("too hot (driver)",)}, "throttled at the end of the run: too hot"),
        ({"other_processes": 2}, "2 other"),
    ],
)
def test_a_disturbed_gpu_is_doubted_whatever_the_baseline(disturbance: dict[str, Any], words: str) -> None:
    (doubt,) = sentinels.disturbances(run(end=observed("end", **disturbance)))
    assert words in doubt


def test_a_baseline_of_two_speeds_is_doubted() -> None:
    sessions = [run(observed("start", product=1.08 if number == 3 else 1 + number / 1000)) for number in range(10)]
    (doubt,) = sentinels.baseline_doubts(sessions)
    assert "matrix product at the start" in doubt


def test_a_baseline_that_merely_scatters_is_not() -> None:
    assert sentinels.baseline_doubts([run(observed("start", copy=1 + number / 20)) for number in range(10)]) == []


# --- during the tests


def with_tests(*records: SentinelRecord) -> RunRecord:
    return RunRecord(header(), sentinels=(observed("start"), *records, observed("end")))


def conditions(session: RunRecord, tests: list[str]) -> dict[str, float]:
    return sentinels.conditions(sentinels.speeds_in_tests(session), tests)


def test_the_conditions_of_one_test_are_its_workloads() -> None:
    found = conditions(with_tests(during(2.0), during(9.0, test="test_load")), ["test_vision"])
    assert found == {
        "the cached read during test_vision": pytest.approx(math.log(2 * READ_S)),
        "the resize during test_vision": pytest.approx(math.log(RESIZE_S)),
    }


def test_the_conditions_of_two_tests_are_a_mean_of_each() -> None:
    now = with_tests(during(), during(8.0, test="test_load"))
    quiet, slow = conditions(now, ["test_vision", "test_load"]).values()
    assert slow - quiet == pytest.approx(math.log(8) / 2)


def test_half_of_the_readings_may_be_slow() -> None:
    calm, slow = (READ_S,) * 5, (READ_S * 2,) * 5
    rest = {"test": "test_vision", "resize_s": (RESIZE_S,) * 10}
    half = SentinelRecord("during", (), (), read_s=calm + slow, **rest)
    assert conditions(with_tests(half), ["test_vision"]) == conditions(with_tests(during()), ["test_vision"])
    more = SentinelRecord("during", (), (), read_s=calm[1:] + slow, **rest)
    assert conditions(with_tests(more), ["test_vision"]) != conditions(with_tests(during()), ["test_vision"])


@pytest.mark.parametrize("tests", [[], ["test_load"], ["test_vision", "test_load"]])
def test_where_nothing_was_timed_during_a_test_there_are_no_conditions(tests: list[str]) -> None:
    assert conditions(with_tests(during()), tests) == {}


def test_what_is_timed_during_tests_is_not_taken_for_an_end_of_the_run() -> None:
    assert sentinels.speeds(with_tests(during(9.0))) == sentinels.speeds(run())
