"""Change points of one figure, read online: each session is judged as it comes, by those before it alone.

The sessions up to some R predict those behind them (`harness.gates.prediction`, at the machine's own speed where it was
read). How far each lies from that, in standard deviations and cut off at CUT_OFF, is averaged over the last 3 to 30
sessions. A change is named once such a mean is beyond Student's t, where sessions that resemble their neighbours count
for fewer (AR(1) errors: Box and Jenkins, Time Series Analysis, chapter 2), beyond a least number of deviations, which
spends no false alarms where a change is found anyway, and beyond a fifth of the minimum effect. Because of the cut-off
two sessions far off are not enough by themselves, three are. All levels are as simulated: at most 0.05 false alarms per
100 sessions and figure (tests/harness/history).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from harness.figures.intervals import Interval
from harness.figures.student import t_quantile
from harness.gates.prediction import MIN_DEGREES_OF_FREEDOM, MIN_SPEED_CHANGE, Prediction, creep, predict

Array = npt.NDArray[np.float64]

# By sessions in the window: the level, and the least mean that counts behind a reference of FULL_REFERENCE sessions.
WINDOWS = {3: (3e-3, 2.65), 5: (1e-3, 1.85), 7: (3e-3, 1.35), 8: (5e-3, 1.17), 16: (1e-4, 0.0), 30: (1e-4, 0.0)}
CUT_OFF = 3.2
# Below FULL_REFERENCE sessions nobody knows yet how alike neighbours are: they are taken to be, at a strict level.
MIN_REFERENCE, FULL_REFERENCE, STRICT_LEVEL, PRESUMED_LIKENESS = 12, 28, 1e-4, 0.5
# Sessions at a new level before it is held against later ones.
MIN_AT_LEVEL = 12
MIN_SESSIONS = MIN_REFERENCE + min(WINDOWS)
"""Of a figure: with fewer no change of it can be named."""
# A longer reference finds as much at means so much larger. It is renewed when it has grown by about GROWTH.
GAIN_OF_REFERENCE, GROWTH = 0.3, 1 / 8
# How far a slope may be from the presumed one, where the reference has taught nothing of it.
PRESUMED_SLOPE_DEVIATION = 0.36
# From how many standard errors on likeness of neighbours counts, and counts in full; and what is put on top of it.
# Behind a change it counts sooner: where it was missed, a false alarm is followed by another one back.
LIKENESS_COUNTS, LIKENESS_COUNTS_BEHIND_A_CHANGE, LIKENESS_MARGIN = (1.5, 2.0), (0.5, 1.5), 1.5
MIN_CHANGE = 1 / 5
"""Of a figure's minimum effect: smaller changes are not named."""
# What never varies, as memory may, is taken to spread by this part of it: such a change is less than CUT_OFF of them.
FLOOR = MIN_CHANGE / 2.8


class ChangePoint(msgspec.Struct, frozen=True):
    """A figure changed at session `at`, counted from 0, which was known behind session `seen`, by how much."""

    at: int
    seen: int
    change: Interval


@dataclass(frozen=True, slots=True)
class OverSessions:
    """A figure in each session, [..., N], on its own scale, and C readings of the machine there, [..., N, C]."""

    values: Array
    minimum_effect: float
    speeds: Array | None = None
    tracks_machine_speed: bool = True

    def change_points(self) -> list[ChangePoint]:
        """Return the changes of one figure in order, as they would have been named session by session."""
        begins, seen = [0], list[int]()
        while True:
            # What was learned of spread and slopes still holds: sessions before a change are moved to the new level.
            moved, ends = self.values.copy(), [*begins[2:], *(each + 1 for each in seen[-1:])]
            for before, at, end in zip(begins, begins[1:], ends, strict=False):
                moved[:at] += self.change(before, at, end).value
            aligned = replace(self, values=moved)
            named = aligned.alarms(since=begins[-1])
            if not named.any():
                break
            seen.append(int(named.argmax()))
            begins.append(aligned._beginning(begins[-1], seen[-1]))
        levels = zip(begins, begins[1:], seen, [*begins[2:], len(self.values)], strict=False)
        return [ChangePoint(at, last, self.change(before, at, max(end, last + 1))) for before, at, last, end in levels]

    def change(self, since: int, at: int, end: int) -> Interval:
        """Return how far the level of sessions `at` to `end` lies from that of those before, from `since` on."""
        before, behind, speeds = [*self.values[since:at]], [*self.values[at:end]], None
        if self.speeds is not None and at - since - 1 - self.speeds.shape[-1] >= MIN_DEGREES_OF_FREEDOM:
            speeds = (self.speeds[since:at], self.speeds[at:end])
        return creep(before, behind, speeds, tracks_machine_speed=self.tracks_machine_speed)

    def alarms(self, since: int = 0) -> npt.NDArray[np.bool_]:
        """Return behind which sessions a change would be named, were there no other before it.

        `since`: the first session of the present level, to which those before it have been moved.
        """
        count, found = self.values.shape[-1], np.zeros(self.values.shape, dtype=bool)
        following = max(MIN_REFERENCE, since + MIN_AT_LEVEL * (since > 0))
        while following < count:
            reference, following = following, following + max(1, int((following - 20) * GROWTH))
            end = min(following + max(WINDOWS) - 1, count)
            # Behind these sessions, this is the reference that leaves the whole window out.
            fits = [window for window in WINDOWS if reference + window <= count]
            last = {window: np.arange(window - 1, min(following + window - 1, count) - reference) for window in fits}
            expected = self._expected(reference, end, last)
            residuals, level = expected.residuals, np.zeros(1)
            if since:
                level = residuals[..., since:].mean(axis=-1)
                before = residuals[..., :since] - residuals[..., :since].mean(axis=-1, keepdims=True)
                residuals = np.concatenate([before, residuals[..., since:] - level[..., None]], axis=-1)
            spread = self._spread(np.sqrt((residuals**2).sum(axis=-1) / expected.degrees_of_freedom))
            away = self.values[..., reference:end] - expected.centre[..., : end - reference] - level
            away, begins = np.clip(away / spread, -CUT_OFF, CUT_OFF), end - reference
            for window, places in last.items():
                at = expected.leverage[..., begins : begins + len(places)]
                of_speed, begins = at - 1 / reference if at.size else 0.0, begins + len(places)
                mean = np.abs(_means(away[..., None], window, places)[..., 0])
                beyond = mean >= _limit(window, residuals, spread, of_speed, reference - since)
                found[..., reference + places] |= beyond & (mean * spread >= MIN_CHANGE * self.minimum_effect)
        return found

    def _expected(self, reference: int, end: int, last: dict[int, Any]) -> Prediction:
        """Predict the sessions up to `end` by those of a reference, and then the means of windows at their speeds."""
        known = self.values[..., None, :reference]
        if self.speeds is None:
            return predict(known, 0.0)
        here = self.speeds[..., reference:end, :]
        at = np.concatenate([here, *(_means(here, window, places) for window, places in last.items())], axis=-2)
        speeds = (self.speeds[..., None, :reference, :], at)
        return predict(known, 0.0, speeds=speeds, tracks_machine_speed=self.tracks_machine_speed)

    def _beginning(self, since: int, seen: int) -> int:
        """Return where a change that was named behind session `seen` most probably began: the best split in two."""
        first = max(since + MIN_AT_LEVEL if since else MIN_REFERENCE, seen + 1 - max(WINDOWS))
        expected = self._expected(first, seen + 1, {})
        behind = self.values[first : seen + 1] - expected.centre
        away = np.concatenate([expected.residuals[0], behind]) / self._spread(expected.spread)
        away = np.clip(away, -CUT_OFF, CUT_OFF)[since:]

        def gain(split: int) -> float:
            before, behind = away[: split - since], away[split - since :]
            return abs(float(behind.mean() - before.mean())) * math.sqrt(len(before) * len(behind))

        return max(range(first, seen), key=gain)

    def _spread(self, found: Array) -> Array:
        spread: Array = np.maximum(found, FLOOR * self.minimum_effect)
        return spread


def _limit(window: int, residuals: Array, spread: Array, of_speed: Any, at_level: int) -> Array:
    """Return from how many standard deviations on the mean of a window is a change.

    `of_speed`: what the leverage has of the machine's speed; `at_level`: sessions of the reference at the last level.
    """
    reference, (level, least) = residuals.shape[-1], WINDOWS[window]
    level = STRICT_LEVEL if at_level < FULL_REFERENCE else level
    counts = LIKENESS_COUNTS if at_level == reference else LIKENESS_COUNTS_BEHIND_A_CHANGE
    presumed = PRESUMED_LIKENESS if reference < FULL_REFERENCE else 0.0
    likeness = np.maximum(_likeness(residuals, spread, counts), presumed)
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
    count = residuals.shape[-1]
    found = (residuals[..., 1:] * residuals[..., :-1]).sum(axis=-1) / (count * spread**2)
    found = found + (1 + 3 * found) / count  # its bias: Kendall, Biometrika 41, 1954
    weight = np.clip((found * math.sqrt(count) - counts[0]) / (counts[1] - counts[0]), 0, 1)
    likeness: Array = np.clip((found + LIKENESS_MARGIN / math.sqrt(count)) * weight, 0, 0.9)
    return likeness


def _means(values: Array, window: int, last: Any) -> Array:
    """Return the means over windows of rows, [..., rows, C], by the places of their last rows."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1, :]), values], axis=-2), axis=-2)
    means: Array = (sums[..., last + 1, :] - sums[..., last + 1 - window, :]) / window
    return means
