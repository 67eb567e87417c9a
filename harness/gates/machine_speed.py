"""Judging the machine's own speed: by reference work, timed at both ends of a run and between a test's rounds.

Where the work took longer than in the baseline, the machine is slower, and not the program under test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from harness.figures.summary import mean_of_faster_half
from harness.gates.prediction import is_beyond, is_bimodal, predict
from harness.measuring.reference_work import WORKLOADS
from harness.records.lines import ReferenceWorkRecord, RunRecord

# At the ends: a clock that has moved by less leaves every figure within its own minimum effect.
MIN_EFFECT_ON_GPU, MIN_EFFECT_ON_CPU = math.log(1.03), math.log(1.05)
# Two workloads, two moments, two directions: together they are wrong as often as one figure in one direction.
PROBABILITY = 1 - 0.02 / 8


def disturbances(run: RunRecord) -> list[str]:
    """Return what disturbed the GPU at an end of a run, in words: no figure can be trusted then."""
    found = [
        f"the GPU was throttled at the {each.moment} of the run: {', '.join(each.throttled)}"
        for each in run.reference_work
        if each.throttled
    ]
    return found + [
        f"{each.other_processes} other processes were using the GPU at the {each.moment} of the run"
        for each in run.reference_work
        if each.other_processes
    ]


def doubts(run: RunRecord, baseline: Sequence[RunRecord]) -> list[str]:
    """Return in words where the machine was another at an end of the run than the baseline's sessions predict.

    That speaks against times beside which nothing was read: those with readings are compared at their own speed.
    """
    found: list[str] = []
    smallest, here = _smallest(run), speeds(run)
    for name, values in _by_name(map(speeds, baseline)).items():
        found += _departure(f"the {name}", here.get(name), values, smallest)
    return found


def conditions(readings: Mapping[tuple[str, str], float], tests: Sequence[str]) -> dict[str, float]:
    """Return how fast the machine was during some tests, as logarithms of seconds by workload; empty if none was timed.

    `readings` are a session's `speeds_in_tests`: of one test each workload, of several their mean for each test.
    """
    by_test = {test: {work: value for (at, work), value in readings.items() if at == test} for test in tests}
    if not tests or not all(by_test.values()):
        return {}
    if len(by_test) == 1:
        return {f"the {work} during {tests[0]}": value for work, value in by_test[tests[0]].items()}
    return {f"what never changes during {test}": fmean(found.values()) for test, found in by_test.items()}


def baseline_doubts(baseline: Sequence[RunRecord]) -> list[str]:
    """Return why the baseline's machine cannot be predicted at the ends: its sessions ran at two speeds, as of a clock.

    Sentinels that merely scatter only widen their own limit: they are short, and figures have a spread of their own.
    """
    smallest = _smallest(baseline[0])
    by_name = _by_name(map(speeds, baseline))
    two = {name: values for name, values in by_name.items() if is_bimodal(values, smallest)}
    if not two:
        return []
    ranges = ", ".join(f"the {name} by {_percent(max(values) - min(values))}" for name, values in two.items())
    return [f"the baseline's machine ran at two speeds: its sessions differ in {ranges}"]


def speeds(run: RunRecord) -> dict[str, float]:
    """Return the logarithm of each workload's seconds at each end of the run, by name; as of figures, its faster half.

    A clock that is slower slows every round down; what else runs for a moment slows some, and says nothing of the rest.
    """
    found = {}
    for each in run.reference_work:
        for work, logarithms in _logarithms(each) if not each.test else ():
            found[f"{work} at the {each.moment}"] = mean_of_faster_half(logarithms)
    return found


def speeds_in_tests(run: RunRecord) -> dict[tuple[str, str], float]:
    """Return the logarithm of each workload's seconds during each test, by test and workload; as of figures."""
    rounds: dict[tuple[str, str], list[float]] = {}
    for each in run.reference_work:
        for work, logarithms in _logarithms(each) if each.test else ():
            rounds.setdefault((each.test, work), []).extend(logarithms)
    return {place: mean_of_faster_half(logarithms) for place, logarithms in rounds.items()}


def _logarithms(of: ReferenceWorkRecord) -> Iterable[tuple[str, list[float]]]:
    for work, seconds in zip(WORKLOADS, (of.product_s, of.copy_s, of.read_s, of.resize_s), strict=True):
        logarithms = [math.log(value) for value in seconds if value > 0]
        if logarithms:  # of a clock that stood still there is no speed
            yield work, logarithms


def _departure(what: str, here: float | None, values: Sequence[float], smallest: float) -> list[str]:
    """Return in words how far a workload's speed lies from what the baseline predicts, where that is too far."""
    if here is None:
        return [f"{what} is missing that the baseline has"]
    if len(values) < 2:
        return []
    prediction = predict(values, smallest, PROBABILITY)
    change = here - float(prediction.centre)
    if not is_beyond(prediction, abs(change)):
        return []
    limit = _percent(float(prediction.limit))
    return [f"{what}, work that never changes, took {_percent(change)} of its time in the baseline (limit ±{limit})"]


def _by_name(sessions: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for session in sessions:
        for name, value in session.items():
            found.setdefault(name, []).append(value)
    return found


def _smallest(run: RunRecord) -> float:
    return MIN_EFFECT_ON_GPU if run.header.on_gpu else MIN_EFFECT_ON_CPU


def _percent(logarithm: float) -> str:
    return f"{100 * math.expm1(logarithm):+.1f} %"
