"""Each figure over the sessions of a history, its changes, and joint changes of several figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from harness.figures.intervals import Interval
from harness.figures.metrics import Metric
from harness.gates.prediction import MIN_DEGREES_OF_FREEDOM, MIN_SESSIONS, creep
from harness.history.change_points import MIN_CHANGE, MIN_REFERENCE, ChangePoint, FigureOverSessions
from harness.history.sessions import Session

# A joint change of so many times, and of this fraction of all times, is reported as the machine's.
MIN_TOGETHER, SHARE_TOGETHER = 3, 0.6
# Most sessions between the places of one change in different figures.
NEAR = 2
# Latest sessions that are compared with a release.
LATEST = 3


@dataclass(slots=True)
class Series:
    """A figure under one set of conditions: values by session, `places` of the sessions in the history, changes."""

    name: str
    conditions: int
    metric: Metric  # the latest one
    places: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    speeds: list[tuple[float, ...]] = field(default_factory=list)
    changes: list[ChangePoint] = field(default_factory=list)

    def level(self) -> list[float]:
        """Return the values since the last change."""
        return self.values[self.changes[-1].at if self.changes else 0 :]


Change = tuple[Series, Interval, int]
"""A figure, its change with interval, and the place in the history of the first session after the change."""


def series_of(sessions: Sequence[Session]) -> list[Series]:
    """Return every figure of a history with its changes, in the order of first appearance."""
    found: dict[tuple[str, int], Series] = {}
    for place, session in enumerate(sessions):
        for name, metric in session.metrics.items():
            series = found.setdefault((name, session.conditions), Series(name, session.conditions, metric))
            series.metric = metric
            series.places.append(place)
            series.values.append(metric.value)
            series.speeds.append(session.speeds.get(name, ()))
    for series in found.values():
        metric, speeds = series.metric, _usable(series.speeds, MIN_REFERENCE)
        line = FigureOverSessions(np.array(series.values), metric.minimum_effect, speeds, metric.tracks_machine_speed)
        series.changes = line.change_points()
    return list(found.values())


def events_of(found: Sequence[Series]) -> list[list[Change]]:
    """Return the changes by event, in order: nearby changes are one event, joint changes of times another."""
    changes = [(each, point.change, each.places[point.at]) for each in found for point in each.changes]
    changes.sort(key=lambda each: (each[0].conditions, each[2]))
    apart = [one[0].conditions != other[0].conditions or other[2] - one[2] > NEAR for one, other in pairwise(changes)]
    starts = [at for at, is_apart in enumerate(apart, 1) if is_apart]
    groups = [changes[start:end] for start, end in pairwise([0, *starts, len(changes)])]
    events = [event for group in groups for event in _split_joint_changes(group, found) if event]
    return sorted(events, key=lambda event: event[0][2])


def times_changed_jointly(event: Sequence[Change], found: Sequence[Series]) -> int:
    """Return the number of all times where `event` is a joint change of most of them, else 0."""
    conditions, up = event[0][0].conditions, event[0][1].value > 0
    times = sum(each.metric.kind == "time" and each.conditions == conditions for each in found)
    together = all(each.metric.kind == "time" and (change.value > 0) == up for each, change, _ in event)
    return times if together and len(event) >= max(MIN_TOGETHER, SHARE_TOGETHER * times) else 0


def creep_of(found: Sequence[Series], release: Sequence[Series]) -> Iterator[Change]:
    """Yield the figures whose latest sessions differ from a release's, by `creep`, beyond MIN_CHANGE."""
    known = {each.name: each for each in release}
    for series in (each for each in found if each.name in known):
        before, latest = known[series.name], series.level()[-LATEST:]
        speeds = _usable([*before.speeds, *series.speeds[-len(latest) :]], len(before.speeds))
        at = None if speeds is None else (speeds[: len(before.speeds)], speeds[len(before.speeds) :])
        if len(before.values) >= MIN_SESSIONS:
            change = creep(before.values, latest, at, tracks_machine_speed=series.metric.tracks_machine_speed)
            if change.excludes_zero and abs(change.value) > MIN_CHANGE * series.metric.minimum_effect:
                yield series, change, series.places[-1]


def _usable(speeds: Sequence[tuple[float, ...]], sessions: int) -> np.ndarray | None:
    """Return the readings [N, C] if all sessions have C, few enough to estimate a spread from `sessions`; else None."""
    counts = {len(each) for each in speeds}
    return np.array(speeds) if len(counts) == 1 and 0 < max(counts) < sessions - MIN_DEGREES_OF_FREEDOM else None


def _split_joint_changes(group: list[Change], found: Sequence[Series]) -> Iterator[list[Change]]:
    """Split joint changes of times, up and down, from the rest of a group of nearby changes."""
    for up in (True, False):
        moved = [each for each in group if each[0].metric.kind == "time" and (each[1].value > 0) == up]
        if moved and times_changed_jointly(moved, found):
            yield moved
            group = [each for each in group if each not in moved]
    yield group
