"""Intervals cover the truth as often as they say."""

from __future__ import annotations

import math
from random import Random
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.intervals import mean_interval, pooled_ratio, quantile_interval, ratio_interval
from harness.figures.stages import Speedup

TIMES = st.floats(1e-6, 1e6)


def test_a_ratio_has_an_interval_that_covers_the_truth_about_as_often_as_it_says() -> None:
    """For ten pairs from skewed times; of the log-normal means the true ratio is 3 exp(s²/2)."""
    draw, covered = Random(11), 0
    for _ in range(1000):
        draft = [math.exp(draw.gauss(0, 0.8)) for _ in range(10)]
        target = [3 * each * math.exp(draw.gauss(0, 0.3)) for each in draft]
        found = ratio_interval(target, draft)
        assert found is not None
        covered += found.low <= 3 * math.exp(0.3**2 / 2) <= found.high
    assert 920 <= covered <= 980


@pytest.mark.parametrize("samples", [3, 8])
def test_a_mean_has_an_interval_that_covers_the_truth_about_as_often_as_it_says(samples: int) -> None:
    """For skewed times, whose true mean is that of the log-normal distribution."""
    draw, covered, truth = Random(5), 0, math.exp(0.3**2 / 2)
    for _ in range(1000):
        found = mean_interval([math.exp(draw.gauss(0, 0.3)) for _ in range(samples)])
        assert found is not None
        covered += found.low <= truth <= found.high
    assert 920 <= covered <= 980


@given(st.lists(st.tuples(TIMES, TIMES), min_size=2, max_size=40))
def test_an_interval_of_a_ratio_of_means_holds_that_ratio(pairs: list[tuple[float, float]]) -> None:
    target, draft = ([pair[side] for pair in pairs] for side in (0, 1))
    found = ratio_interval(target, draft)
    assert found is not None
    assert 0 < found.low <= found.value <= found.high < math.inf
    assert found.value == pytest.approx(Speedup.of(target, draft).factor)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@given(values=st.lists(TIMES, min_size=1, max_size=400))
def test_an_interval_of_a_percentile_holds_it(share: float, values: list[float]) -> None:
    found = quantile_interval(values, share)
    assert found.low <= found.value <= found.high
    if len(values) > 1:
        assert found.value == pytest.approx(quantiles(values, n=100, method="inclusive")[round(100 * share) - 1])


@pytest.mark.parametrize(("share", "samples"), [(0.5, 20), (0.9, 50), (0.99, 400)])
def test_a_percentile_has_an_interval_that_covers_the_truth_at_least_as_often_as_it_says(
    share: float, samples: int
) -> None:
    """Of exponential times, whose quantiles are -ln(1 - share)."""
    draw, covered, truth = Random(3), 0, -math.log(1 - share)
    for _ in range(1000):
        found = quantile_interval([draw.expovariate(1) for _ in range(samples)], share)
        covered += found.low <= truth <= found.high
    assert 935 <= covered <= 995


@pytest.mark.parametrize(
    ("share", "enough"),
    [(0.5, 6), (0.9, 36), (0.99, 368)],  # the share to the n-th: the chance that all are below it
)
def test_few_samples_leave_the_upper_end_of_a_percentile_unknown(share: float, enough: int) -> None:
    assert quantile_interval(range(enough), share).high == enough - 1
    assert quantile_interval(range(enough - 1), share).high == math.inf


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6))
def test_an_interval_of_a_mean_is_above_zero_and_holds_it_by_one_factor(times: list[float]) -> None:
    found = mean_interval(times)
    assert found is not None
    assert 0 < found.low <= found.value <= found.high < math.inf
    assert found.value == pytest.approx(sum(times) / len(times))
    assert found.high / found.value == pytest.approx(found.value / found.low)


def test_two_samples_that_differ_much_leave_a_mean_unknown_but_not_below_zero() -> None:
    """Student's t of one degree is 12.706: 200 +- 1270.6 without logarithms."""
    found = mean_interval([100.0, 300.0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((200 * math.exp(-6.3531), 200 * math.exp(6.3531)), rel=1e-4)


def test_an_interval_of_samples_that_differ_little_is_students() -> None:
    """By a printed table, t is 2.776 for five samples; these have a standard deviation of 1.5811."""
    found = mean_interval([998.0, 999.0, 1000.0, 1001.0, 1002.0])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((1000 - 1.963, 1000 + 1.963), abs=0.005)


def test_an_interval_needs_two_values_and_times_that_are_some() -> None:
    assert mean_interval([1.0]) is None
    assert mean_interval([0.0, 0.0]) is None
    assert ratio_interval([1.0], [2.0]) is None
    assert ratio_interval([1.0, 0.0], [2.0, 1.0]) is None


def test_an_interval_by_sample_covers_the_truth_about_as_often_as_it_says() -> None:
    draw, covered = Random(5), 0
    for _ in range(600):
        shares = [draw.betavariate(6, 4) for _ in range(12)]
        parts = [sum(draw.random() < share for _ in range(40)) for share in shares]
        found = pooled_ratio(parts, [40] * 12)
        covered += found.low <= 0.6 <= found.high
    assert 0.92 <= covered / 600 <= 0.98


def test_one_sample_has_no_interval() -> None:
    found = pooled_ratio([3], [4])
    assert (found.value, found.low, found.high) == (0.75, -math.inf, math.inf)
    assert (found.is_bounded, found.excludes_zero) == (False, False)
