"""How many timed rounds a stage test takes."""

from __future__ import annotations

from typing import Any

import pytest

from harness import options
from harness.options import Options, RoundsPlan
from tests.harness.test_options import FakeConfig


@pytest.mark.parametrize(
    ("flags", "plan"),
    [
        ({}, RoundsPlan(3, 5, 3, 16)),
        ({"rounds": "2"}, RoundsPlan(2, 2, 3)),
        ({"rounds": "2", "measurement_time": "0.5"}, RoundsPlan(2, 20, 0.5)),
        ({"measurement_time": "9"}, RoundsPlan(5, 50, 9)),
        ({"gate": "true"}, RoundsPlan(20, 200, 1)),
        ({"gate": "true", "rounds": "7"}, RoundsPlan(7, 7, 3)),
    ],
)
def test_a_gate_takes_more_rounds_and_no_stage_fewer_than_were_asked_for(
    flags: dict[str, str], plan: RoundsPlan
) -> None:
    config: Any = FakeConfig(flags=flags, ini={})
    assert options.read(config).rounds_plan == plan


@pytest.mark.parametrize(
    ("rounds", "seconds", "samples", "enough"),
    [
        (16, 0.51, 8, True),
        (16, 0.49, 8, False),
        (15, 0.51, 8, False),
        (17, 0.51, 9, False),
        (18, 0.51, 9, True),
        (3, 2.99, 1, False),
        (3, 3.01, 1, True),
        (2, 9.00, 1, False),
    ],
)
def test_rounds_are_enough_that_take_long_for_a_sample_or_are_many(
    rounds: int, seconds: float, samples: int, enough: bool
) -> None:
    plan = Options().rounds_plan
    assert plan.are_enough([seconds / rounds] * rounds, samples) == enough


def test_rounds_that_are_to_fill_a_time_are_enough_when_they_do() -> None:
    plan = Options(rounds=2, measurement_time=0.5).rounds_plan
    assert not plan.are_enough([0.1] * 39, samples=8)
    assert plan.are_enough([0.1] * 41, samples=8)
