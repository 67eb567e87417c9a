from __future__ import annotations

import math
from typing import Any

import pytest

from harness.gates import machine_speed
from harness.records.lines import ReferenceWorkRecord, RunRecord
from tests.harness.made_runs import header

PRODUCT_S, COPY_S, READ_S, RESIZE_S = 0.004, 0.010, 0.001, 0.002


def observed(moment: Any, product: float = 1.0, copy: float = 1.0, **changes: Any) -> ReferenceWorkRecord:
    return ReferenceWorkRecord(moment, (PRODUCT_S * product,) * 9, (COPY_S * copy,) * 9, **changes)


def during(read: float = 1.0, resize: float = 1.0, test: str = "test_vision") -> ReferenceWorkRecord:
    read_s, resize_s = (READ_S * read,) * 9, (RESIZE_S * resize,) * 9
    return ReferenceWorkRecord("during", (), (), test=test, read_s=read_s, resize_s=resize_s)


def run(
    start: ReferenceWorkRecord | None = None, end: ReferenceWorkRecord | None = None, device: str = "cpu"
) -> RunRecord:
    return RunRecord(header(device=device), reference_work=(start or observed("start"), end or observed("end")))


QUIET = [run() for _ in range(10)]


def test_a_machine_as_fast_as_ever_raises_no_doubt() -> None:
    assert machine_speed.end_speed_problems(run(), QUIET) == []
    assert machine_speed.baseline_speed_problems(QUIET) == []


@pytest.mark.parametrize("moment", ["start", "end"])
@pytest.mark.parametrize("work", ["product", "copy"])
@pytest.mark.parametrize("factor", [1.06, 1 / 1.06])
def test_a_machine_of_another_speed_is_doubted_on_both_sides(moment: str, work: str, factor: float) -> None:
    now = run(**{moment: observed(moment, **{work: factor})})
    (doubt,) = machine_speed.end_speed_problems(now, QUIET)
    assert f"at the {moment}" in doubt
    assert (
        machine_speed.end_speed_problems(run(**{moment: observed(moment, **{work: 1 + (factor - 1) / 2})}), QUIET) == []
    )


def test_other_work_for_a_moment_is_no_slower_machine() -> None:
    calm, disturbed = (PRODUCT_S,) * 5, (PRODUCT_S * 1.5,) * 4
    now = run(ReferenceWorkRecord("start", calm + disturbed, (COPY_S,) * 9))
    assert machine_speed.end_speed_problems(now, QUIET) == []
    assert machine_speed.baseline_speed_problems([*QUIET[1:], now]) == []
    mostly = run(ReferenceWorkRecord("start", calm[1:] + disturbed * 2, (COPY_S,) * 9))
    assert machine_speed.end_speed_problems(mostly, QUIET) != []


def test_a_gpu_is_held_to_less() -> None:
    baseline = [run(device="cuda") for _ in range(10)]
    slower = observed("start", product=1.04)
    assert machine_speed.end_speed_problems(run(slower), QUIET) == []
    assert machine_speed.end_speed_problems(run(slower, device="cuda"), baseline) != []


def test_a_noisy_baseline_widens_the_limit() -> None:
    noisy = [run(observed("start", copy=math.exp(0.03 * (-1) ** number))) for number in range(10)]
    assert machine_speed.end_speed_problems(run(observed("start", copy=1.08)), noisy) == []


def test_reference_work_that_is_missing_is_a_doubt() -> None:
    (doubt, *_) = machine_speed.end_speed_problems(RunRecord(header()), QUIET)
    assert "is missing, which the baseline has" in doubt


@pytest.mark.parametrize(
    ("disturbance", "words"),
    [
        ({"throttled": ("too hot (driver)",)}, "throttled at the end of the run: too hot"),
        ({"other_processes": 2}, "2 other"),
    ],
)
def test_a_disturbed_gpu_is_doubted_whatever_the_baseline(disturbance: dict[str, Any], words: str) -> None:
    (doubt,) = machine_speed.disturbances(run(end=observed("end", **disturbance)))
    assert words in doubt


def test_a_baseline_of_two_speeds_is_doubted() -> None:
    sessions = [run(observed("start", product=1.08 if number == 3 else 1 + number / 1000)) for number in range(10)]
    (doubt,) = machine_speed.baseline_speed_problems(sessions)
    assert "matrix product at the start" in doubt


def test_a_baseline_that_merely_scatters_is_not() -> None:
    assert (
        machine_speed.baseline_speed_problems([run(observed("start", copy=1 + number / 20)) for number in range(10)])
        == []
    )


# --- during the tests


def with_tests(*records: ReferenceWorkRecord) -> RunRecord:
    return RunRecord(header(), reference_work=(observed("start"), *records, observed("end")))


def conditions(session: RunRecord, tests: list[str]) -> dict[str, float]:
    return machine_speed.speeds_during(machine_speed.speeds_in_tests(session), tests)


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
    half = ReferenceWorkRecord("during", (), (), read_s=calm + slow, **rest)
    assert conditions(with_tests(half), ["test_vision"]) == conditions(with_tests(during()), ["test_vision"])
    more = ReferenceWorkRecord("during", (), (), read_s=calm[1:] + slow, **rest)
    assert conditions(with_tests(more), ["test_vision"]) != conditions(with_tests(during()), ["test_vision"])


@pytest.mark.parametrize("tests", [[], ["test_load"], ["test_vision", "test_load"]])
def test_where_nothing_was_timed_during_a_test_there_are_no_conditions(tests: list[str]) -> None:
    assert conditions(with_tests(during()), tests) == {}


def test_what_is_timed_during_tests_is_not_taken_for_an_end_of_the_run() -> None:
    assert machine_speed.speeds_at_ends(with_tests(during(9.0))) == machine_speed.speeds_at_ends(run())
