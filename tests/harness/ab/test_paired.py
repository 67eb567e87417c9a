"""The paired statistics, by example and by simulation with fixed seeds."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ab.paired import DECIDED, alpha_per_look, looks, order, paired_interval
from harness.ab.plan import MAX_PAIRS
from harness.figures.intervals import ChangeVerdict, Interval, verdict
from harness.figures.student import t_quantile
from harness.gates.prediction import SLOPE, SLOPE_DEVIATION

METRICS = 20
EFFECT = math.log1p(0.03)
Noise = Callable[[random.Random], float]


def test_pairs_are_in_the_order_abba() -> None:
    assert [order(pair) for pair in range(1, 5)] == [("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")]


@pytest.mark.parametrize("pairs", [4, 6, 8, 12])
def test_a_steady_drift_falls_out_of_the_mean(pairs: int) -> None:
    """A machine that gets one percent slower from session to session, for both sides alike."""
    sessions = iter(range(2 * pairs))
    values = [{side: 0.01 * next(sessions) for side in order(pair)} for pair in range(1, pairs + 1)]
    found = paired_interval([each["b"] - each["a"] for each in values], alpha=0.05)
    assert found.value == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("most_pairs", "expected"),
    [(2, (2,)), (4, (4,)), (5, (4, 5)), (12, (4, 6, 8, 12)), (20, (4, 6, 8, 12, 16, 20)), (24, (4, 6, 8, 12, 16, 24))],
)
def test_looks_are_fixed_beforehand_and_the_last_one_is_at_the_bound(most_pairs: int, expected: tuple[int]) -> None:
    assert looks(most_pairs) == expected


def test_misses_are_shared_among_metrics_and_looks() -> None:
    assert alpha_per_look(10, 12) == pytest.approx(0.05 / 40)


def test_an_interval_is_that_of_the_textbook() -> None:
    found = paired_interval([0.01, 0.03, 0.02, 0.02], alpha=0.05)
    half_width = 3.182446 * math.sqrt(0.0002 / 3) / 2
    assert (found.samples, found.value) == (4, pytest.approx(0.02))
    assert (found.low, found.high) == (pytest.approx(0.02 - half_width), pytest.approx(0.02 + half_width))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.001, 0.079, "regressed"),    # mean 0.04
        (0.031, 0.079, "regressed"),
        (-0.001, 0.081, "undecided"),   # mean 0.04, zero not left out
        (0.001, 0.049, "undecided"),    # mean 0.025: slower, but perhaps by too little
        (0.001, 0.029, "same"),         # slower, by less than what counts
        (-0.03, 0.03, "same"),
        (-0.031, 0.029, "no worse"),
        (-0.049, -0.001, "no worse"),   # mean -0.025: faster, but perhaps by too little
        (-0.031, 0.031, "undecided"),
        (-0.079, -0.001, "improved"),
        (-0.2, 0.2, "undecided"),
    ],
)  # fmt: skip
def test_a_verdict_is_read_off_the_interval(low: float, high: float, expected: ChangeVerdict) -> None:
    assert verdict(Interval(4, (low + high) / 2, low, high), 0.03, lower_is_better=True) == expected


@settings(deadline=None)  # the first example is slow on a busy machine
@given(st.floats(-0.2, 0.2), st.floats(0, 0.2))
def test_a_figure_that_should_be_high_has_the_opposite_verdict(mean: float, half_width: float) -> None:
    mirrored = {"regressed": "improved", "improved": "regressed"}
    said = [
        verdict(Interval(4, sign * mean, sign * mean - half_width, sign * mean + half_width), 0.03, lower_is_better=low)
        for sign, low in ((1, True), (-1, False), (-1, True))
    ]
    assert said[0] == said[1]
    if said[0] in mirrored:
        assert said[2] == mirrored[said[0]]


@pytest.mark.parametrize("said", ["no worse", "undecided"])
def test_measuring_goes_on_until_there_is_nothing_more_to_say(said: ChangeVerdict) -> None:
    assert said not in DECIDED
    assert {"regressed", "improved", "same"} == DECIDED


def quiet(noise: float) -> Noise:
    """A session's noise is normal, so that of a pair's difference is sqrt(2) of it."""
    return lambda source: source.gauss(0, math.sqrt(2) * noise)


def bimodal(source: random.Random) -> float:
    """Each process gets one of two clock rates, 2 % apart, beside 0.5 % of noise."""
    return 0.02 * (source.randint(0, 1) - source.randint(0, 1)) + source.gauss(0, math.sqrt(2) * 0.005)


def compared(source: random.Random, truth: float, noise: Noise, alpha: float) -> tuple[set[ChangeVerdict], bool, int]:
    """Run one comparison: its verdicts where it stopped, whether any interval missed the truth, and its pairs."""
    differences: list[list[float]] = [[] for _ in range(METRICS)]
    any_missed = False
    for look in looks(MAX_PAIRS):
        for of_metric in differences:
            of_metric += [truth + noise(source) for _ in range(look - len(of_metric))]
        intervals = [paired_interval(of_metric, alpha) for of_metric in differences]
        any_missed |= any(not each.low <= truth <= each.high for each in intervals)
        said = {verdict(each, EFFECT, lower_is_better=True) for each in intervals}
        if DECIDED.issuperset(said):
            break
    return said, any_missed, look


def through_jumps(
    source: random.Random, truth: float, alpha: float, pairs: int, slower_for_b: float = 0.0
) -> list[Interval]:
    """Intervals, with readings and without, of one figure on a machine that jumps by 10 % from session to session.

    Sessions have 1 % of noise, and each of two readings 2 % of its own.
    """
    differences, speeds = [], []
    for _ in range(pairs):
        jump = source.gauss(slower_for_b, math.sqrt(2) * 0.1)
        differences.append(truth + jump + quiet(0.01)(source))
        speeds.append([jump + quiet(0.02)(source) for _ in range(2)])
    return [paired_interval(differences, alpha, speeds), paired_interval(differences, alpha)]


def share(happened: list[bool]) -> float:
    return sum(happened) / len(happened)


def many(truth: float, noise: Noise, runs: int = 400, alpha: float | None = None) -> list[tuple[set[str], bool, int]]:
    source = random.Random(20260304)
    each = alpha_per_look(METRICS, MAX_PAIRS) if alpha is None else alpha
    return [compared(source, truth, noise, each) for _ in range(runs)]


@pytest.mark.parametrize("noise", [quiet(0.005), quiet(0.02), quiet(0.1), bimodal], ids=["0.5", "2", "10", "bimodal"])
def test_two_equal_sides_are_rarely_told_apart_whatever_the_noise(noise: Noise) -> None:
    runs = many(0.0, noise)
    assert share(["regressed" in said for said, _, _ in runs]) <= 0.025
    assert share([alpha for _, alpha, _ in runs]) <= 0.06  # 0.05, and two standard deviations of the simulation


def test_textbook_intervals_would_fail_that_very_test() -> None:
    runs = many(0.0, quiet(0.02), runs=100, alpha=0.05)
    assert share([alpha for _, alpha, _ in runs]) > 0.9


@pytest.mark.parametrize(("truth", "noise", "power"), [(0.05, 0.01, 0.99), (0.10, 0.02, 0.99), (0.05, 0.005, 0.99)])
def test_a_slowdown_is_found(truth: float, noise: float, power: float) -> None:
    """In all of twenty metrics at once."""
    runs = many(math.log1p(truth), quiet(noise), runs=150)
    assert share([said == {"regressed"} for said, _, _ in runs]) >= power


@pytest.mark.parametrize(("pairs", "slower_for_b"), [(8, 0.0), (12, 0.0), (16, 0.0), (12, 0.2)])
def test_an_interval_at_equal_speed_misses_the_truth_no_more_often_than_it_says(
    pairs: int, slower_for_b: float
) -> None:
    """Less often where pairs are few: their slopes are drawn with caution, and counted as if they were not."""
    source = random.Random(20261128)
    found = [through_jumps(source, 0.0, 0.05, pairs, slower_for_b)[0] for _ in range(2000)]
    assert 0.015 < share([not each.low <= 0 <= each.high for each in found]) < 0.065


def test_a_machine_that_is_always_slower_for_b_widens_the_interval() -> None:
    """No pair was measured at equal speed, so nothing tells what the difference is there."""
    found = paired_interval([0.1] * 8, 0.05, [[0.02, 0.01]] * 8)
    assert found.value == pytest.approx(0.1 - SLOPE * 0.015)
    assert found.high - found.value == pytest.approx(t_quantile(0.975, 5) * SLOPE_DEVIATION * math.hypot(0.02, 0.01))


def test_jumps_that_were_read_hide_next_to_nothing() -> None:
    """Ten percent, at the level of one look and one figure of many, by 12 pairs: found by nearly all, or by few."""
    source, alpha = random.Random(20261128), alpha_per_look(METRICS, MAX_PAIRS)
    found = [through_jumps(source, math.log1p(0.1), alpha, pairs=12) for _ in range(200)]
    said = [[verdict(each, EFFECT, lower_is_better=True) for each in intervals] for intervals in found]
    assert share([read == "regressed" for read, _ in said]) > 0.95
    assert share([not_read == "regressed" for _, not_read in said]) < 0.3


def test_a_quiet_machine_needs_few_pairs() -> None:
    runs = many(0.0, quiet(0.002), runs=150)
    assert all(said == {"same"} for said, _, _ in runs)
    assert max(pairs for _, _, pairs in runs) <= 6


def test_a_machine_too_noisy_for_an_answer_gets_none() -> None:
    runs = many(0.0, quiet(0.1), runs=50)
    assert all("undecided" in said and pairs == MAX_PAIRS for said, _, pairs in runs)
