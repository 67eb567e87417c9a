"""Stages beside the time that an ideal machine of the same rates would take for their work."""

from __future__ import annotations

from typing import Any

import pytest

from harness.figures.roofline import roofline_s, rooflines
from harness.measuring import clock
from harness.measuring.device_peaks import measure_device_peaks
from harness.records.lines import MachineRecord, RunRecord, StageWork
from tests.harness.made_runs import header, stage_test

ENGINES = ("eager", "graph")
MACHINE = MachineRecord(read_bytes_per_s=100.0, copy_bytes_per_s=80.0, operations_per_s={"float16": 1000.0})


def run(*stages: Any, machine: MachineRecord | None = MACHINE) -> RunRecord:
    return RunRecord(header=header(), stages=stages, machine=machine)


def decode(seconds: dict[str, list[float]], work: dict[str, StageWork], **changes: Any) -> Any:
    return stage_test("egpt", "decode", seconds, work=work, **changes)


def test_the_floor_is_the_larger_of_moving_and_computing() -> None:
    assert roofline_s(StageWork(200, 1000, "float16"), MACHINE) == 2.0
    assert roofline_s(StageWork(200, 5000, "float16"), MACHINE) == 5.0


def test_the_better_of_read_and_copy_is_the_bandwidth() -> None:
    copies_faster = MachineRecord(80.0, 100.0, {"float16": 1000.0})
    assert roofline_s(StageWork(200, 0, "float16"), copies_faster) == roofline_s(StageWork(200, 0, "float16"), MACHINE)


def test_share_and_rates_of_decoding() -> None:
    (found,) = rooflines(run(decode({"s1": [4.0, 8.0, 8.0]}, {"s1": StageWork(400, 100, "float16")})))
    assert (found.bound_by, found.roofline_s) == ("bandwidth", 4.0)
    assert found.fraction == 0.5
    assert (found.bytes_per_s, found.operations_per_s) == (50.0, 12.5)
    # Four tokens are three steps, the first one being chosen from the prompt.
    assert found.roofline_ms_per_token == pytest.approx(4000 / 3)


def test_a_stage_without_tokens_has_no_floor_a_token() -> None:
    (found,) = rooflines(run(stage_test("egpt", "prefill", {"s1": [10.0]}, work={"s1": StageWork(1, 5000, "float16")})))
    assert (found.bound_by, found.fraction) == ("compute", 0.5)
    assert found.roofline_ms_per_token is None


def test_each_sample_is_held_against_its_own_work() -> None:
    work = {"s1": StageWork(100, 0, "float16"), "s2": StageWork(300, 0, "float16")}
    (found,) = rooflines(run(decode({"s1": [2.0], "s2": [6.0]}, work)))
    assert found.fraction == 0.5


@pytest.mark.parametrize(
    ("stage", "machine"),
    [
        (decode({"s1": [1.0]}, {}), MACHINE),
        (decode({"s1": [1.0]}, {"s1": StageWork(1, 1, "float32")}), MACHINE),
        (decode({"s1": [1.0]}, {"s1": StageWork(1, 1, "float16")}), None),
    ],
    ids=["no work stated", "a type whose rate was not measured", "no rates, as in older files"],
)
def test_what_is_not_known_has_no_floor(stage: Any, machine: MachineRecord | None) -> None:
    assert rooflines(run(stage, machine=machine)) == []


def test_rates_count_what_was_moved_and_done(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(1000))
    clock.use_reader(lambda: float(next(seconds)))
    found = measure_device_peaks("cpu", ["float32", "int8"])
    assert found.read_bytes_per_s == 128 << 20
    assert found.copy_bytes_per_s == 2 * (128 << 20)
    assert found.operations_per_s == {"float32": 2 * 1024**3, "int8": 2 * 1024**3}


def test_the_best_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 5.0, 5.0, 7.0] + [10.0 * turn for turn in range(1, 100)])
    clock.use_reader(lambda: next(moments))
    assert measure_device_peaks("cpu", []).read_bytes_per_s == (128 << 20) / 2
