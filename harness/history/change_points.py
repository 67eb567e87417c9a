"""Change points of one figure, found online: each session is judged from the sessions before it alone.

A reference, the first R sessions, predicts later ones (`harness.gates.prediction`, at the machine's own speed where it
was read). Deviations from the prediction, in standard deviations and clipped at CUT_OFF, are averaged over windows of
the last 3 to 30 sessions. A change is reported once such a mean exceeds three bounds: Student's t, with fewer effective
sessions where neighbours are correlated (AR(1) errors: Box and Jenkins, Time Series Analysis, chapter 2); a least
number of deviations per window; and a fifth of the minimum effect. The clipping makes two far sessions too few, and
three enough. All levels come from simulations: at most 0.05 false alarms per 100 sessions and figure
(tests/harness/history).
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

# By sessions in the window: level of Student's t, and the least mean deviation with a reference of FULL_REFERENCE.
WINDOWS = {3: (3e-3, 2.65), 5: (1e-3, 1.85), 7: (3e-3, 1.35), 8: (5e-3, 1.17), 16: (1e-4, 0.0), 30: (1e-4, 0.0)}
CUT_OFF = 3.2
# Below FULL_REFERENCE sessions the autocorrelation is not known: it is presumed, and the level is strict.
MIN_REFERENCE, FULL_REFERENCE, STRICT_LEVEL, PRESUMED_CORRELATION = 12, 28, 1e-4, 0.5
# Sessions at a new level before a further change can be reported.
MIN_AT_LEVEL = 12
MIN_SESSIONS = MIN_REFERENCE + min(WINDOWS)
"""With fewer sessions, no change of a figure can be reported."""
# A longer reference finds as much with least means that are larger by up to this fraction. It is renewed after growing
# by about GROWTH.
GAIN_OF_REFERENCE, GROWTH = 0.3, 1 / 8
# Standard deviation of a slope around the presumed one, before the reference tells more.
PRESUMED_SLOPE_DEVIATION = 0.36
# Standard errors from which on autocorrelation counts, and counts in full; and a margin that is added to it. After a
# change it counts sooner: where autocorrelation was missed, a false alarm is followed by another one back.
CORRELATION_COUNTS, CORRELATION_COUNTS_AFTER_A_CHANGE, CORRELATION_MARGIN = (1.5, 2.0), (0.5, 1.5), 1.5
MIN_CHANGE = 1 / 5
"""Fraction of a figure's minimum effect below which changes are not reported."""
# Least spread, as a fraction of the minimum effect, for figures that never vary, such as memory: the smallest change is
# then below CUT_OFF.
FLOOR = MIN_CHANGE / 2.8


class ChangePoint(msgspec.Struct, frozen=True):
    """A change of a figure at session `at`, counted from 0, that was reported after session `seen`."""

    at: int
    seen: int
    change: Interval


@dataclass(frozen=True, slots=True)
class FigureOverSessions:
    """A figure in N sessions, [..., N], on its own scale, and C readings of the machine, [..., N, C]."""

    values: Array
    minimum_effect: float
    speeds: Array | None = None
    tracks_machine_speed: bool = True

    def change_points(self) -> list[ChangePoint]:
        """Return the changes of one figure in order, as reported session by session."""
        begins, seen = [0], list[int]()
        while True:
            # Sessions before a change are moved to the new level: their spread and slopes still hold.
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
        """Return the difference of the level of sessions [at, end) from the level of sessions [since, at)."""
        before, behind, speeds = [*self.values[since:at]], [*self.values[at:end]], None
        if self.speeds is not None and at - since - 1 - self.speeds.shape[-1] >= MIN_DEGREES_OF_FREEDOM:
            speeds = (self.speeds[since:at], self.speeds[at:end])
        return creep(before, behind, speeds, tracks_machine_speed=self.tracks_machine_speed)

    def alarms(self, since: int = 0) -> npt.NDArray[np.bool_]:
        """Return [..., N] whether a change is reported after each session, if none was reported before.

        `since`: the first session of the present level; earlier ones have been moved to that level.
        """
        count, found = self.values.shape[-1], np.zeros(self.values.shape, dtype=bool)
        following = max(MIN_REFERENCE, since + MIN_AT_LEVEL * (since > 0))
        while following < count:
            reference, following = following, following + max(1, int((following - 20) * GROWTH))
            end = min(following + max(WINDOWS) - 1, count)
            # Last sessions of windows that do not overlap this reference.
            fits = [window for window in WINDOWS if reference + window <= count]
            last = {window: np.arange(window - 1, min(following + window - 1, count) - reference) for window in fits}
            expected = self._expected(reference, end, last)
            residuals, level = expected.residuals, np.zeros(1)
            if since:
                level = residuals[..., since:].mean(axis=-1)
                before = residuals[..., :since] - residuals[..., :since].mean(axis=-1, keepdims=True)
                residuals = np.concatenate([before, residuals[..., since:] - level[..., None]], axis=-1)
            measured = np.sqrt((residuals**2).sum(axis=-1) / expected.degrees_of_freedom)
            spread = np.maximum(measured, FLOOR * self.minimum_effect)
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
        """Predict sessions `reference` to `end` from the ones before, and then the windows' means at their speeds."""
        known = self.values[..., None, :reference]
        if self.speeds is None:
            return predict(known, 0.0)
        here = self.speeds[..., reference:end, :]
        at = np.concatenate([here, *(_means(here, window, places) for window, places in last.items())], axis=-2)
        speeds = (self.speeds[..., None, :reference, :], at)
        return predict(known, 0.0, speeds=speeds, tracks_machine_speed=self.tracks_machine_speed)

    def _beginning(self, since: int, seen: int) -> int:
        """Return the first session of a change that was reported after session `seen`: the best split in two."""
        first = max(since + MIN_AT_LEVEL if since else MIN_REFERENCE, seen + 1 - max(WINDOWS))
        expected = self._expected(first, seen + 1, {})
        behind = self.values[first : seen + 1] - expected.centre
        spread = np.maximum(expected.spread, FLOOR * self.minimum_effect)
        away = np.concatenate([expected.residuals[0], behind]) / spread
        away = np.clip(away, -CUT_OFF, CUT_OFF)[since:]

        def gain(split: int) -> float:
            before, behind = away[: split - since], away[split - since :]
            return abs(float(behind.mean() - before.mean())) * math.sqrt(len(before) * len(behind))

        return max(range(first, seen), key=gain)


def _limit(window: int, residuals: Array, spread: Array, of_speed: Any, at_level: int) -> Array:
    """Return the number of standard deviations from which on the mean of a window is a change.

    `of_speed`: the leverage's part from the machine's speed; `at_level`: sessions of the reference at the last level.
    """
    reference, (level, least) = residuals.shape[-1], WINDOWS[window]
    level = STRICT_LEVEL if at_level < FULL_REFERENCE else level
    counts = CORRELATION_COUNTS if at_level == reference else CORRELATION_COUNTS_AFTER_A_CHANGE
    presumed = PRESUMED_CORRELATION if reference < FULL_REFERENCE else 0.0
    correlation = np.maximum(_autocorrelation(residuals, spread, counts), presumed)
    lags = np.arange(1, window)
    # Variance of a window's mean, and of a very long one's, relative to independent sessions.
    of_window = 1 + 2 * ((1 - lags / window) * correlation[..., None] ** lags).sum(axis=-1)
    of_reference = (1 + correlation) / (1 - correlation)
    leverage = 1 / reference + (1 / at_level if at_level < reference else 0.0)
    # Slopes are as uncertain as presumed, as far as the reference does not tell more.
    of_slopes = (PRESUMED_SLOPE_DEVIATION * MIN_SPEED_CHANGE) ** 2 * reference / spread**2
    deviation = np.sqrt(of_window / window + leverage * of_reference + of_speed * (1 + of_slopes))
    # The least mean grows for references longer and shorter than FULL_REFERENCE.
    shorter = math.sqrt((1 / window + leverage) / (1 / window + 1 / FULL_REFERENCE))
    longer = 1 + GAIN_OF_REFERENCE * max(0.0, 1 - FULL_REFERENCE * leverage)
    own = least * np.sqrt(of_window) * max(shorter, longer)
    found: Array = np.maximum(t_quantile(1 - level, reference - 1) * deviation, own)
    return found


def _autocorrelation(residuals: Array, spread: Array, counts: tuple[float, float]) -> Array:
    """Return the coefficient of AR(1) errors between neighbouring sessions, 0 where it is not significant."""
    count = residuals.shape[-1]
    found = (residuals[..., 1:] * residuals[..., :-1]).sum(axis=-1) / (count * spread**2)
    found = found + (1 + 3 * found) / count  # bias correction: Kendall, Biometrika 41, 1954
    weight = np.clip((found * math.sqrt(count) - counts[0]) / (counts[1] - counts[0]), 0, 1)
    correlation: Array = np.clip((found + CORRELATION_MARGIN / math.sqrt(count)) * weight, 0, 0.9)
    return correlation


def _means(values: Array, window: int, last: Any) -> Array:
    """Return the means of `values` [..., rows, C] over windows of rows, for the indices `last` of their last rows."""
    sums = np.cumsum(np.concatenate([np.zeros_like(values[..., :1, :]), values], axis=-2), axis=-2)
    means: Array = (sums[..., last + 1, :] - sums[..., last + 1 - window, :]) / window
    return means
