"""Change points: few false alarms whatever the noise is like, and real changes named soon and where they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness.history.change_points import ChangePoint, FigureOverSessions
from tests.harness.history.simulated_histories import (
    MINIMUM_EFFECT,
    UNCHANGED,
    alarms_in_recorded_sessions,
    alarms_per_100_sessions,
    alike,
    independent,
    share_found,
    share_of_creep_found,
    under_two_clocks,
    with_spikes,
)

YEAR, RUNS = 365, 400


def change_points(values: Any, minimum_effect: float, speeds: Any = None) -> list[ChangePoint]:
    return FigureOverSessions(np.asarray(values), minimum_effect, speeds).change_points()


@pytest.mark.parametrize("noise", [independent, alike, with_spikes])
def test_unchanged_sessions_give_few_alarms(noise) -> None:  # type: ignore[no-untyped-def]
    assert alarms_per_100_sessions(noise(np.random.default_rng(1), (RUNS, YEAR))) <= 0.05


def test_a_clock_with_two_states_gives_few_alarms_where_it_was_read() -> None:
    values, readings = under_two_clocks(np.random.default_rng(2), (RUNS // 4, 200))
    assert alarms_per_100_sessions(values, readings) <= 0.05


def test_recorded_unchanged_sessions_give_none() -> None:
    assert alarms_in_recorded_sessions() == (0, 36, 7)


def test_a_change_is_found_soon() -> None:
    assert share_found(0.05, 3, runs=4000) >= 0.95
    assert share_found(-0.05, 3, runs=4000) >= 0.95
    assert share_found(0.02, 8, runs=4000) >= 0.95


def test_creep_is_found_before_its_fourth_step() -> None:
    assert share_of_creep_found(5, runs=1000) >= 0.95


def test_each_change_has_its_place_its_size_and_an_interval() -> None:
    values = independent(np.random.default_rng(4), (1, 150), 0.003)[0]
    values[50:] += 0.04
    values[100:] -= 0.02
    up, down = change_points(values, MINIMUM_EFFECT)
    assert (up.at, down.at) == (50, 100)
    assert 50 < up.seen < 55
    assert 100 < down.seen < 105
    assert up.change.low < 0.04 < up.change.high
    assert down.change.low < -0.02 < down.change.high


def test_what_was_said_is_not_taken_back_by_later_sessions() -> None:
    values = independent(np.random.default_rng(8), (1, 120))[0]
    values[40:] += 0.05
    values[80:] -= 0.05
    known = [(each.at, each.seen) for each in change_points(values, MINIMUM_EFFECT)]
    assert len(known) >= 2
    for count in range(1, 121, 2):
        so_far = [(each.at, each.seen) for each in change_points(values[:count], MINIMUM_EFFECT)]
        assert so_far == [each for each in known if each[1] < count]


def test_two_sessions_far_off_are_no_change_and_three_are() -> None:
    values = independent(np.random.default_rng(9), (1, UNCHANGED + 8))[0]
    values[UNCHANGED : UNCHANGED + 2] += 0.5
    assert not change_points(values, MINIMUM_EFFECT)
    values[UNCHANGED + 2] += 0.5
    assert [each.at for each in change_points(values[: UNCHANGED + 3], MINIMUM_EFFECT)] == [UNCHANGED]


def test_a_slower_machine_is_no_change_where_it_was_read() -> None:
    draw = np.random.default_rng(10)
    speeds = draw.normal(0, 0.03, (60, 2))
    speeds[40:] += 0.05
    values = speeds.mean(axis=1) + draw.normal(0, 0.01, 60)
    assert not change_points(values, MINIMUM_EFFECT, speeds)
    assert change_points(values, MINIMUM_EFFECT)


def test_what_never_varies_changes_only_by_what_counts() -> None:
    values = np.full(60, math.log(2**30))
    assert not change_points(values, MINIMUM_EFFECT)
    values[40:] += 0.19 * MINIMUM_EFFECT
    assert not change_points(values, MINIMUM_EFFECT)
    values[40:] += 0.02 * MINIMUM_EFFECT
    assert [(each.at, each.seen) for each in change_points(values, MINIMUM_EFFECT)] == [(40, 42)]


@pytest.mark.parametrize("count", [0, 1, 2, 12, 15])
def test_few_sessions_say_nothing(count: int) -> None:
    assert not change_points([0.0, 5.0] * (count // 2) + [0.0] * (count % 2), MINIMUM_EFFECT)
