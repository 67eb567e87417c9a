"""How sure a run's figures are: intervals that cover the truth as often as they say, and samples that stand apart."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.intervals import mean_interval, outliers, ratio_interval, speedup_interval
from harness.figures.passes import pass_figures
from harness.figures.stages import comparisons
from harness.records.lines import RunRecord
from tests.harness.made_runs import full_run, header, headline_run, whole_pass


def test_a_ratio_has_an_interval_that_covers_the_truth_about_as_often_as_it_says() -> None:
    """For ten pairs from skewed times whose true ratio is 3."""
    draw, covered = Random(11), 0
    for _ in range(1000):
        draft = [math.exp(draw.gauss(0, 0.8)) for _ in range(10)]
        target = [3 * each * math.exp(draw.gauss(0, 0.3)) for each in draft]
        found = ratio_interval(target, draft)
        assert found is not None
        covered += found.low <= 3 <= found.high
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


@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6))
def test_an_interval_of_a_mean_is_above_zero_and_holds_it_by_one_factor(times: list[float]) -> None:
    found = mean_interval(times)
    assert found is not None
    assert 0 < found.low <= found.mean <= found.high < math.inf
    assert found.mean == pytest.approx(sum(times) / len(times))
    assert found.high / found.mean == pytest.approx(found.mean / found.low)


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


def test_equal_ratios_leave_no_doubt() -> None:
    run = headline_run()
    (comparison,) = comparisons(run)
    for stage in (None, 1, 2, 3):
        found = speedup_interval(run, comparison, stage)
        speedup = comparison.total if stage is None else comparison.stages[stage]
        assert found is not None
        assert [found.low, found.mean, found.high] == pytest.approx([speedup.factor] * 3)


def test_samples_far_outside_the_middle_half_are_named_the_farthest_first() -> None:
    values = {f"s{number}": 10.0 + number % 5 for number in range(20)}
    assert outliers(values) == {}
    assert list(outliers(values | {"slow": 40.0, "slower": 90.0, "near": 18.0})) == ["slower", "slow"]


@given(st.dictionaries(st.text(max_size=3), st.floats(1e-3, 1e3), max_size=3))
def test_so_few_samples_have_no_middle_half(values: dict[str, float]) -> None:
    assert outliers(values) == {}


def test_figures_of_whole_passes_are_of_those_that_came_through() -> None:
    egpt, videollava, _ = pass_figures(full_run())
    assert (egpt.model, len(egpt.records)) == ("egpt", 2)
    assert egpt.mean_s("decode") == pytest.approx(0.7)
    assert videollava.mean_total_s == pytest.approx(5 * 1.32)
    assert sum(map(videollava.share, videollava.stages)) == pytest.approx(1)
    assert egpt.mean_tokens == 3


def test_a_file_without_tokens_has_no_mean_of_them() -> None:
    (figure,) = pass_figures(RunRecord(header(), passes=(whole_pass("egpt", token_ids=()),)))
    assert figure.mean_tokens is None
