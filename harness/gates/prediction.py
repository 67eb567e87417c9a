"""Prediction of a new session from a baseline of sessions: the limit beyond which a difference is a change.

The unit is a session: one number from a fresh process. Functions work along the last axis, so that a whole simulation
is one call. Values are on the scale of harness.figures.metrics.

Example: ten sessions took 100, 101, 99, 100, 102, 98, 100, 101, 99 and 100 ms, and 2 % is the minimum effect. Their
logarithms have the mean 4.6051 (100.0 ms) and the standard deviation s = 0.01155. The next session may be slower by
t(0.97, 9) * s * sqrt(1 + 1/10) = 2.150 * 0.01155 * 1.049 = 0.0260, or 2.6 %: one of 103 ms (0.0296) is flagged. The
mean of two may be slower by t(0.9977, 9) * s * sqrt(1/2 + 1/10) = 3.744 * 0.01155 * 0.775 = 0.0335, or 3.4 %. If the
second session takes 104 ms, the mean is 0.0344, and the figure has regressed; at 103.5 ms it is 0.0320, and it has not.
"""

# Rounds of one process are not independent samples: all share conditions that differ between processes, such as memory
# layout and clock rate.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.figures.intervals import Interval
from harness.figures.student import t_quantile

# The plugin imports this module, and must not import numpy: only a gate needs it.
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

MIN_SESSIONS = 5
# Levels of one session, and of the mean of the two sessions that a regression needs. Without the second level, 0.98
# would find as much, but with 0.12 % false alarms at a noise of 2 %.
PROBABILITY = 0.97
PROBABILITY_OF_MEAN = 0.9977
# With a larger standard deviation a baseline can only tell changes of more than ten percent.
MAX_SPREAD = math.log(1.05)
# Ten sessions of one normal distribution show a gap of this many standard deviations within groups once in 500 cases.
# Gaps below the minimum effect do no harm.
GAP_IN_SPREADS = 6.0
# The minimum detectable effect is found in this fraction of cases.
POWER = 0.8
# Ridge: speeds that differ by less hardly change the presumed slopes.
MIN_SPEED_CHANGE = math.log(1.02)
# Presumed slopes: a time takes 0.75 % longer where all readings take 1 % longer, and the slope of one reading has this
# standard deviation around its part of that. Both are as measured (docs/notes/gates.md).
SLOPE, SLOPE_DEVIATION = 0.75, 0.6
# Left for the spread, after the centre and a slope for each reading are estimated.
MIN_DEGREES_OF_FREEDOM = 4


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction of the next session, `centre` ± `limit`, and of two sessions' mean, `centre` ± `limit_of_mean`.

    `residuals` [..., K]: each session less its expectation at its own machine speed; `spread`: their standard
    deviation. `leverage`: the centre's part of a session's variance, 1/K plus more the further its speed lies from the
    sessions'. `extrapolation_sd`: extra standard deviation where that speed is outside their range, from uncertain
    slopes. `minimum_detectable_effect`: the least change that is found in four of five cases. All but the residuals
    have the shape of the baseline without its last axis.
    """

    sessions: int
    centre: Any
    spread: Any
    residuals: Any
    leverage: Any
    extrapolation_sd: Any
    limit: Any
    limit_of_mean: Any
    minimum_detectable_effect: Any
    degrees_of_freedom: int = 1

    def half_width(self, alpha: float, later: float = math.inf) -> float:
        """Return half the interval of the mean of `later` sessions around `centre`, at error rate `alpha`.

        An infinite number gives the interval of the centre itself. For a single baseline only.
        """
        spread_of_mean = float(self.spread) * math.sqrt(float(self.leverage) + 1 / later)
        quantile = t_quantile(1 - alpha / 2, self.degrees_of_freedom)
        return quantile * math.hypot(spread_of_mean, float(self.extrapolation_sd))


def predict(
    baseline: npt.ArrayLike,
    minimum_effect: float,
    probability: float = PROBABILITY,
    speeds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    *,
    tracks_machine_speed: bool = True,
) -> Prediction:
    """Return the prediction from `baseline`, [..., K] values of two or more sessions.

    `speeds`: C readings of the machine in each session, [..., K, C], and in the predicted one, [..., C]. Values depend
    on the readings by an analysis of covariance, with ridge regression (a conjugate prior) towards a presumed slope:
    SLOPE / C for each reading if the value `tracks_machine_speed`, else 0. Let G be the sessions' sums of squares and
    products of readings, with r = K * MIN_SPEED_CHANGE**2 added to the squares, and e the excess of the predicted
    session's readings over the sessions' range. Uncertain slopes then add the variance
    b**2 = SLOPE_DEVIATION**2 * e' (r G^-1) e. With f = K - 1 - C degrees of freedom and leverage h (without readings
    1/K, and b = 0), limit = max(minimum_effect, t(probability, f) * sqrt(s**2 * (1 + h) + b**2)). For b = 0 this is
    the prediction limit of one further draw from a normal distribution that is known from K draws.
    """
    import numpy as np

    values: Array = np.asarray(baseline, dtype=np.float64)
    count, mean = values.shape[-1], values.mean(axis=-1)
    residuals, centre, leverage = values - mean[..., None], mean, np.full_like(mean, 1 / count)
    outside_sd, freedom = np.zeros_like(mean), count - 1
    if speeds is not None:
        known, here = (np.asarray(each, dtype=np.float64) for each in speeds)
        readings = known.shape[-1]
        freedom -= readings
        excess = here - np.clip(here, known.min(axis=-2), known.max(axis=-2))
        usual = known.mean(axis=-2)
        known, here = known - usual[..., None, :], here - usual
        presumed = SLOPE / readings if tracks_machine_speed else 0.0
        residuals = residuals - presumed * known.sum(axis=-1)
        ridge = count * MIN_SPEED_CHANGE**2
        gram = np.swapaxes(known, -1, -2) @ known + ridge * np.eye(readings)
        slopes = np.linalg.solve(gram, np.swapaxes(known, -1, -2) @ residuals[..., None])[..., 0]
        residuals = residuals - (known @ slopes[..., None])[..., 0]
        centre = mean + (here * (presumed + slopes)).sum(axis=-1)
        leverage = leverage + _squared_length(here, gram)
        outside_sd = SLOPE_DEVIATION * np.sqrt(ridge * _squared_length(excess, gram))
    spread = np.sqrt((residuals**2).sum(axis=-1) / freedom)
    of_next = np.sqrt(spread**2 * (1 + leverage) + outside_sd**2)
    limit = np.maximum(minimum_effect, t_quantile(probability, freedom) * of_next)
    of_mean = t_quantile(PROBABILITY_OF_MEAN, freedom) * np.sqrt(spread**2 * (1 / 2 + leverage) + outside_sd**2)
    limit_of_mean = np.maximum(minimum_effect, of_mean)
    found_in_each = limit + t_quantile(math.sqrt(POWER), freedom) * of_next
    found_in_mean = limit_of_mean + t_quantile(POWER, freedom) * of_next / math.sqrt(2)
    detectable = np.maximum(found_in_each, found_in_mean)
    return Prediction(count, centre, spread, residuals, leverage, outside_sd, limit, limit_of_mean, detectable, freedom)


def creep(
    release: Sequence[float],
    later: Sequence[float],
    speeds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    *,
    tracks_machine_speed: bool = True,
) -> Interval:
    """Return the difference of the mean of one or more later sessions from a release's sessions, with its interval.

    `speeds`: C readings of the machine in each session of the release, [K, C], and in each later one, [M, C]. The
    interval has the level of two sessions in a gate; `harness.figures.intervals.verdict` judges it.
    """
    import numpy as np

    at = None if speeds is None else (speeds[0], np.asarray(speeds[1], dtype=np.float64).mean(axis=0))
    expected = predict(release, 0.0, speeds=at, tracks_machine_speed=tracks_machine_speed)
    change = fmean(later) - float(expected.centre)
    half_width = expected.half_width(2 * (1 - PROBABILITY_OF_MEAN), len(later))
    return Interval(len(later), change, change - half_width, change + half_width, at_equal_speed=at is not None)


def is_beyond(prediction: Prediction, loss: Any) -> Any:
    """Return whether one session is flagged; `loss` is its change from the centre, positive where it is worse."""
    return loss > prediction.limit


def is_regression(flagged: Any, limit_of_mean: Any, first: Any, second: Any) -> Any:
    """Return whether two losses are a regression: both are `flagged`, and their mean is beyond `limit_of_mean`."""
    return flagged & ((first + second) / 2 > limit_of_mean)


def extrapolates(prediction: Prediction) -> Any:
    """Return whether the machine's speed is too far outside the sessions' range for a prediction."""
    return prediction.extrapolation_sd > MAX_SPREAD


def is_too_noisy(prediction: Prediction) -> Any:
    """Return whether the sessions spread so widely that only changes of more than ten percent could be found."""
    return prediction.spread > MAX_SPREAD


def is_bimodal(baseline: npt.ArrayLike, minimum_effect: float) -> Any:
    """Return whether the sessions form two groups, as by a clock with two states; a group may be one session.

    The gap between groups is wider than `minimum_effect` and than GAP_IN_SPREADS times the spread within them.
    """
    import numpy as np

    ordered: Array = np.sort(np.asarray(baseline, dtype=np.float64), axis=-1)
    count = ordered.shape[-1]
    found = np.zeros(ordered.shape[:-1], dtype=bool)
    for split in range(1, count):
        low, high = ordered[..., :split], ordered[..., split:]
        gap = high[..., 0] - low[..., -1]
        squares = split * low.var(axis=-1) + (count - split) * high.var(axis=-1)
        within = np.sqrt(squares / max(count - 2, 1))
        found |= (gap > minimum_effect) & (gap > GAP_IN_SPREADS * within)
    return found


def _squared_length(vector: Array, gram: Array) -> Array:
    """Return v' G^-1 v [...] for v [..., C]: small in directions in which the sessions' readings vary widely."""
    import numpy as np

    length: Array = (vector * np.linalg.solve(gram, vector[..., None])[..., 0]).sum(axis=-1)
    return length
