"""The stages of a whole pass add up to its time, or its test fails."""

from __future__ import annotations

import pytest

from perf_tests.test_whole_pipeline import assert_parts_add_up
from tests.harness.made_runs import whole_pass

SECONDS = (1.0, 2.0, 3.0, 4.0, 5.0)


def test_work_between_the_stages_of_every_pass_fails() -> None:
    passes = [whole_pass("egpt", sample, SECONDS, whole_s=whole) for sample, whole in (("s1", 15.4), ("s2", 15.5))]
    with pytest.raises(AssertionError, match=r"stages add up to 15\.0000 s of 15\.4000 s"):
        assert_parts_add_up(passes)


def test_stages_that_take_longer_than_their_pass_fail() -> None:
    passes = [whole_pass("egpt", sample, SECONDS, whole_s=whole) for sample, whole in (("s1", 15.0), ("s2", 14.5))]
    with pytest.raises(AssertionError, match=r"of 14\.5000 s"):
        assert_parts_add_up(passes)


def test_another_process_between_the_stages_of_one_pass_does_not() -> None:
    passes = [whole_pass("egpt", sample, SECONDS, whole_s=whole) for sample, whole in (("s1", 15.1), ("s2", 19.0))]
    assert_parts_add_up(passes)
