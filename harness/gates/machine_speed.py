"""Judging the machine's own speed by reference work, timed at both ends of a run and between a test's rounds."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from harness.figures.metrics import percent_change
from harness.figures.summary import mean_of_faster_half
from harness.gates.prediction import is_beyond, is_bimodal, predict
from harness.records.lines import ReferenceWorkRecord, RunRecord

# At the ends: a clock that has moved by less leaves every figure within its own minimum effect.
MIN_EFFECT_ON_GPU, MIN_EFFECT_ON_CPU = math.log(1.01), math.log(1.05)
# Two workloads, two moments, two directions: together they are wrong as often as one figure in one direction.
PROBABILITY = 1 - 0.02 / 8


def disturbances(run: RunRecord) -> list[str]:
    """Return what disturbed the GPU at an end of a run, in words: no figure can be trusted then."""
    throttled = [
        f"the GPU was throttled at the {record.moment} of the run: {', '.join(record.throttled)}"
        for record in run.reference_work
        if record.throttled
    ]
    return throttled + [
        f"{record.other_processes} other processes were using the GPU at the {record.moment} of the run"
        for record in run.reference_work
        if record.other_processes
    ]


def doubts(run: RunRecord, baseline: Sequence[RunRecord]) -> list[str]:
    """Return in words where the machine was another at an end of the run than the baseline's sessions predict."""
    # That speaks against times without readings of their own: those with readings are compared at their own speed.
    found: list[str] = []
    here, minimum_effect = speeds_at_ends(run), _minimum_effect(run)
    for name, values in _by_name(map(speeds_at_ends, baseline)).items():
        if name not in here:
            found.append(f"the {name} is missing that the baseline has")
        elif len(values) > 1:
            prediction = predict(values, minimum_effect, PROBABILITY)
            change = here[name] - float(prediction.centre)
            if is_beyond(prediction, abs(change)):
                limit = percent_change(float(prediction.limit))
                took = f"took {percent_change(change)} of its time in the baseline (limit ±{limit})"
                found.append(f"the {name}, work that never changes, {took}")
    return found


def baseline_doubts(baseline: Sequence[RunRecord]) -> list[str]:
    """Return why the baseline's machine cannot be predicted at the ends: its sessions ran at two speeds."""
    # Readings that merely scatter only widen their own limit: they are short, and figures have a spread of their own.
    minimum_effect = _minimum_effect(baseline[0])
    ranges = ", ".join(
        f"the {name} by {percent_change(max(values) - min(values))}"
        for name, values in _by_name(map(speeds_at_ends, baseline)).items()
        if is_bimodal(values, minimum_effect)
    )
    return [f"the baseline's machine ran at two speeds: its sessions differ in {ranges}"] if ranges else []


def speeds_at_ends(run: RunRecord) -> dict[str, float]:
    """Return the logarithm of each workload's seconds at each end of the run, by name; of the faster half."""
    # A slower clock slows every round down; what else runs for a moment slows some, and says nothing of the rest.
    return {
        f"{work} at the {record.moment}": mean_of_faster_half(logarithms)
        for record in run.reference_work
        if not record.test
        for work, logarithms in _logarithms(record)
    }


def speeds_in_tests(run: RunRecord) -> dict[tuple[str, str], float]:
    """Return the logarithm of each workload's seconds during each test, by test and workload; of the faster half."""
    rounds: dict[tuple[str, str], list[float]] = {}
    for record in run.reference_work:
        for work, logarithms in _logarithms(record) if record.test else ():
            rounds.setdefault((record.test, work), []).extend(logarithms)
    return {place: mean_of_faster_half(logarithms) for place, logarithms in rounds.items()}


def speeds_beside(readings: Mapping[tuple[str, str], float], tests: Sequence[str]) -> dict[str, float]:
    """Return how fast the machine was during some tests, as logarithms of seconds by workload; empty if none was timed.

    `readings` are a session's `speeds_in_tests`: of one test each workload, of several their mean for each test.
    """
    by_test = {test: {work: value for (at, work), value in readings.items() if at == test} for test in tests}
    if not tests or not all(by_test.values()):
        return {}
    if len(by_test) == 1:
        return {f"the {work} during {tests[0]}": value for work, value in by_test[tests[0]].items()}
    return {f"what never changes during {test}": fmean(values.values()) for test, values in by_test.items()}


def _logarithms(record: ReferenceWorkRecord) -> Iterator[tuple[str, list[float]]]:
    for work, seconds in record.seconds_by_work.items():
        logarithms = [math.log(value) for value in seconds if value > 0]
        if logarithms:  # of a clock that stood still there is no speed
            yield work, logarithms


def _by_name(sessions: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for session in sessions:
        for name, value in session.items():
            found.setdefault(name, []).append(value)
    return found


def _minimum_effect(run: RunRecord) -> float:
    return MIN_EFFECT_ON_GPU if run.header.on_gpu else MIN_EFFECT_ON_CPU
