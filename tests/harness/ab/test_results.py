"""What a comparison makes of its sessions where the machine is another from one to the next."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from harness.ab.paired import order
from harness.ab.plan import AbPlan, Side
from harness.ab.results import PairedFigure, compare
from harness.ab.sessions import SessionFigures, read_session
from harness.ab.table import table
from harness.figures.metrics import Metric
from harness.gates.prediction import SLOPE
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import EndRecord, ReferenceWorkRecord
from tests.harness.made_files import write_journal
from tests.harness.made_runs import STARTED_AT, header, stage_test

PAIRS = 8
FEW = 6  # the look before, at which two slopes would leave too little to tell the spread by
B_TAKES = 1.2
A, B = Side("a1", "main (a1)", ()), Side("b2", "a branch (b2)", ())
PLAN = AbPlan(STARTED_AT, A, B, ("perf_tests",), PAIRS)
TIME = Metric("time.load.egpt", "time", 0.0, "s", True, 3, math.log(1.1))
SPEEDUP = Metric("speedup.total.llava.eager", "speedup", 0.0, "x", False, 3, math.log(1.1))
Readings = Callable[[float], tuple[float, ...]]


def of_two(jump: float) -> tuple[float, ...]:
    """What is read of a machine that takes e^jump as long: some of it suffers more than the stages, some less."""
    return (0.5 * jump - 6, 1.1 * jump - 5)


def sessions(read: Readings = of_two, *, b_takes: float = B_TAKES, pairs: int = PAIRS) -> list[SessionFigures]:
    """The machine takes 1 to 1.65 times as long, another share of it in each session; the draft does on both sides."""
    source = random.Random(20261128)
    made: list[SessionFigures] = []
    for pair in range(1, pairs + 1):
        for side in order(pair):
            jump = source.uniform(0, 0.5)
            takes = jump + source.gauss(0, 0.002) + (math.log(b_takes) if side == "b" else 0)
            speedup = msgspec.structs.replace(SPEEDUP, value=takes - jump, sides=(takes, jump))
            metrics = {TIME.name: msgspec.structs.replace(TIME, value=takes), SPEEDUP.name: speedup}
            speeds = dict.fromkeys(metrics, read(jump))
            made.append(SessionFigures(pair, side, side, 0, "", ("eager",), metrics, speeds, {"sentinel workloads": 3}))
    return made


def figure(of: list[SessionFigures], name: str = TIME.name) -> PairedFigure:
    return {each.name: each for each in compare(PLAN, of).figures}[name]


def test_a_machine_that_jumps_between_sessions_hides_nothing_where_its_speed_was_read() -> None:
    found = figure(sessions())
    assert found.verdict == "regressed"
    assert found.interval.at_equal_speed
    assert found.interval.value == pytest.approx(math.log(B_TAKES), abs=0.01)
    assert found.b - found.a == pytest.approx(found.interval.value)
    told = table(compare(PLAN, sessions()), Path("results"))
    assert "2 of 2 figures as of a machine equally fast for A and B" in told


def test_a_pair_is_looked_at_when_both_of_its_sessions_are_there() -> None:
    made = sessions()
    assert compare(PLAN, made[:7]).figures == ()
    assert [each.interval.samples for each in compare(PLAN, made[:8]).figures] == [4, 4]
    assert compare(PLAN, made[:11]).figures == compare(PLAN, made[:8]).figures


def test_figures_of_two_engines_are_paired_under_names_without_them() -> None:
    made = []
    for each in sessions():
        engine = {"a": "eager", "b": "graph"}[each.side]
        parts = ("time", "load", "llava-1.5", engine)
        metric = msgspec.structs.replace(TIME, name=".".join(parts), parts=parts)
        made.append(msgspec.structs.replace(each, engines=(engine,), metrics={metric.name: metric}, speeds={}))
    assert [each.name for each in compare(PLAN, made).figures] == ["time.load.llava-1.5"]


def replaced(number: int, **changes: object) -> list[SessionFigures]:
    made = sessions()
    made[number] = msgspec.structs.replace(made[number], **changes)
    return made


def on_b(**changes: object) -> list[SessionFigures]:
    return [each if each.side == "a" else msgspec.structs.replace(each, **changes) for each in sessions()]


@pytest.mark.parametrize(
    "of",
    [
        sessions(lambda _jump: ()),
        replaced(5, speeds={}),
        on_b(speeds={}),
        on_b(conditions={"sentinel workloads": 2}),
        on_b(speeds={TIME.name: (0.1,), SPEEDUP.name: (0.1,)}),
    ],
    ids=["never read", "not in one session", "not on one side", "other work on one side", "less on one side"],
)
def test_without_that_it_hides_everything(of: list[SessionFigures]) -> None:
    found = figure(of)
    assert found.verdict == "undecided"
    assert not found.interval.at_equal_speed
    assert "equally fast" not in table(compare(PLAN, of), Path("results"))


def test_too_few_pairs_for_slopes_are_compared_as_they_are() -> None:
    plan = msgspec.structs.replace(PLAN, pairs=FEW)
    (found, _) = compare(plan, sessions(pairs=FEW)).figures
    assert (found.interval.samples, found.interval.at_equal_speed) == (FEW, False)


@pytest.mark.parametrize(("name", "slope"), [(TIME.name, SLOPE), (SPEEDUP.name, 0.0)])
def test_a_time_is_presumed_to_grow_on_a_machine_that_is_always_slower_and_no_speedup(name: str, slope: float) -> None:
    def read(on_a: float, on_b: float) -> list[SessionFigures]:
        on = {"a": on_a, "b": on_b}
        return [
            msgspec.structs.replace(each, speeds=dict.fromkeys(each.metrics, (on[each.side],) * 2))
            for each in sessions()
        ]

    equal, found = figure(read(0.02, 0.02), name), figure(read(0.0, 0.02), name)
    assert found.interval.value == pytest.approx(equal.interval.value - 0.02 * slope)


@pytest.mark.parametrize(("read", "expected"), [(of_two, "improved"), (lambda _jump: (), "regressed")])
def test_which_side_of_a_speedup_moved_is_seen_through_the_jumps_as_well(read: Readings, expected: str) -> None:
    """The target gets faster, and the draft does not: that is no loss."""
    found = figure(sessions(read, b_takes=0.7), SPEEDUP.name)
    assert found.interval.value == pytest.approx(math.log(0.7), abs=0.01)
    assert found.verdict == expected
    assert ("only the target got faster (-30" in found.moved) == (expected == "improved")


def test_a_session_says_how_fast_the_machine_was_beside_each_time(tmp_path: Path) -> None:
    record = stage_test("egpt", "load", {"s1": [0.5]})
    beside = ReferenceWorkRecord("during", (), (), test=record.test, read_s=(0.25,) * 4, resize_s=(2.0,) * 4)
    write_journal(tmp_path / JOURNAL_NAME, header(), record, beside, EndRecord(STARTED_AT, 0, "it said so"))
    found = read_session(1, "a", A, tmp_path, 0)
    assert found.speeds == {TIME.name: pytest.approx((math.log(0.25), math.log(2.0)))}
