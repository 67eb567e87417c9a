"""How far a new session may lie from a baseline of sessions before it is called a change.

The unit is a session: one number out of a fresh process. Everything here works along the last axis, so that a whole
simulation is one call. Values are on the scale of harness.figures.metrics.

Example: ten sessions took 100, 101, 99, 100, 102, 98, 100, 101, 99 and 100 ms, and 2 % is the minimum effect. Their
logarithms have the mean 4.6051 (100.0 ms) and the standard deviation s = 0.01155. The next session may be slower by
t(0.97, 9) * s * sqrt(1 + 1/10) = 2.150 * 0.01155 * 1.049 = 0.0260, or 2.6 %: one of 103 ms (0.0296) is flagged. The
mean of two may be slower by t(0.9977, 9) * s * sqrt(1/2 + 1/10) = 3.744 * 0.01155 * 0.775 = 0.0335, or 3.4 %. If the
second session takes 104 ms, the mean is 0.0344, and the figure has regressed; at 103.5 ms it is 0.0320, and it has not.
"""

# Rounds of one process are no independent samples: what differs between two processes (where memory lies, what the
# clock does) is the same for all of their rounds.

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.figures.intervals import Interval
from harness.figures.student import t_quantile

# Whoever imports the plugin need not import numpy: only a gate needs it.
if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

MIN_SESSIONS = 5
# Of one session, each side; a change has to show in two sessions, whose mean has a level of its own. 0.98 and no level
# for the mean would find as much, at 0.12 % false alarms where the noise is 2 %; with it the single ones may be milder.
PROBABILITY = 0.97
PROBABILITY_OF_MEAN = 0.9977
# A baseline that spreads wider than this cannot tell a change that anybody cares for.
MAX_SPREAD = math.log(1.05)
# Ten sessions of one normal distribution show a gap this many standard deviations within groups wide once in 500 cases.
# Gaps below the minimum effect are harmless.
GAP_IN_SPREADS = 6.0
# The minimum detectable effect is one that would have been found four times out of five.
POWER = 0.8
# Speeds that differ by less than this are as good as the same: it keeps a slope from being drawn through nothing.
MIN_SPEED_CHANGE = math.log(1.02)
# By what percentage a time takes longer where all readings take 1 % longer, before a baseline says otherwise; and how
# far the slope of one reading may be from its part of that, as a standard deviation. Both are as measured
# (docs/notes/gates.md).
SLOPE, SLOPE_DEVIATION = 0.75, 0.6
# What is left to tell the spread by, after the centre and a slope for each reading.
MIN_DEGREES_OF_FREEDOM = 4


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a baseline says of the next session: `centre` ± `limit`; of two sessions' mean: `centre` ± `limit_of_mean`.

    `residuals` [..., K]: how far each session lies from what is expected at its own speed of the machine, `spread`
    their standard deviation. `leverage`: what the centre adds to a session's variance, 1/K and more the further its
    speed lies from those of the sessions. `extrapolation_sd`: extra standard deviation outside the range of those,
    because slopes are uncertain there. `minimum_detectable_effect`: the least change that is found in four of five
    cases. All but the residuals have the shape of the baseline without its last axis.
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
        """Return half the interval, of error rate `alpha`, of how far the mean of `later` sessions lies from `centre`.

        Without a number of them, the interval of the centre itself. Of a single baseline only.
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
    """Return the prediction from `baseline`, [..., K] values of K sessions, two or more.

    `speeds`: C readings of the machine in each of these sessions, [..., K, C], and in the one that is predicted,
    [..., C], on which the values may depend: an analysis of covariance. Where sessions hardly differ in them, each
    slope is SLOPE / C if the value `tracks_machine_speed`, else 0: ridge regression towards that, or Bayesian, by the
    conjugate prior. Where readings lie outside the range of the sessions', by e, slopes count as known no better than
    to SLOPE_DEVIATION, less what the sessions taught of them: b**2 = SLOPE_DEVIATION**2 * e' (r G^-1) e, with G the
    sessions' sums of squares and products, r = K * MIN_SPEED_CHANGE**2 added to the squares. With f = K - 1 - C
    degrees of freedom and leverage h (without readings 1/K, and b = 0), limit =
    max(minimum_effect, t(probability, f) * sqrt(s**2 * (1 + h) + b**2)): where b = 0, the prediction limit of one
    further draw from a normal distribution whose mean, slopes and spread are only known from K draws.
    """
    import numpy as np

    values: Array = np.asarray(baseline, dtype=np.float64)
    count, mean = values.shape[-1], values.mean(axis=-1)
    residuals, centre, leverage = values - mean[..., None], mean, np.full_like(mean, 1 / count)
    extrapolation_sd, freedom = np.zeros_like(mean), count - 1
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
        leverage = leverage + _length(here, gram)
        extrapolation_sd = SLOPE_DEVIATION * np.sqrt(ridge * _length(excess, gram))
    spread = np.sqrt((residuals**2).sum(axis=-1) / freedom)
    of_next = np.sqrt(spread**2 * (1 + leverage) + extrapolation_sd**2)
    limit = np.maximum(minimum_effect, t_quantile(probability, freedom) * of_next)
    of_mean = t_quantile(PROBABILITY_OF_MEAN, freedom) * np.sqrt(spread**2 * (1 / 2 + leverage) + extrapolation_sd**2)
    limit_of_mean = np.maximum(minimum_effect, of_mean)
    found_in_each = limit + t_quantile(math.sqrt(POWER), freedom) * of_next
    found_in_mean = limit_of_mean + t_quantile(POWER, freedom) * of_next / math.sqrt(2)
    detectable = np.maximum(found_in_each, found_in_mean)
    return Prediction(
        count, centre, spread, residuals, leverage, extrapolation_sd, limit, limit_of_mean, detectable, freedom
    )


def creep(
    release: Sequence[float],
    later: Sequence[float],
    speeds: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    *,
    tracks_machine_speed: bool = True,
) -> Interval:
    """Return how far the mean of later sessions, one or more, lies from a release's, as gates tell a change.

    `speeds`: C readings of the machine in each session of the release, [K, C], and in each later one, [M, C]. The
    interval is as sure as that of two sessions in a gate; `harness.figures.intervals.verdict` says what it means.
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
    """Return whether two losses are a regression: both are `flagged`, and their mean is beyond its own limit."""
    return flagged & ((first + second) / 2 > limit_of_mean)


def extrapolates(prediction: Prediction) -> Any:
    """Return whether the machine's speed lies too far outside those of all sessions to say what is expected."""
    return prediction.extrapolation_sd > MAX_SPREAD


def is_too_noisy(prediction: Prediction) -> Any:
    """Return whether the sessions differ so much that only a change of more than ten percent could be found."""
    return prediction.spread > MAX_SPREAD


def is_bimodal(baseline: npt.ArrayLike, minimum_effect: float) -> Any:
    """Return whether the sessions stand in two groups, as where a clock has two states; a group may be one session.

    The gap is wider than the minimum effect and than GAP_IN_SPREADS times the spread within the groups.
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


def _length(vector: Array, gram: Array) -> Array:
    """Return v' G^-1 v: short where the sessions that G is made of go far in that direction."""
    import numpy as np

    length: Array = (vector * np.linalg.solve(gram, vector[..., None])[..., 0]).sum(axis=-1)
    return length
