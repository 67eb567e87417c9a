from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.student_t import share_within, two_sided_bound

MISSED = st.floats(1e-7, 0.9)
DEGREES = st.integers(1, 60)


@pytest.mark.parametrize(
    ("missed", "degrees", "printed"),
    [
        (0.05, 1, 12.706), (0.05, 2, 4.303), (0.05, 3, 3.182), (0.05, 10, 2.228), (0.05, 30, 2.042),
        (0.04, 9, 2.398), (0.001, 7, 5.408), (0.0001, 11, 5.921),
    ],
)  # fmt: skip
def test_bounds_are_those_of_the_printed_tables(missed: float, degrees: int, printed: float) -> None:
    assert two_sided_bound(missed, degrees) == pytest.approx(printed, abs=6e-4)


@given(MISSED, DEGREES)
def test_a_bound_is_missed_as_often_as_it_says(missed: float, degrees: int) -> None:
    assert 1 - share_within(two_sided_bound(missed, degrees), degrees) == pytest.approx(missed, rel=1e-5)


@given(MISSED, DEGREES)
def test_more_degrees_of_freedom_bring_the_bound_nearer(missed: float, degrees: int) -> None:
    assert two_sided_bound(missed, degrees + 1) < two_sided_bound(missed, degrees)


@pytest.mark.parametrize(("missed", "degrees"), [(0.0, 5), (1.0, 5), (1e-12, 5), (0.05, 0)])
def test_a_bound_that_does_not_exist_is_refused(missed: float, degrees: int) -> None:
    with pytest.raises(ValueError, match="there is no bound"):
        two_sided_bound(missed, degrees)
