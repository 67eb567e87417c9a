"""The gate's promises, simulated: how often it is wrong, and what it finds."""

import math

import numpy as np
import pytest

from harness.figures.intervals import verdict
from harness.figures.student import t_cumulative, t_quantile
from harness.gates.prediction import (
    MAX_SPREAD,
    POWER,
    PROBABILITY,
    SLOPE,
    SLOPE_DEVIATION,
    creep,
    extrapolates,
    is_beyond,
    is_bimodal,
    is_too_noisy,
    predict,
)
from tests.harness.gates.simulated_gates import (
    MINIMUM_EFFECT,
    NOISES,
    drawn_sessions,
    is_confirmed,
    share_found_at_the_edge,
    share_of_alarms_under_two_clocks,
    share_that_fails,
    share_that_fails_on_a_busy_machine,
)

RUNS = 100_000
# Little noise leaves so few alarms that a quarter of the runs shows it as well.
RUNS_BY_NOISE = {noise: RUNS if noise > 0.01 else RUNS // 4 for noise in NOISES}
GPU_STAGE = MINIMUM_EFFECT
AT_MOST = 0.001


# --- Student's t, against printed tables


@pytest.mark.parametrize(
    ("probability", "degrees", "printed"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.98, 9, 2.3984), (0.99, 4, 3.7469), (0.95, 30, 1.6973)],
)
def test_quantiles_are_those_of_the_printed_tables(probability: float, degrees: int, printed: float) -> None:
    assert t_quantile(probability, degrees) == pytest.approx(printed, abs=5e-5)
    assert t_cumulative(printed, degrees) == pytest.approx(probability, abs=1e-5)
    assert t_cumulative(-printed, degrees) == pytest.approx(1 - probability, abs=1e-5)


@pytest.mark.parametrize(("probability", "degrees"), [(1.0, 9), (0.2, 9), (0.9, 0)])
def test_what_has_no_quantile_is_refused(probability: float, degrees: int) -> None:
    with pytest.raises(ValueError, match=r"probability|degrees"):
        t_quantile(probability, degrees)


# --- the limit


def test_a_quiet_baseline_leaves_the_minimum_effect_as_the_limit() -> None:
    prediction = predict([0.0] * 10, GPU_STAGE)
    assert prediction.limit == GPU_STAGE
    assert not is_beyond(prediction, GPU_STAGE)
    assert is_beyond(prediction, GPU_STAGE * 1.001)


def test_a_noisy_baseline_widens_the_limit_by_the_published_formula() -> None:
    baseline = np.linspace(-0.03, 0.03, 10)
    expected = 2.150375 * baseline.std(ddof=1) * math.sqrt(1.1)
    found = predict(baseline, GPU_STAGE)
    assert found.limit == pytest.approx(expected, rel=1e-5)
    # To be found in four of five cases, a change shows in each of two sessions with the root of that.
    power = t_quantile(math.sqrt(0.8), 9) * baseline.std(ddof=1) * math.sqrt(1.1)
    assert found.minimum_detectable_effect == pytest.approx(expected + power, rel=1e-5)


def test_two_sessions_must_both_be_beyond_the_limit() -> None:
    prediction = predict([0.0] * 10, GPU_STAGE)
    assert is_confirmed(prediction, 0.05, 0.04)
    assert not is_confirmed(prediction, 0.50, 0.02)
    assert not is_confirmed(prediction, 0.02, 0.50)


# --- simulated sessions


@pytest.mark.parametrize("noise", NOISES)
def test_a_gate_is_wrong_at_most_once_in_a_thousand_runs(noise: float) -> None:
    assert share_that_fails(noise, runs=4 * RUNS_BY_NOISE[noise]) <= AT_MOST


@pytest.mark.parametrize(("noise", "effect", "found"), [(0.005, 0.05, 0.99), (0.01, 0.05, 0.92), (0.02, 0.10, 0.95)])
def test_a_gate_finds_what_it_promises_to_find(noise: float, effect: float, found: float) -> None:
    assert share_that_fails(noise, effect, runs=RUNS) >= found


@pytest.mark.parametrize("noise", [0.002, 0.004, 0.006, 0.0075, 0.01, 0.02])
def test_the_finer_edge_of_a_stage_on_a_gpu_is_wrong_as_rarely(noise: float) -> None:
    assert share_found_at_the_edge(noise, runs=2 * RUNS) <= AT_MOST


@pytest.mark.parametrize(
    ("noise", "effect", "found"), [(0.001, 0.01, 0.99), (0.0015, 0.01, 0.9), (0.003, 0.02, 0.99), (0.003, 0.03, 0.99)]
)
def test_the_finer_edge_finds_what_it_promises_to_find(noise: float, effect: float, found: float) -> None:
    assert share_found_at_the_edge(noise, effect, runs=RUNS) >= found


def test_three_sessions_would_find_less_than_half() -> None:
    assert share_that_fails(0.01, 0.05, runs=RUNS, sessions=3) < 0.5


@pytest.mark.parametrize("noise", [0.01, 0.02])
def test_the_smallest_effect_that_is_told_is_found_as_often_as_is_said(noise: float) -> None:
    baseline, first, second = drawn_sessions(noise, RUNS)
    prediction = predict(baseline, GPU_STAGE)
    slower = prediction.minimum_detectable_effect - prediction.centre
    found = is_confirmed(prediction, first + slower, second + slower).mean()
    assert found == pytest.approx(POWER, abs=0.05)


# --- a clock with two states


@pytest.mark.parametrize("often", [0.1, 0.5])
@pytest.mark.parametrize("slower", [0.04, 0.08, 0.15])
@pytest.mark.parametrize("noise", NOISES)
def test_a_clock_with_two_states_raises_no_alarm(noise: float, slower: float, often: float) -> None:
    assert share_of_alarms_under_two_clocks(noise, slower, often, runs=RUNS_BY_NOISE[noise] // 2) <= AT_MOST


def test_without_reference_work_a_clock_with_a_rare_second_state_would_raise_alarms() -> None:
    assert share_of_alarms_under_two_clocks(0.01, 0.08, 0.1, runs=RUNS // 2, watched=False) > 2 * AT_MOST


@pytest.mark.parametrize(
    ("baseline", "two"),
    [
        ([0, 0.001, 0.002, 0.001, 0.08, 0.081, 0.08, 0.079], True),
        ([0, 0.001, 0.002, 0.001, 0, 0.001, 0.002, 0.09], True),  # a single session that stands apart
        ([0, 0.001, 0.002, 0.001, 0.02, 0.021, 0.02, 0.019], False),  # apart, but by less than anything that counts
        ([0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07], False),  # a drift, no two groups
        ([0.5] * 8, False),
    ],
)
def test_two_groups_of_sessions_are_told_from_one(baseline: list[float], two: bool) -> None:
    assert bool(is_bimodal(baseline, GPU_STAGE)) is two


@pytest.mark.parametrize(("noise", "at_most"), [(0.01, 0.005), (0.02, 0.03)])
def test_sessions_of_one_kind_are_rarely_taken_for_two(noise: float, at_most: float) -> None:
    baseline, _, _ = drawn_sessions(noise, RUNS)
    assert is_bimodal(baseline, GPU_STAGE).mean() <= at_most


def test_a_spread_of_more_than_five_percent_is_too_wide() -> None:
    edge = np.array([-1.0, 1.0]) / math.sqrt(2) * MAX_SPREAD
    assert not is_too_noisy(predict(edge * 0.999, GPU_STAGE))
    assert is_too_noisy(predict(edge * 1.001, GPU_STAGE))


# --- on a machine whose speed is read beside the figure


def test_conditions_make_it_the_regression_of_the_textbook() -> None:
    draw = np.random.default_rng(5)
    known, here = draw.normal(0, 1.0, (12, 2)), np.array([0.5, -1.0])
    values = 3 + known @ [0.7, -0.2] + draw.normal(0, 0.1, 12)
    found = predict(values, 0.0, 0.97, (known, here))
    design, row = np.column_stack([np.ones(12), known]), np.array([1.0, *here])
    fitted, (squares,), _, _ = np.linalg.lstsq(design, values, rcond=None)
    spread, leverage = math.sqrt(squares / 9), row @ np.linalg.inv(design.T @ design) @ row
    assert found.centre == pytest.approx(row @ fitted, rel=1e-3)
    assert found.spread == pytest.approx(spread, rel=1e-3)
    assert found.leverage == pytest.approx(leverage, rel=1e-3)
    assert found.limit == pytest.approx(t_quantile(0.97, 9) * spread * math.sqrt(1 + leverage), rel=1e-3)


def test_conditions_that_hardly_vary_draw_no_slope_but_the_presumed_one() -> None:
    known = np.array([[0.0001 * (-1) ** number] for number in range(10)])
    values = [0.01 * (-1) ** number for number in range(10)]
    found, alone = (
        predict(values, 0.0, speeds=(known, [0.01]), tracks_machine_speed=tracks_machine_speed)
        for tracks_machine_speed in (True, False)
    )
    assert alone.centre == pytest.approx(0.0, abs=1e-3), "and not one, as the slope of 100 would have it"
    assert found.centre == pytest.approx(SLOPE * 0.01, abs=1e-3)
    assert found.leverage == pytest.approx(1 / 10 + (0.01 / math.log(1.02)) ** 2 / 10, rel=1e-2)


@pytest.mark.parametrize("varied", [0.0, 0.02, 0.1])
def test_outside_the_range_of_the_readings_less_is_certain(varied: float) -> None:
    """The less, the less the sessions have taught of slopes: one reading varies by turns, the other one not at all."""
    known = np.array([[varied * (-1) ** number, 0.0] for number in range(10)])
    values = [varied * (-1) ** number for number in range(10)]
    edge, first, second = (
        predict(values, 0.0, speeds=(known, here)) for here in ([varied, 0.0], [varied + 0.05, 0.0], [0.0, 0.05])
    )
    ridge = math.log(1.02) ** 2
    assert edge.extrapolation_sd == 0
    assert first.extrapolation_sd == pytest.approx(SLOPE_DEVIATION * 0.05 * math.sqrt(ridge / (varied**2 + ridge)))
    assert second.extrapolation_sd == pytest.approx(SLOPE_DEVIATION * 0.05)
    of_next = math.sqrt(first.spread**2 * (1 + first.leverage) + first.extrapolation_sd**2)
    assert first.limit == pytest.approx(t_quantile(PROBABILITY, 7) * of_next)


@pytest.mark.parametrize(("excess", "unheard_of"), [(0.99, False), (1.01, True)])
def test_a_machine_too_far_outside_is_unheard_of(excess: float, unheard_of: bool) -> None:
    here = [excess * MAX_SPREAD / SLOPE_DEVIATION, 0.0]
    assert extrapolates(predict([0.0] * 10, 0.0, speeds=([[0.0, 0.0]] * 10, here))) == unheard_of


@pytest.mark.parametrize("sessions", [10, 20])
def test_a_machine_slower_than_in_a_calm_baseline_raises_few_alarms(sessions: int) -> None:
    """By ten percent, more than any session of the baseline knows; as if nothing were known of slopes, many more."""
    alarms, without = (
        share_that_fails_on_a_busy_machine(
            0.01,
            runs=RUNS // 5,
            busy=0.01,
            later=0.1,
            sessions=sessions,
            minimum_effect=math.log(1.05),
            tracks_machine_speed=tracks_machine_speed,
        )
        for tracks_machine_speed in (True, False)
    )
    assert alarms < 0.04
    assert without > 4 * alarms


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize(("sessions", "busy"), [(10, 0.0), (10, 0.1), (20, 0.1)])
def test_a_machine_of_changing_speed_raises_no_more_alarms(noise: float, sessions: int, busy: float) -> None:
    assert (
        share_that_fails_on_a_busy_machine(noise, runs=RUNS_BY_NOISE[noise] // 2, busy=busy, sessions=sessions)
        <= AT_MOST
    )


@pytest.mark.parametrize(("noise", "effect", "power"), [(0.01, 0.05, 0.86), (0.02, 0.10, 0.95)])
def test_with_twenty_sessions_conditions_cost_little_power_on_a_quiet_machine(
    noise: float, effect: float, power: float
) -> None:
    assert share_that_fails_on_a_busy_machine(noise, effect, runs=RUNS // 5, busy=0.0) >= power


def test_what_is_slower_is_found_on_a_machine_of_changing_speed() -> None:
    assert share_that_fails_on_a_busy_machine(0.01, 0.10, runs=RUNS // 10) > 0.96


def test_the_example_of_the_docstring_holds() -> None:
    took_ms = (100, 101, 99, 100, 102, 98, 100, 101, 99, 100)
    prediction = predict([math.log(each) for each in took_ms], math.log(1.02))
    found = [float(each) for each in (prediction.centre, prediction.spread, prediction.limit, prediction.limit_of_mean)]
    assert found == pytest.approx([4.6051, 0.01155, 0.0260, 0.0335], abs=5e-5)
    losses = {each: math.log(each) - prediction.centre for each in (103, 103.5, 104)}
    assert is_confirmed(prediction, losses[103], losses[104])
    assert not is_confirmed(prediction, losses[103], losses[103.5])
    assert is_beyond(prediction, losses[103.5])


# --- creep


def test_creep_is_told_of_the_mean_of_later_sessions_and_seldom_where_there_is_none() -> None:
    drawn = np.random.default_rng(6).normal(0, 0.01, (4000, 13))
    found = [creep([*each[:10]], [*each[10:]]) for each in drawn]
    assert 0.003 < np.mean([each.excludes_zero for each in found]) < 0.0065
    crept = [creep([*each[:10]], [*(each[10:] + 0.02)]) for each in 0.3 * drawn]
    assert np.mean([verdict(each, 0.01, lower_is_better=True) == "regressed" for each in crept]) > 0.95
    assert found[0].samples == 3


def test_creep_is_no_slower_machine() -> None:
    draw = np.random.default_rng(7)
    speeds = draw.normal(0, 0.03, (15, 2))
    speeds[12:] += 0.03
    values = speeds.mean(axis=1) + draw.normal(0, 0.002, 15)
    found = creep([*values[:12]], [*values[12:]], (speeds[:12], speeds[12:]))
    assert found.at_equal_speed
    assert not found.excludes_zero
    assert creep([*values[:12]], [*(values[12:] + 0.05)], (speeds[:12], speeds[12:])).low > 0
