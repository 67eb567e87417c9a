"""Judging the machine's own speed by reference work, timed at both ends of a run and between a test's rounds."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from harness.figures.metrics import Metric, percent_change
from harness.figures.summary import mean_of_faster_half
from harness.gates.prediction import is_beyond, is_bimodal, predict
from harness.grouping import grouped
from harness.records.lines import ReferenceWorkRecord, RunRecord

# At the ends of a run: a smaller change of the clock leaves every figure within its minimum effect.
MIN_EFFECT_ON_GPU, MIN_EFFECT_ON_CPU = math.log(1.01), math.log(1.05)
# Two workloads, two moments and two directions share the error rate of one figure in one direction.
PROBABILITY = 1 - 0.02 / 8


def disturbances(run: RunRecord) -> list[str]:
    """Return sentences on throttling and other processes at the ends of a run, which void all its figures."""
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


def end_speed_problems(run: RunRecord, baseline: Sequence[RunRecord]) -> list[str]:
    """Return sentences on speeds at the run's ends that the baseline's sessions do not predict."""
    # They void times without readings of their own; times with readings are adjusted to the machine's speed.
    found: list[str] = []
    here, minimum_effect = speeds_at_ends(run), _minimum_effect(run)
    for name, values in _by_name(map(speeds_at_ends, baseline)).items():
        if name not in here:
            found.append(f"the {name} is missing, which the baseline has")
        elif len(values) > 1:
            prediction = predict(values, minimum_effect, PROBABILITY)
            change = here[name] - float(prediction.centre)
            if is_beyond(prediction, abs(change)):
                limit = percent_change(float(prediction.limit))
                took = f"took {percent_change(change)} against the baseline (limit ±{limit})"
                found.append(f"the {name}, which is reference work, {took}")
    return found


def baseline_speed_problems(baseline: Sequence[RunRecord]) -> list[str]:
    """Return a sentence where the baseline's sessions ran at two machine speeds."""
    # Readings that only scatter are no problem: they are short, and widen their own limit.
    minimum_effect = _minimum_effect(baseline[0])
    ranges = ", ".join(
        f"the {name} by {percent_change(max(values) - min(values))}"
        for name, values in _by_name(map(speeds_at_ends, baseline)).items()
        if is_bimodal(values, minimum_effect)
    )
    return [f"the baseline's machine ran at two speeds: its sessions differ in {ranges}"] if ranges else []


def speeds_at_ends(run: RunRecord) -> dict[str, float]:
    """Return the mean logarithm of the faster half of each workload's seconds, at each end of the run, by name."""
    # A slower clock slows every reading down; other processes slow only some of them, the slower half.
    return {
        f"{work} at the {record.moment}": mean_of_faster_half(logarithms)
        for record in run.reference_work
        if not record.test
        for work, logarithms in _logarithms(record)
    }


def speeds_in_tests(run: RunRecord) -> dict[tuple[str, str], float]:
    """Return the mean logarithm of the faster half of each workload's seconds, by test and workload."""
    rounds: dict[tuple[str, str], list[float]] = {}
    for record in run.reference_work:
        for work, logarithms in _logarithms(record) if record.test else ():
            rounds.setdefault((record.test, work), []).extend(logarithms)
    return {place: mean_of_faster_half(logarithms) for place, logarithms in rounds.items()}


def speeds_during(readings: Mapping[tuple[str, str], float], tests: Sequence[str]) -> dict[str, float]:
    """Return the machine's speed during `tests`, as logarithms of seconds by name; empty where a test has no readings.

    `readings`: a session's `speeds_in_tests`. One test gives an entry per workload, several give a mean per test.
    """
    by_test = {test: {work: value for (at, work), value in readings.items() if at == test} for test in tests}
    if not tests or not all(by_test.values()):
        return {}
    if len(by_test) == 1:
        return {f"the {work} during {tests[0]}": value for work, value in by_test[tests[0]].items()}
    return {f"the reference work during {test}": fmean(values.values()) for test, values in by_test.items()}


def speeds_of_figures(run: RunRecord, metrics: Mapping[str, Metric]) -> dict[str, tuple[float, ...]]:
    """Return the machine's speed during the tests of each figure that depends on it, by the figure's name."""
    readings = speeds_in_tests(run)
    tests = {name: metric.tests for name, metric in metrics.items() if metric.depends_on_speed}
    return {name: tuple(speeds_during(readings, each).values()) for name, each in tests.items()}


def _logarithms(record: ReferenceWorkRecord) -> Iterator[tuple[str, list[float]]]:
    for work, seconds in record.seconds_by_work.items():
        logarithms = [math.log(value) for value in seconds if value > 0]
        if logarithms:  # none where a clock moved by hand stood still
            yield work, logarithms


def _by_name(sessions: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    return grouped(each for session in sessions for each in session.items())


def _minimum_effect(run: RunRecord) -> float:
    return MIN_EFFECT_ON_GPU if run.header.on_gpu else MIN_EFFECT_ON_CPU
