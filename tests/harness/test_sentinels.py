from __future__ import annotations

import math
from itertools import count
from typing import Any

import pytest
import torch

from harness import clock, sentinels
from harness.records import RunRecord, SentinelRecord
from tests.harness.made_runs import header

PRODUCT_S, COPY_S = 0.004, 0.010


def observed(moment: Any, product: float = 1.0, copy: float = 1.0, **changes: Any) -> SentinelRecord:
    return SentinelRecord(moment, (PRODUCT_S * product,) * 9, (COPY_S * copy,) * 9, **changes)


def beside(product: float = 1.0, copy: float = 1.0, test: str = "test_vision") -> tuple[SentinelRecord, ...]:
    """Both ends of a test, whose second one is of another speed."""
    return observed("before", test=test), observed("after", product, copy, test=test)


def run(start: SentinelRecord | None = None, end: SentinelRecord | None = None, device: str = "cpu") -> RunRecord:
    return RunRecord(header(device=device), sentinels=(start or observed("start"), end or observed("end")))


QUIET = [run() for _ in range(10)]


def test_every_round_of_each_workload_is_timed_after_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks, worked = count(), []
    clock.use_reader(lambda: float(next(ticks)))
    works = {"matrix product": lambda: worked.append("product"), "copy": lambda: worked.append("copy")}
    monkeypatch.setattr(sentinels, "workloads", lambda _device: works)
    try:
        record = sentinels.observe("start", "cpu")
    finally:
        clock.use_reader()
    rounds = sentinels.WARM_UP + sentinels.ROUNDS
    assert worked == ["product"] * rounds + ["copy"] * rounds
    assert record == SentinelRecord("start", (1.0,) * sentinels.ROUNDS, (1.0,) * sentinels.ROUNDS)


def test_beside_a_test_they_are_shorter_and_bear_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[str] = []
    works = {name: lambda name=name: worked.append(name) for name in ("product", "copy")}
    monkeypatch.setattr(sentinels, "workloads", lambda _device: works)
    record = sentinels.observe_at_test("before", "test_vision", "cpu")
    assert record is not None
    rounds = sentinels.WARM_UP_AT_TEST + sentinels.ROUNDS_AT_TEST
    assert worked == ["product"] * rounds + ["copy"] * rounds
    assert (record.moment, record.test, len(record.product_s)) == ("before", "test_vision", sentinels.ROUNDS_AT_TEST)


def test_where_a_model_leaves_no_room_for_them_there_is_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_device: str) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(sentinels, "workloads", full)
    assert sentinels.observe_at_test("before", "test_vision", "cuda") is None


def test_real_workloads_do_something_that_takes_time() -> None:
    record = sentinels.observe("end", "cpu")
    assert min(record.product_s + record.copy_s) > 0


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
    calm, disturbed = (PRODUCT_S,) * 4, (PRODUCT_S * 1.5,) * 5
    now = run(SentinelRecord("start", calm + disturbed, (COPY_S,) * 9))
    assert sentinels.doubts(now, QUIET) == []
    assert sentinels.baseline_doubts([*QUIET[1:], now]) == []


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
    (doubt,) = sentinels.doubts(run(end=observed("end", **disturbance)), [])
    assert words in doubt


def test_a_baseline_of_two_speeds_is_doubted() -> None:
    sessions = [run(observed("start", product=1.08 if number == 3 else 1 + number / 1000)) for number in range(10)]
    (doubt,) = sentinels.baseline_doubts(sessions)
    assert "matrix product at the start" in doubt


def test_a_baseline_that_merely_scatters_is_not() -> None:
    assert sentinels.baseline_doubts([run(observed("start", copy=1 + number / 20)) for number in range(10)]) == []


# --- beside the tests


def with_tests(*records: SentinelRecord) -> RunRecord:
    return RunRecord(header(), sentinels=(observed("start"), *records, observed("end")))


QUIET_TESTS = [with_tests(*beside(), *beside(test="test_load")) for _ in range(10)]


@pytest.mark.parametrize("work", ["product", "copy"])
@pytest.mark.parametrize("factor", [1.11, 1 / 1.11])
def test_a_machine_of_another_speed_beside_a_test_is_doubted_there_alone(work: str, factor: float) -> None:
    now = with_tests(*beside(**{work: factor**2}), *beside(test="test_load"))
    found = sentinels.doubts_at_tests(now, QUIET_TESTS)
    (doubt,) = found["test_vision"]
    assert doubt.startswith("beside test_vision the ")
    assert found["test_load"] == []
    assert sentinels.doubts(now, QUIET_TESTS) == []


def test_what_is_within_the_limit_beside_a_test_is_not() -> None:
    now = with_tests(*beside(1.08), *beside(test="test_load"))
    assert not any(sentinels.doubts_at_tests(now, QUIET_TESTS).values())


def test_a_test_beside_which_nothing_was_timed_is_doubted_if_the_baseline_has_it() -> None:
    found = sentinels.doubts_at_tests(with_tests(*beside(test="test_load")), QUIET_TESTS)
    assert ["is missing that the baseline has" in doubt for doubt in found["test_vision"]] == [True, True]
    assert found["test_load"] == []


def test_a_baseline_from_before_they_were_timed_says_nothing_of_tests() -> None:
    assert sentinels.doubts_at_tests(with_tests(*beside(9.0)), QUIET) == {}


def test_what_is_timed_beside_tests_is_not_taken_for_an_end_of_the_run() -> None:
    assert sentinels.speeds(with_tests(*beside(9.0))) == sentinels.speeds(run())
