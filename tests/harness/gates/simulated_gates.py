"""Simulated sessions, judged by the functions that judge real ones: how often a gate is wrong, and what it finds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.figures.metrics import MODEL_STAGE_ON_GPU, Metric
from harness.gates.prediction import (
    Prediction,
    extrapolates,
    is_beyond,
    is_bimodal,
    is_regression,
    is_too_noisy,
    predict,
)
from harness.measuring.reference_work import IN_TESTS

# Sessions of a baseline, and the minimum effect of a model stage on a GPU, the smallest of all.
SESSIONS, MINIMUM_EFFECT = 10, math.log1p(MODEL_STAGE_ON_GPU)
NOISES = (0.005, 0.01, 0.02)
REFERENCE_NOISE, REFERENCE_NOISE_IN_TESTS = 0.008, 0.02


def drawn_sessions(noise: float, runs: int, sessions: int = SESSIONS, seed: int = 4) -> tuple[Any, Any, Any]:
    """Return baselines [runs, sessions], and the two sessions of a gate [runs], all of one machine."""
    drawn = np.random.default_rng(seed).normal(0, noise, (runs, sessions + 2))
    return drawn[:, :sessions], drawn[:, sessions], drawn[:, sessions + 1]


def is_confirmed(prediction: Prediction, first: Any, second: Any) -> Any:
    """Return whether two sessions make a change: both are beyond the limit, and so is their mean beyond its own."""
    both = is_beyond(prediction, first) & is_beyond(prediction, second)
    return is_regression(both, prediction.limit_of_mean, first, second)


def share_that_fails(noise: float, effect: float = 0.0, *, runs: int, sessions: int = SESSIONS) -> float:
    """Return how often a figure is called a regression that is slower by `effect`, or not at all."""
    baseline, first, second = drawn_sessions(noise, runs, sessions)
    prediction = predict(baseline, MINIMUM_EFFECT)
    judged = ~(is_too_noisy(prediction) | is_bimodal(baseline, MINIMUM_EFFECT))
    slower = math.log1p(effect) - prediction.centre
    return float((judged & is_confirmed(prediction, first + slower, second + slower)).mean())


def share_found_at_the_edge(noise: float, effect: float = 0.0, *, runs: int, sessions: int = SESSIONS) -> float:
    """The same for a stage on a GPU, whose minimum effect follows the spread of the baseline's sessions."""
    baseline, first, second = drawn_sessions(noise, runs, sessions)
    stage = Metric.of("time", "decode", value=0.0, rounds=1, minimum_effect=MINIMUM_EFFECT)
    prediction = predict(baseline, np.vectorize(stage.effect_at_spread)(predict(baseline, 0.0).spread))
    slower = math.log1p(effect) - prediction.centre
    return float(is_confirmed(prediction, first + slower, second + slower).mean())


def share_of_alarms_under_two_clocks(
    noise: float, slower: float, often: float, *, runs: int, watched: bool = True
) -> float:
    """Return how often a clock with two states is taken for a regression.

    Each session runs at one of two clocks, `slower` by chance `often`; so does its reference work, if `watched`.
    """
    draw = np.random.default_rng(7)
    clock = slower * (draw.random((runs, SESSIONS + 2)) < often)
    stage, reference = clock + draw.normal(0, noise, clock.shape), clock + draw.normal(0, REFERENCE_NOISE, clock.shape)
    baseline, known = stage[:, :SESSIONS], reference[:, :SESSIONS]
    prediction, expected = predict(baseline, MINIMUM_EFFECT), predict(known, MINIMUM_EFFECT)
    judged = ~(is_bimodal(baseline, MINIMUM_EFFECT) | is_too_noisy(prediction))
    if watched:
        judged &= ~is_bimodal(known, MINIMUM_EFFECT)
        for session in (SESSIONS, SESSIONS + 1):
            judged &= ~is_beyond(expected, np.abs(reference[:, session] - expected.centre))
    loss = stage[:, SESSIONS:] - prediction.centre[:, None]
    return float((judged & is_confirmed(prediction, loss[:, 0], loss[:, 1])).mean())


def share_that_fails_on_a_busy_machine(
    noise: float,
    effect: float = 0.0,
    *,
    runs: int,
    busy: float = 0.10,
    later: float = 0.0,
    sessions: int = 20,
    minimum_effect: float = MINIMUM_EFFECT,
    tracks_machine_speed: bool = True,
) -> float:
    """Return how often a time is called a regression whose machine is slower from session to session by `busy`.

    The time follows that a little more than the workloads beside it, each of which has a noise of its own. `later`: by
    how much the machine is slower in the sessions of the gate than in those of the baseline.
    """
    draw = np.random.default_rng(11)
    of_gate = np.arange(sessions + 2) >= sessions
    speed = draw.normal(0, busy, (runs, sessions + 2)) + later * of_gate
    beside = speed[..., None] + draw.normal(0, REFERENCE_NOISE_IN_TESTS, (*speed.shape, len(IN_TESTS)))
    time = math.log1p(effect) * of_gate + 1.2 * speed + draw.normal(0, noise, speed.shape)
    baseline, known = time[:, :sessions], beside[:, :sessions]
    first, second = (
        predict(baseline, minimum_effect, speeds=(known, beside[:, at]), tracks_machine_speed=tracks_machine_speed)
        for at in (-2, -1)
    )
    judged = ~(is_too_noisy(first) | is_bimodal(first.residuals, minimum_effect))
    judged &= ~(extrapolates(first) | extrapolates(second))
    losses = time[:, -2] - first.centre, time[:, -1] - second.centre
    both = is_beyond(first, losses[0]) & is_beyond(second, losses[1])
    return float((judged & is_regression(both, second.limit_of_mean, *losses)).mean())
