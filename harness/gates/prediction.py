"""How far a new session may lie from a baseline of sessions before it is called a change.

The unit is a session: one number out of a fresh process. Rounds of one process are no independent samples, for what
differs between two processes (where memory lies, what the clock does) is the same for all of their rounds. Everything
here works along the last axis, so that a whole simulation is one call. Values are on the scale of
harness.figures.metrics.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
# Ten sessions of one normal distribution leave a gap so wide, in units of their spread beside it, one time in five
# hundred; and a gap below a metric's minimum effect does no harm.
GAP_IN_SPREADS = 6.0
# The smallest effect that is told with a verdict is one that would have been found four times out of five.
POWER = 0.8


# Conditions that differ by less than this are as good as the same: it keeps a slope from being drawn through nothing.
MIN_CONDITION = math.log(1.02)
# By what percentage a time takes longer where all readings take 1 % longer, before a baseline says otherwise; and how
# far the slope of one reading may be from its part of that, as a standard deviation. Both are as measured
# (docs/gates_measured.md).
SLOPE, SLOPE_DEVIATION = 0.75, 0.6
# What is left to tell the spread by, after the centre and a slope for each condition.
MIN_DEGREES_OF_FREEDOM = 4


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a baseline says of the next session: `centre` ± `limit`; of two sessions' mean: `centre` ± `limit_of_mean`.

    `residuals` [..., K]: how far each session lies from where its own conditions let one expect it, `spread` their
    standard deviation, `minimum_detectable_effect` the least change that is found in four of five cases. `leverage` is
    what the centre adds to a session's variance: 1/K, and more the further its conditions lie from those of the
    sessions.
    `outside`: the standard deviation that comes on top where they lie outside the range of those, since slopes are not
    known well. All but the residuals have the shape of the baseline without its last axis.
    """

    sessions: int
    centre: Any
    spread: Any
    residuals: Any
    leverage: Any
    outside: Any
    limit: Any
    limit_of_mean: Any
    minimum_detectable_effect: Any


def predict(
    baseline: npt.ArrayLike,
    minimum_effect: float,
    probability: float = PROBABILITY,
    conditions: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    *,
    follows: bool = True,
) -> Prediction:
    """Return the prediction from `baseline`, [..., K] values of K sessions, two or more.

    `conditions`: C readings of the machine in each of these sessions, [..., K, C], and in the one that is predicted,
    [..., C], on which the values may depend: an analysis of covariance. Where sessions hardly differ in them, each
    slope is SLOPE / C if the value `follows` the machine, else 0. (Ridge regression towards that; or Bayesian, by the
    conjugate prior.) Where readings lie outside the range of the sessions', by e, slopes count as known no better than
    to SLOPE_DEVIATION, less what the sessions taught of them: b**2 = SLOPE_DEVIATION**2 * e' (r G^-1) e, with G the
    sessions' sums of squares and products, r = K * MIN_CONDITION**2 added to the squares. With f = K - 1 - C
    degrees of freedom and leverage h (without conditions 1/K, and b = 0), limit =
    max(minimum_effect, t(probability, f) * sqrt(s**2 * (1 + h) + b**2)): where b = 0, the prediction limit of one
    further draw from a normal distribution whose mean, slopes and spread are only known from K draws.
    """
    import numpy as np

    values: Array = np.asarray(baseline, dtype=np.float64)
    count = values.shape[-1]
    mean = values.mean(axis=-1)
    residuals, centre, leverage = values - mean[..., None], mean, np.full_like(mean, 1 / count)
    outside, freedom = np.zeros_like(mean), count - 1
    if conditions is not None:
        known, here = (np.asarray(each, dtype=np.float64) for each in conditions)
        readings = known.shape[-1]
        freedom -= readings
        excess = here - np.clip(here, known.min(axis=-2), known.max(axis=-2))
        usual = known.mean(axis=-2)
        known, here = known - usual[..., None, :], here - usual
        presumed = SLOPE / readings if follows else 0.0
        residuals = residuals - presumed * known.sum(axis=-1)
        ridge = count * MIN_CONDITION**2
        gram = np.swapaxes(known, -1, -2) @ known + ridge * np.eye(readings)
        found = np.linalg.solve(gram, np.swapaxes(known, -1, -2) @ residuals[..., None])[..., 0]
        residuals = residuals - (known @ found[..., None])[..., 0]
        centre = mean + (here * (presumed + found)).sum(axis=-1)
        leverage = leverage + _length(here, gram)
        outside = SLOPE_DEVIATION * np.sqrt(ridge * _length(excess, gram))
    spread = np.sqrt((residuals**2).sum(axis=-1) / freedom)
    of_next = np.sqrt(spread**2 * (1 + leverage) + outside**2)
    limit = np.maximum(minimum_effect, t_quantile(probability, freedom) * of_next)
    of_mean = t_quantile(PROBABILITY_OF_MEAN, freedom) * np.sqrt(spread**2 * (1 / 2 + leverage) + outside**2)
    limit_of_mean = np.maximum(minimum_effect, of_mean)
    found_in_each = limit + t_quantile(math.sqrt(POWER), freedom) * of_next
    found_in_mean = limit_of_mean + t_quantile(POWER, freedom) * of_next / math.sqrt(2)
    return Prediction(
        sessions=count,
        centre=centre,
        spread=spread,
        residuals=residuals,
        leverage=leverage,
        outside=outside,
        limit=limit,
        limit_of_mean=limit_of_mean,
        minimum_detectable_effect=np.maximum(found_in_each, found_in_mean),
    )


def is_beyond(prediction: Prediction, loss: Any) -> Any:
    """Return whether one session is flagged; `loss` is its change from the centre, positive where it is worse."""
    return loss > prediction.limit


def is_confirmed(prediction: Prediction, first: Any, second: Any) -> Any:
    """Return whether two sessions make a change: both are beyond the limit, and so is their mean beyond its own."""
    both = is_beyond(prediction, first) & is_beyond(prediction, second)
    return both & ((first + second) / 2 > prediction.limit_of_mean)


def extrapolates(prediction: Prediction) -> Any:
    """Return whether the conditions lie too far outside those of all sessions to say what they let one expect."""
    return prediction.outside > MAX_SPREAD


def is_too_noisy(prediction: Prediction) -> Any:
    """Return whether the sessions differ so much that only a change of more than ten percent could be found."""
    return prediction.spread > MAX_SPREAD


def is_bimodal(baseline: npt.ArrayLike, minimum_effect: float) -> Any:
    """Return whether the sessions stand in two groups, as they do where a clock or a cache has two states.

    A group may be a single session. The gap between them has to be wider than the minimum effect, and than
    GAP_IN_SPREADS times the spread within the groups.
    """
    import numpy as np

    ordered: Array = np.sort(np.asarray(baseline, dtype=np.float64), axis=-1)
    count = ordered.shape[-1]
    found = np.zeros(ordered.shape[:-1], dtype=bool)
    for split in range(1, count):
        low, high = ordered[..., :split], ordered[..., split:]
        gap = high[..., 0] - low[..., -1]
        within = np.sqrt((_squares(low) + _squares(high)) / max(count - 2, 1))
        found |= (gap > minimum_effect) & (gap > GAP_IN_SPREADS * within)
    return found


def _length(vector: Array, gram: Array) -> Array:
    """Return v' G^-1 v: short where the sessions that G is made of go far in that direction."""
    import numpy as np

    length: Array = (vector * np.linalg.solve(gram, vector[..., None])[..., 0]).sum(axis=-1)
    return length


def _squares(values: Array) -> Array:
    squares: Array = ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return squares
