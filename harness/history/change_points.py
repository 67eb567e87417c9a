"""Change points of one figure, read online: each session is judged as it comes, by those before it alone.

The sessions up to some R predict those behind them (`harness.gates.prediction`, at the machine's own speed where it was
read). How far each lies from that, in standard deviations and cut off at CUT_OFF, is averaged over the last 3, 5, 7, 8,
16 and 30 sessions. A change is named once one of these means is so large that

1. it is beyond Student's t for its level, sessions that resemble their neighbours counted as fewer (AR(1) errors: Box
   and Jenkins, Time Series Analysis, chapter 2), and beyond a number of standard deviations of its own, which spends
   few false alarms where a change would be found anyway;
2. and the change is a fifth of the figure's minimum effect or more.

Because of the cut-off two sessions far off are not enough by themselves, three are. Tables and levels are as simulated:
at most 0.05 false alarms per 100 sessions and figure (tests/harness/history).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from harness.figures.intervals import Interval
from harness.figures.student import t_quantile
from harness.gates.prediction import (
    MIN_DEGREES_OF_FREEDOM,
    MIN_SPEED_CHANGE,
    creep,
    predict,
)

# numpy is imported late, as in harness.gates.prediction.
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# By sessions in the window: the level, and from how many standard deviations on the mean counts, for a reference of
# FULL_REFERENCE sessions.
WINDOWS = {3: (3e-3, 2.65), 5: (1e-3, 1.85), 7: (3e-3, 1.35), 8: (5e-3, 1.17), 16: (1e-4, 0.0), 30: (1e-4, 0.0)}
CUT_OFF = 3.2
# Below FULL_REFERENCE sessions nobody knows yet how alike neighbours are: they are taken to be, at a strict level.
MIN_REFERENCE, FULL_REFERENCE, STRICT_LEVEL, PRESUMED_LIKENESS = 12, 28, 1e-4, 0.5
# A longer reference finds as much at stricter means.
GAIN_OF_REFERENCE = 0.3
# How far a slope may be from the presumed one, where the reference has taught nothing of it: as simulated.
PRESUMED_SLOPE_DEVIATION = 0.36
# The reference is renewed when it has grown by about this share: what is between says next to nothing new.
GROWTH = 1 / 8
# From how many standard errors on likeness of neighbours counts, and counts in full; and what is put on top of it.
# Behind a change it counts sooner: where it was missed, a false alarm is followed by another one back.
LIKENESS_COUNTS, LIKENESS_COUNTS_BEHIND_A_CHANGE, LIKENESS_MARGIN = (1.5, 2.0), (0.5, 1.5), 1.5
# Sessions at a new level before it is held against later ones.
MIN_AT_LEVEL = 12
MIN_CHANGE = 1 / 5
"""Of a figure's minimum effect: smaller changes are not named."""
# What never varies, as memory may, is taken to spread by this part of such a change: less than CUT_OFF.
FLOOR_IN_CHANGE = 2.8


class ChangePoint(msgspec.Struct, frozen=True):
    """A figure changed at session `at`, counted from 0, which was known behind session `seen`, by how much."""

    at: int
    seen: int
    change: Interval


def change_points(
    values: Sequence[float],
    minimum_effect: float,
    speeds: Sequence[Sequence[float]] = (),
    *,
    tracks_machine_speed: bool = True,
) -> list[ChangePoint]:
    """Return the changes of a figure over its sessions in order, as they would have been named one by one.

    `speeds`: for each session C readings of the machine, or nothing.
    """
    import numpy as np

    known = np.asarray(speeds, dtype=np.float64) if len(speeds) and len(speeds[0]) else None
    if known is not None and MIN_REFERENCE - 1 - known.shape[1] < MIN_DEGREES_OF_FREEDOM:
        known = None
    series = _Series(np.asarray(values, dtype=np.float64), minimum_effect, known, tracks_machine_speed)
    begins, seen = [0], list[int]()
    while True:
        # What was learned of spread and slopes still holds: the sessions before a change are moved to the new level.
        aligned = series.values.copy()
        for before, at, end in zip(begins, begins[1:], [*begins[2:], *(each + 1 for each in seen[-1:])], strict=False):
            aligned[:at] += series.change(before, at, end).value
        moved = replace(series, values=aligned)
        named = alarms(aligned, minimum_effect, known, tracks_machine_speed=tracks_machine_speed, since=begins[-1])
        if not named.any():
            break
        seen.append(int(named.argmax()))
        begins.append(moved.beginning(begins[-1], seen[-1]))
    levels = zip(begins, begins[1:], seen, [*begins[2:], len(values)], strict=False)
    return [ChangePoint(at, last, series.change(before, at, max(end, last + 1))) for before, at, last, end in levels]


def alarms(
    values: npt.ArrayLike,
    minimum_effect: float,
    speeds: npt.ArrayLike | None = None,
    *,
    tracks_machine_speed: bool = True,
    since: int = 0,
) -> npt.NDArray[np.bool_]:
    """Return behind which sessions, along the last axis, a change would be named, were there no other before it.

    `since`: the first session of the present level, to which those before it have been moved.
    """
    import numpy as np

    series: Array = np.asarray(values, dtype=np.float64)
    readings = None if speeds is None else np.asarray(speeds, dtype=np.float64)
    count, found = series.shape[-1], np.zeros(series.shape, dtype=bool)
    least = max(MIN_REFERENCE, since + MIN_AT_LEVEL if since else 0)
    for reference, following in _references(least, count):
        end = min(following + max(WINDOWS) - 1, count)
        # Behind these sessions, this is the reference that leaves the whole window out.
        last = {
            window: np.arange(window - 1, min(following + window - 1, count) - reference)
            for window in WINDOWS
            if reference + window <= count
        }
        known, at = series[..., None, :reference], None
        if readings is not None:
            here = readings[..., reference:end, :]
            of_windows = [_means(here, window, places) for window, places in last.items()]
            at = (readings[..., None, :reference, :], np.concatenate([here, *of_windows], axis=-2))
        expected = predict(known, 0.0, speeds=at, tracks_machine_speed=tracks_machine_speed)
        residuals, level = _around_levels(expected.residuals, since)
        spread = _spread(np.sqrt((residuals**2).sum(axis=-1) / expected.degrees_of_freedom), minimum_effect)
        centre = expected.centre[..., : end - reference] if at else expected.centre
        away = np.clip((series[..., reference:end] - centre - level) / spread, -CUT_OFF, CUT_OFF)
        begins = end - reference
        for window, places in last.items():
            of_speed = 0.0
            if at:
                of_speed = expected.leverage[..., begins : begins + len(places)] - 1 / reference
                begins += len(places)
            mean = np.abs(_means(away[..., None], window, places)[..., 0])
            beyond = mean >= _limit(window, residuals, spread, of_speed, reference - since)
            found[..., reference + places] |= beyond & (mean * spread >= MIN_CHANGE * minimum_effect)
    return found


@dataclass(frozen=True, slots=True)
class _Series:
    """A figure over sessions, and the machine's readings in each, [N, C]."""

    values: Array
    minimum_effect: float
    speeds: Array | None
    tracks_machine_speed: bool

    def change(self, since: int, at: int, end: int) -> Interval:
        """Return how far the level of sessions `at` to `end` lies from that of those before."""
        both = None
        if self.speeds is not None and at - since - 1 - self.speeds.shape[1] >= MIN_DEGREES_OF_FREEDOM:
            both = (self.speeds[since:at], self.speeds[at:end])
        before, behind = [*self.values[since:at]], [*self.values[at:end]]
        return creep(before, behind, both, tracks_machine_speed=self.tracks_machine_speed)

    def beginning(self, since: int, seen: int) -> int:
        """Return where the change that was named behind session `seen` most probably began: the best split in two."""
        import numpy as np

        first = max(since + MIN_AT_LEVEL if since else MIN_REFERENCE, seen + 1 - max(WINDOWS))
        at = None if self.speeds is None else (self.speeds[None, :first], self.speeds[: seen + 1])
        known = self.values[None, :first]
        expected = predict(known, 0.0, speeds=at, tracks_machine_speed=self.tracks_machine_speed)
        spread = _spread(expected.spread, self.minimum_effect)
        away = np.clip((self.values[: seen + 1] - expected.centre) / spread, -CUT_OFF, CUT_OFF)

        def gain(split: int) -> float:
            before, behind = away[since:split], away[split:]
            sessions = len(before) * len(behind) / (len(before) + len(behind))
            return abs(float(behind.mean() - before.mean())) * math.sqrt(sessions)

        return max(range(first, seen), key=gain)


def _spread(found: Any, minimum_effect: float) -> Array:
    """Return a standard deviation, or what a figure that never varies is taken to have."""
    import numpy as np

    spread: Array = np.maximum(found, MIN_CHANGE * minimum_effect / FLOOR_IN_CHANGE)
    return spread


def _references(least: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the lengths that a reference has, each with the next one."""
    reference = least
    while reference < count:
        following = reference + max(1, int((reference - 20) * GROWTH))
        yield reference, following
        reference = following


def _around_levels(residuals: Array, since: int) -> tuple[Array, Any]:
    """Return residuals around the means of both levels, and how far the mean of the present one is from that of all."""
    import numpy as np

    if not since:
        return residuals, 0.0
    before, behind = (part.mean(axis=-1, keepdims=True) for part in (residuals[..., :since], residuals[..., since:]))
    return np.concatenate([residuals[..., :since] - before, residuals[..., since:] - behind], axis=-1), behind[..., 0]


def _limit(window: int, residuals: Array, spread: Array, of_speed: Any, at_level: int) -> Array:
    """Return from how many standard deviations on the mean of a window is a change.

    `of_speed`: what the leverage has of the machine's speed in it, for each window; `at_level`: sessions of the
    reference that are at the present level.
    """
    import numpy as np

    reference = residuals.shape[-1]
    counts = LIKENESS_COUNTS if at_level == reference else LIKENESS_COUNTS_BEHIND_A_CHANGE
    (level, least), likeness = WINDOWS[window], _likeness(residuals, spread, counts)
    if at_level < FULL_REFERENCE:
        level = STRICT_LEVEL
    if reference < FULL_REFERENCE:
        likeness = np.maximum(likeness, PRESUMED_LIKENESS)
    lags = np.arange(1, window)
    # Variance of a mean of so many neighbours, and of the mean of very many, in those of independent ones.
    of_window = 1 + 2 * ((1 - lags / window) * likeness[..., None] ** lags).sum(axis=-1)
    of_reference = (1 + likeness) / (1 - likeness)
    leverage = 1 / reference + (1 / at_level if at_level < reference else 0.0)
    # Slopes stay as uncertain as they were presumed, in so far as the reference has not taught them.
    of_slopes = (PRESUMED_SLOPE_DEVIATION * MIN_SPEED_CHANGE) ** 2 * reference / spread**2
    deviation = np.sqrt(of_window / window + leverage * of_reference + of_speed * (1 + of_slopes))
    # A reference of fewer sessions is held to the same number of its own deviations, a longer one to more.
    shorter = math.sqrt((1 / window + leverage) / (1 / window + 1 / FULL_REFERENCE))
    longer = 1 + GAIN_OF_REFERENCE * max(0.0, 1 - FULL_REFERENCE * leverage)
    own = least * np.sqrt(of_window) * max(shorter, longer)
    found: Array = np.maximum(t_quantile(1 - level, reference - 1) * deviation, own)
    return found


def _likeness(residuals: Array, spread: Array, counts: tuple[float, float]) -> Array:
    """Return how alike neighbouring sessions are: the coefficient of AR(1) errors, 0 where it may well be none."""
    import numpy as np

    count = residuals.shape[-1]
    found = (residuals[..., 1:] * residuals[..., :-1]).sum(axis=-1) / (count * spread**2)
    found = found + (1 + 3 * found) / count  # its bias: Kendall, Biometrika 41, 1954
    errors = found * math.sqrt(count)
    weight = np.clip((errors - counts[0]) / (counts[1] - counts[0]), 0, 1)
    likeness: Array = np.clip((found + LIKENESS_MARGIN / math.sqrt(count)) * weight, 0, 0.9)
    return likeness


def _means(values: Array, window: int, last: Any) -> Array:
    """Return the means over windows of rows, [..., rows, C], by the places of their last rows."""
    import numpy as np

    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1, :]), values], axis=-2), axis=-2)
    means: Array = (sums[..., last + 1, :] - sums[..., last + 1 - window, :]) / window
    return means
