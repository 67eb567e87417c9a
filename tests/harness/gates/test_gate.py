from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from harness.figures.student import t_quantile
from harness.gates.exit_status import exit_status
from harness.gates.gate import Baseline, judge_metric, judge_session, merged
from harness.gates.prediction import PROBABILITY, SLOPE, SLOPE_DEVIATION
from harness.records.lines import AttemptRecord, GateRecord, ModelRecord, OutcomeRecord, ReferenceWorkRecord, RunRecord
from harness.records.quantities import MemoryPeak
from harness.report.terminal import gate_lines
from tests.harness.made_runs import STARTED_AT, agreement, failed_pass, header, host_peak, stage_test, whole_pass

T_97 = 2.150375  # t(0.97, 9)
QUIET = (ReferenceWorkRecord("start", (1.0,), (1.0,)), ReferenceWorkRecord("end", (1.0,), (1.0,)))


OF_LLAVA = header(models=("egpt", "llava"), targets=("llava",))
LOADS = tuple(
    stage_test(key, "load", {"s1": [seconds]}, test=f"test_load[{key}]") for key, seconds in (("egpt", 1), ("llava", 3))
)


def session(seconds: float = 1.0, **changes: Any) -> RunRecord:
    """One model's vision stage, two samples in two rounds each."""
    stages = (stage_test("egpt", "vision", {"s1": [seconds] * 2, "s2": [seconds] * 2}, test="test_vision"),)
    return RunRecord(**{"header": header(), "stages": stages, "reference_work": QUIET} | changes)


def baseline(*sessions: RunRecord, count: int = 10) -> Baseline:
    return Baseline("known", sessions or [session()] * count)


def verdict(run: RunRecord, known: Baseline, metric: str = "time.vision.egpt") -> GateRecord:
    return {each.metric: each for each in judge_session(run, known)}[metric]


@pytest.mark.parametrize(
    ("seconds", "state"), [(1.0, "pass"), (1.049, "pass"), (1.051, "flagged"), (0.953, "pass"), (0.952, "improved")]
)
def test_each_side_of_each_limit(seconds: float, state: str) -> None:
    assert verdict(session(seconds), baseline()).state == state


def test_a_noisy_baseline_widens_the_limit_and_tells_what_it_could_have_found() -> None:
    known = baseline(*(session(math.exp((number - 4.5) / 100)) for number in range(10)))
    found = verdict(session(1.07), known)
    assert found.state == "pass"
    assert found.limit == pytest.approx(T_97 * 0.0302765 * math.sqrt(1.1), rel=1e-4)
    assert found.minimum_detectable_effect is not None
    assert f"would have found +{100 * math.expm1(found.minimum_detectable_effect):.1f} %" in found.sentence


@pytest.mark.parametrize(("count", "state"), [(4, "missing baseline"), (5, "pass")])
def test_five_sessions_are_a_baseline(count: int, state: str) -> None:
    assert verdict(session(), baseline(count=count)).state == state


def test_a_baseline_that_spreads_by_more_than_five_percent_is_unstable() -> None:
    known = baseline(*(session(math.exp(0.06 * (-1) ** number)) for number in range(10)))
    found = verdict(session(), known)
    assert (found.state, "retire deviating ones" in found.sentence) == ("unstable", True)


def test_a_baseline_whose_figure_stands_in_two_groups_is_unstable() -> None:
    found = verdict(session(), baseline(*[session()] * 5, *[session(1.07)] * 5))
    assert found.state == "unstable"
    assert "sessions stand in two groups, from 1000 ms to 1070 ms" in found.sentence


def test_a_baseline_on_a_machine_of_two_speeds_is_unstable_in_every_time() -> None:
    slow = (ReferenceWorkRecord("start", (1.2,), (1.0,)), ReferenceWorkRecord("end", (1.0,), (1.0,)))
    known = baseline(*[session()] * 5, *[session(reference_work=slow)] * 5)
    assert {each.state for each in judge_session(session(), known)} == {"unstable"}


@pytest.mark.parametrize(
    "changes",
    [
        {"reference_work": (QUIET[0], ReferenceWorkRecord("end", (1.1,), (1.0,)))},
        {"reference_work": (QUIET[0], ReferenceWorkRecord("end", (1.0,), (1.0,), throttled=("too hot",)))},
        {"reference_work": (QUIET[0], ReferenceWorkRecord("end", (1.0,), (1.0,), other_processes=1))},
        {"reference_work": QUIET[:1]},
        {"attempts": (AttemptRecord(STARTED_AT, {}),)},
        {"stages": (stage_test("egpt", "vision", {"s1": [9.0] * 2, "s2": [9.0]}, test="test_vision"),)},
        {"models": (ModelRecord("egpt", 1.0, 1, {"extra": {"injected work": "10 % in vision"}}),)},
    ],
)
def test_a_session_that_cannot_be_trusted_is_invalid_however_slow(changes: dict[str, Any]) -> None:
    assert verdict(session(9.0, **changes), baseline()).state == "invalid"


def during(test: str, seconds: float) -> tuple[ReferenceWorkRecord, ...]:
    return (*QUIET, ReferenceWorkRecord("during", (), (), test=test, read_s=(seconds,), resize_s=(seconds,)))


def slowed(speed: float, seconds: float | None = None) -> RunRecord:
    """A session on a machine that takes `speed` as long, and its figure with it unless said otherwise."""
    return session(seconds or speed, reference_work=during("test_vision", speed))


BUSY = [slowed(math.exp(0.04 * number)) for number in range(10)]


@pytest.mark.parametrize("speed", [1.0, 1.2, 1.43])
@pytest.mark.parametrize(("factor", "state"), [(1.0, "pass"), (1.06, "flagged"), (0.94, "improved")])
def test_a_time_is_compared_with_what_is_expected_at_the_machines_speed(
    speed: float, factor: float, state: str
) -> None:
    found = verdict(slowed(speed, speed * factor), baseline(*BUSY))
    assert found.state == state
    assert found.centre == pytest.approx(math.log(speed), abs=0.01)
    assert "the baseline is adjusted to the machine's present speed" in found.sentence


OTHER_END = ReferenceWorkRecord("end", (1.5,), (0.5,))


@pytest.mark.parametrize(("seconds", "state"), [(1.1, "flagged"), (1.0, "pass")])
def test_what_was_read_beside_a_figure_decides_and_not_the_ends_of_the_session(seconds: float, state: str) -> None:
    other = session(seconds, reference_work=(*during("test_vision", 1.0), OTHER_END))
    assert verdict(other, baseline(*BUSY)).state == state
    without = session(seconds, reference_work=(*QUIET, OTHER_END))
    assert verdict(without, baseline()).state == "invalid"


def test_nor_do_the_ends_of_the_baselines_sessions() -> None:
    two = [msgspec.structs.replace(each, reference_work=(*each.reference_work, OTHER_END)) for each in BUSY[::2]]
    assert verdict(slowed(1.0), baseline(*BUSY[1::2], *two)).state == "pass"
    without = [session(reference_work=(*QUIET, OTHER_END))] * 5
    assert verdict(session(), baseline(*[session()] * 5, *without)).state == "unstable"


def test_without_its_speed_such_a_baseline_is_unstable() -> None:
    known = baseline(*(msgspec.structs.replace(each, reference_work=QUIET) for each in BUSY))
    assert verdict(session(), known).state == "unstable"


@pytest.mark.parametrize("seconds", [0.5, 1.0, 9.0])
def test_a_machine_slower_than_the_baseline_knows_makes_a_time_invalid(seconds: float) -> None:
    known = baseline(*[slowed(1.0)] * 10)
    slow = slowed(1.2, seconds)
    found = verdict(slow, known)
    assert found.state == "invalid"
    assert "the cached read during test_vision took +20.0 %" in found.sentence
    running = judge_metric(slow, "time.vision.egpt", known)
    assert running is not None
    assert running.state == "invalid", "nor does it fail the test in a confirming session"
    assert verdict(slowed(1.03, 1.0), known).state == "pass"


def test_a_baseline_that_knows_one_speed_has_a_slope_presumed_and_a_wider_limit() -> None:
    found = verdict(slowed(1.05), baseline(*[slowed(1.0)] * 10))
    assert found.state == "pass"
    assert found.centre == pytest.approx(SLOPE * math.log(1.05))
    assert found.limit == pytest.approx(t_quantile(PROBABILITY, 7) * SLOPE_DEVIATION * math.sqrt(2) * math.log(1.05))


def test_a_disturbance_during_another_test_spares_the_figure() -> None:
    known = baseline(*[session(reference_work=during("test_load", 1.0))] * 10)
    assert verdict(session(9.0, reference_work=during("test_load", 2.0)), known).state == "flagged"


@pytest.mark.parametrize(("count", "state"), [(6, "unstable"), (7, "pass")])
def test_so_few_sessions_teach_no_slope(count: int, state: str) -> None:
    assert verdict(slowed(1.1), baseline(*BUSY[:count])).state == state


def test_a_session_whose_machine_was_not_timed_is_compared_as_it_is() -> None:
    found = verdict(session(9.0), baseline(*[slowed(1.0)] * 10))
    assert found.state == "flagged"
    assert "at this speed of the machine" not in found.sentence


@pytest.mark.parametrize(
    ("in_baseline", "now"),
    [
        pytest.param(during("test_vision", 1.0), during("test_vision", 2.0), id="during its test"),
        pytest.param(QUIET, (*QUIET, OTHER_END), id="at an end"),
    ],
)
def test_memory_does_not_depend_on_the_speed_of_the_machine(in_baseline: Any, now: Any) -> None:
    peaks = {"s1": MemoryPeak(host_bytes=1000)}
    stages = (stage_test("egpt", "vision", {"s1": [1.0]}, test="test_vision", memory=peaks),)
    known = baseline(*[session(stages=stages, reference_work=in_baseline)] * 10)
    found = judge_session(session(stages=stages, reference_work=now), known)
    states_by_metric = {each.metric: each.state for each in found}
    assert states_by_metric == {"time.vision.egpt": "invalid", "memory.vision.egpt": "pass"}


def test_nor_does_it_on_a_machine_of_two_speeds() -> None:
    peaks = {"s1": MemoryPeak(host_bytes=1000)}
    stages = (stage_test("egpt", "vision", {"s1": [1.0]}, test="test_vision", memory=peaks),)
    two = [session(stages=stages, reference_work=(*QUIET, OTHER_END)), session(stages=stages)]
    found = judge_session(session(stages=stages), baseline(*two * 5))
    states_by_metric = {each.metric: each.state for each in found}
    assert states_by_metric == {"time.vision.egpt": "unstable", "memory.vision.egpt": "pass"}


def test_a_speedup_is_not_presumed_to_grow_on_a_slower_machine() -> None:
    """Both of its sides do."""

    def loads(speed: float) -> RunRecord:
        reference_work = (*during("test_load[egpt]", speed), *during("test_load[llava]", speed)[2:])
        return session(stages=LOADS, header=OF_LLAVA, reference_work=reference_work)

    known = baseline(*[loads(1.0)] * 10)
    assert verdict(loads(1.05), known, "speedup.stage1.llava").centre == pytest.approx(math.log(3))
    assert verdict(loads(1.05), known, "time.load.llava").centre == pytest.approx(math.log(3) + SLOPE * math.log(1.05))


@pytest.mark.parametrize("slow", ["test_load[egpt]", "test_load[llava]"])
def test_a_speedup_depends_on_both_of_its_sides(slow: str) -> None:
    def loads(speed: float) -> RunRecord:
        quiet = {"test_load[egpt]", "test_load[llava]"} - {slow}
        reference_work = (*during(slow, speed), *during(quiet.pop(), 1.0)[2:])
        return session(stages=LOADS, header=OF_LLAVA, reference_work=reference_work)

    found = {each.metric: each.state for each in judge_session(loads(1.5), baseline(*[loads(1.0)] * 10))}
    key = slow.removeprefix("test_load[").removesuffix("]")
    assert {metric for metric, state in found.items() if state == "invalid"} == {
        f"time.load.{key}",
        "speedup.stage1.llava",
    }


@pytest.mark.parametrize("outcome", ["skipped", "deselected", "failed"])
def test_a_figure_that_is_missing_is_not_run_with_its_reason(outcome: Any) -> None:
    others = OutcomeRecord("test_load", "failed", "for another"), OutcomeRecord("test_vision2", "skipped", "for none")
    run = session(stages=(), outcomes=(*others, OutcomeRecord("test_vision", outcome, "for a reason")))
    found = verdict(run, baseline())
    assert (found.state, found.sentence) == ("not run", f"not run: test_vision was {outcome} (for a reason)")


def test_a_figure_that_only_the_run_has_has_no_baseline() -> None:
    found = verdict(session(), baseline(*[session(stages=())] * 10))
    assert (found.state, "the baseline lacks this figure" in found.sentence) == ("missing baseline", True)


# --- speedups


def compared(draft_s: float, target_s: float, target: str = "videollava") -> RunRecord:
    passes = (whole_pass("egpt", "s1", (draft_s,) * 5), whole_pass(target, "s1", (target_s,) * 5))
    return session(passes=passes, header=header(models=("egpt", target), targets=(target,)))


@pytest.mark.parametrize(
    ("draft_s", "target_s", "state", "words"),
    [
        (1.0, 4.0, "pass", ""),
        (1.2, 4.0, "flagged", ""),
        (1.0, 3.0, "improved", "only videollava got faster (-25.0 %)"),
        (0.9, 2.0, "improved", "only videollava got faster"),
        (0.8, 4.0, "improved", "replace the baseline"),
        (1.0, 6.0, "pass", "only videollava got slower (+50.0 %)"),
        (1.2, 3.0, "flagged", ""),
    ],
)
def test_a_speedup_is_judged_by_the_side_that_moved(draft_s: float, target_s: float, state: str, words: str) -> None:
    found = verdict(compared(draft_s, target_s), baseline(*[compared(1.0, 4.0)] * 10), "speedup.total.videollava.eager")
    assert found.state == state
    assert words in found.sentence


def test_a_target_with_a_dot_in_its_key_is_named_whole() -> None:
    known = baseline(*[compared(1.0, 4.0, "llava-1.5")] * 10)
    found = verdict(compared(1.0, 3.0, "llava-1.5"), known, "speedup.total.llava-1.5.eager")
    assert "only llava-1.5 got faster (-25.0 %)" in found.sentence


def test_a_speedup_over_fewer_samples_than_the_baselines_is_invalid() -> None:
    passes = tuple(whole_pass(model, sample) for model in ("egpt", "videollava") for sample in ("s1", "s2"))
    fewer = (*passes[:3], failed_pass("videollava", "s2"))
    known = baseline(*[session(passes=passes)] * 10)
    found = verdict(session(passes=fewer), known, "speedup.total.videollava.eager")
    assert (found.state, found.sentence) == ("invalid", "measured in 1 rounds, the baseline in 2")


def test_the_memory_of_a_process_is_compared_whatever_number_of_samples_told_it() -> None:
    def load(*samples: str) -> RunRecord:
        memory = {sample: host_peak(1024) for sample in samples}
        return session(stages=(stage_test("egpt", "load", {"s1": [1.0]}, memory=memory),))

    known = baseline(*[load("s1", "s2", "s3")] * 10)
    assert verdict(load("s1"), known, "memory.load.egpt").state == "pass"


@pytest.mark.parametrize(
    ("cold", "state", "sentence"),
    [
        (0, "pass", ""),
        (2, "pass", ""),
        (3, "invalid", "measured in 37 rounds, the baseline in 40; 3 more found the file in another state"),
    ],
)
def test_a_few_rounds_in_another_state_leave_a_figure_and_more_say_why_not(
    cold: int, state: str, sentence: str
) -> None:
    def load(cold: int) -> RunRecord:
        states = ("cold",) * cold + ("warm",) * (40 - cold)
        return session(stages=(stage_test("egpt", "load", {"s1": [1.0] * 40}, round_states=states),))

    found = verdict(load(cold), baseline(*[load(0)] * 10), "time.load.egpt")
    assert found.state == state
    assert found.sentence.startswith(sentence)


def test_acceptance_is_judged_in_points() -> None:
    same = session(agreements=(agreement("s1", (True, True, True, True), (True, True, True, True)),))
    other = session(agreements=(agreement("s1", (True, True, True, False), (True, True, True, True)),))
    found = verdict(other, baseline(*[same] * 10), "acceptance.videollava.eager")
    assert found.state == "flagged"
    assert "0.667, baseline 1 (-33.3 points" in found.sentence


# --- the second session


def decided(first: float, second: RunRecord, known: Baseline | None = None) -> GateRecord:
    known = known or baseline()
    both = merged(judge_session(session(first), known), judge_session(second, known))
    return next(each for each in both if each.metric == "time.vision.egpt")


@pytest.mark.parametrize(
    ("first", "second", "state"),
    [(1.06, 1.06, "regressed"), (1.06, 1.04, "pass"), (1.06, 0.8, "pass"), (1.04, 1.06, "pass")],
)
def test_both_sessions_decide(first: float, second: float, state: str) -> None:
    assert decided(first, session(second)).state == state


def test_the_mean_of_both_must_be_beyond_its_own_limit() -> None:
    noisy = baseline(*(session(math.exp(0.02 * (-1) ** number)) for number in range(10)))
    found = verdict(session(1.2), noisy)
    assert found.limit is not None
    assert found.limit_of_mean is not None
    assert found.limit_of_mean > found.limit  # with ten sessions of this spread
    barely = math.exp(found.limit * 1.001)
    assert decided(barely, session(barely), noisy).state == "pass"
    clearly = math.exp(found.limit_of_mean * 1.001)
    assert decided(clearly, session(clearly), noisy).state == "regressed"


def test_a_second_session_that_cannot_be_trusted_decides_nothing() -> None:
    hot = (QUIET[0], ReferenceWorkRecord("end", (1.0,), (1.0,), throttled=("too hot",)))
    found = decided(1.2, session(1.2, reference_work=hot))
    assert (found.state, "the second session is invalid" in found.sentence) == ("invalid", True)


def test_what_is_not_measured_again_stays_flagged() -> None:
    known = baseline()
    assert decided(1.2, session(stages=())).state == "flagged"
    (flagged, *_) = merged(judge_session(session(1.2), known), [])
    assert (flagged.state, "was not measured again" in flagged.sentence) == ("flagged", True)


def test_a_figure_of_a_session_still_going_on_is_judged_by_itself() -> None:
    running = session(1.2, reference_work=())
    assert judge_metric(running, "time.vision.egpt", baseline()) is not None
    assert judge_metric(running, "time.load.egpt", baseline()) is None


# --- statuses


@pytest.mark.parametrize(
    ("gates", "pytests", "code"),
    [
        ({"pass", "improved"}, 0, 0),
        ({"pass", "missing baseline"}, 0, 12),
        ({"flagged", "missing baseline"}, 0, 11),
        ({"unstable", "pass"}, 0, 11),
        ({"invalid"}, 0, 11),
        ({"not run", "invalid", "missing baseline"}, 0, 10),
        ({"regressed", "not run", "flagged"}, 0, 1),
        ({"pass"}, 1, 1),
        ({"regressed"}, 2, 2),
    ],
)
def test_the_first_state_that_holds_gives_the_status(gates: Any, pytests: int, code: int) -> None:
    assert exit_status(pytests, expects_figures=True, figures=1, gates=gates).code == code


def test_what_is_the_same_for_many_figures_is_said_once() -> None:
    gates = [GateRecord(f"figure {number}", "invalid", "too hot") for number in range(5)]
    text = gate_lines([*gates, GateRecord("another", "pass", "fine", loss=0.01, limit=0.05)])
    assert text.count("too hot") == 1
    assert "… and 4 more" in text
    assert text.index("another") < text.index("too hot")
