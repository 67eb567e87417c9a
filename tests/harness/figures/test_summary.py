from __future__ import annotations

from random import Random
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.summary import mean_of_faster_half, outliers, summarize

VALUES = st.lists(st.floats(0, 1e9, allow_subnormal=False), min_size=1, max_size=60)


@given(VALUES)
def test_summary_is_numpys(values: list[float]) -> None:
    summary = summarize(values)
    expected = [float(each) for each in np.quantile(values, [0.25, 0.5, 0.75])]
    found = [summary.quartile_1, summary.median, summary.quartile_3]
    assert found == pytest.approx(expected, rel=1e-12)
    assert summary.n == len(values)


@given(VALUES, st.integers())
def test_order_of_the_values_changes_nothing_not_even_in_the_last_place(values: list[float], seed: int) -> None:
    shuffled = list(values)
    Random(seed).shuffle(shuffled)
    assert summarize(shuffled) == summarize(values)


@given(VALUES, st.integers())
def test_the_faster_half_is_the_same_in_whatever_order(values: list[float], seed: int) -> None:
    shuffled = list(values)
    Random(seed).shuffle(shuffled)
    found = mean_of_faster_half(shuffled)
    assert found == mean_of_faster_half(values)
    assert min(values) * (1 - 1e-12) <= found <= median(values) * (1 + 1e-12)
    assert mean_of_faster_half([2 * value for value in values]) == pytest.approx(2 * found)


@pytest.mark.parametrize(
    ("values", "expected"), [([5.0], 5.0), ([9.0, 1.0], 1.0), ([9.0, 1.0, 3.0], 2.0), ([8.0, 2.0, 4.0, 100.0], 3.0)]
)
def test_the_slower_half_has_no_say(values: list[float], expected: float) -> None:
    assert mean_of_faster_half(values) == expected


def test_what_slows_down_more_than_half_of_the_rounds_is_seen() -> None:
    before = [10.0] * 10
    assert mean_of_faster_half([20.0] * 5 + before[5:]) == mean_of_faster_half(before)
    assert mean_of_faster_half([20.0] * 6 + before[6:]) > mean_of_faster_half(before)


@given(VALUES)
def test_summary_never_leaves_the_values_and_its_parts_are_in_order(values: list[float]) -> None:
    summary = summarize(values)
    parts = [min(values), summary.quartile_1, summary.median, summary.quartile_3, max(values)]
    assert parts == sorted(parts)


@given(st.floats(1e-9, 1e9), st.integers(1, 60))
def test_equal_values_have_no_spread(value: float, count: int) -> None:
    summary = summarize([value] * count)
    assert summary.median == summary.quartile_1 == summary.quartile_3 == value
    assert summary.relative_spread == 0


@given(VALUES)
def test_median_of_the_summary_is_the_median(values: list[float]) -> None:
    assert summarize(values).median == pytest.approx(median(values), rel=1e-15)


def test_quartiles_are_interpolated_between_neighbours() -> None:
    summary = summarize([4.0, 1.0, 3.0, 2.0])
    assert (summary.quartile_1, summary.median, summary.quartile_3) == (1.75, 2.5, 3.25)
    assert summary.relative_spread == 0.75 / 2.5


def test_an_outlier_does_not_move_the_spread() -> None:
    calm, wild = summarize([1.0, 2.0, 3.0, 4.0, 5.0]), summarize([1.0, 2.0, 3.0, 4.0, 500.0])
    assert wild.relative_spread == calm.relative_spread


def test_median_of_zero_has_no_relative_spread_and_does_not_raise() -> None:
    assert summarize([0.0, 0.0, 1.0]).relative_spread == 0


def test_nothing_has_no_summary() -> None:
    with pytest.raises(ValueError, match="no values"):
        summarize([])


def test_samples_far_outside_the_middle_half_are_named_the_farthest_first() -> None:
    values = {f"s{number}": 10.0 + number % 5 for number in range(20)}
    assert outliers(values) == {}
    assert list(outliers(values | {"slow": 40.0, "slower": 90.0, "near": 18.0})) == ["slower", "slow"]


@given(st.dictionaries(st.text(max_size=3), st.floats(1e-3, 1e3), max_size=3))
def test_so_few_samples_have_no_middle_half(values: dict[str, float]) -> None:
    assert outliers(values) == {}
