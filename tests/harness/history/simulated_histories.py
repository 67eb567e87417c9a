"""Simulated sessions of one figure, on the scale of logarithms, judged by the functions that judge real ones."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from harness.history.change_points import FigureOverSessions
from tests import ROOT

MINIMUM_EFFECT = math.log(1.03)
NOISE, UNCHANGED, READING_NOISE = 0.01, 30, 0.008


def independent(draw: np.random.Generator, shape: tuple[int, int], noise: float = NOISE) -> Any:
    """Return histories [runs, sessions] whose sessions know nothing of one another."""
    return draw.normal(0, noise, shape)


def alike(draw: np.random.Generator, shape: tuple[int, int], likeness: float = 0.6) -> Any:
    """Return histories in which each session resembles the one before it: AR(1)."""
    found = draw.normal(0, NOISE, shape)
    for at in range(1, shape[1]):
        found[:, at] = likeness * found[:, at - 1] + math.sqrt(1 - likeness**2) * found[:, at]
    return found


def with_spikes(draw: np.random.Generator, shape: tuple[int, int]) -> Any:
    """Return histories in which one session of twenty is slower by 5 %."""
    return independent(draw, shape) + 0.05 * (draw.random(shape) < 0.05)


def under_two_clocks(draw: np.random.Generator, shape: tuple[int, int], stays: float = 0.9) -> tuple[Any, Any]:
    """Return histories under a clock of two states 3 % apart, and its two readings in each session."""
    turns = draw.random(shape) >= stays
    turns[:, 0] = draw.random(shape[0]) < 0.5
    clock = 0.03 * (np.cumsum(turns, axis=1) % 2)
    readings = clock[..., None] + draw.normal(0, READING_NOISE, (*shape, 2))
    return clock + independent(draw, shape), readings


def alarms_per_100_sessions(values: Any, readings: Any = None) -> float:
    """Return how many changes were named in histories without any, per 100 sessions."""
    first = FigureOverSessions(values, MINIMUM_EFFECT, readings).alarms()
    # Only those with a first one can have more.
    named = np.flatnonzero(first.any(axis=-1))
    of_each = [None] * len(values) if readings is None else readings
    count = sum(len(FigureOverSessions(values[run], MINIMUM_EFFECT, of_each[run]).change_points()) for run in named)
    return 100 * count / first.size


def share_found(change: float, within: int, *, runs: int, noise: float = NOISE, seed: int = 3) -> float:
    """Return how often a change behind 30 unchanged sessions is named so soon."""
    values = independent(np.random.default_rng(seed), (runs, UNCHANGED + within), noise)
    values[:, UNCHANGED:] += change
    named = FigureOverSessions(values, MINIMUM_EFFECT).alarms()
    unspoilt = ~named[:, :UNCHANGED].any(axis=-1)
    return float(named[unspoilt, UNCHANGED:].any(axis=-1).mean())


def share_of_creep_found(apart: int, *, runs: int, seed: int = 5) -> float:
    """Return how often five steps of 1 %, so many sessions apart, are named before the fourth; noise 0.3 %."""
    values = independent(np.random.default_rng(seed), (runs, UNCHANGED + 3 * apart), 0.003)
    for step in range(3):
        values[:, UNCHANGED + step * apart :] += 0.01
    found = FigureOverSessions(values, MINIMUM_EFFECT).alarms()
    return float(found[:, UNCHANGED:].any(axis=-1).mean())


def alarms_in_recorded_sessions() -> tuple[int, int, int]:
    """Return how many changes are named in unchanged sessions that were recorded, of how many sessions and figures."""
    recorded = msgspec.json.decode((ROOT / "tests" / "harness" / "files" / "recorded_sessions.json").read_bytes())
    named = 0
    for figure in recorded["figures"].values():
        readings = np.array(figure["readings"]) if figure["readings"][0] else None
        values, tracks = np.array(figure["values"]), figure["tracks_machine_speed"]
        named += len(FigureOverSessions(values, figure["minimum_effect"], readings, tracks).change_points())
    return named, len(values), len(recorded["figures"])
