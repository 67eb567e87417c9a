"""Student's t distribution for whole degrees of freedom, exact, without a library for it."""

import math
from functools import lru_cache


def t_cumulative(t: float, degrees: int) -> float:
    """Return the probability of a value up to `t`."""
    if degrees < 1:
        raise ValueError(f"degrees of freedom are {degrees}: 1 or more are needed")
    # The finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    angle, odd = math.atan(t / math.sqrt(degrees)), degrees % 2
    term = total = (math.cos(angle) if degrees > 1 else 0.0) if odd else 1.0
    for k in range(1 + odd, degrees - 1, 2):
        term *= k / (k + 1) * math.cos(angle) ** 2
        total += term
    within = math.sin(angle) * total
    return 0.5 + (2 / math.pi * (angle + within) if odd else within) / 2


@lru_cache(maxsize=4096)
def t_quantile(probability: float, degrees: int) -> float:
    """Return the value below which a `probability` from 0.5 up to 1 (exclusive) lies; t(0.98, 9) = 2.398."""
    if not 0.5 <= probability < 1:
        raise ValueError(f"probability is {probability}: it must be from 0.5 up to 1, exclusive")
    # Newton's steps from 0: to the right of it the distribution is concave, so none goes beyond the root.
    t, missing = 0.0, probability - t_cumulative(0.0, degrees)
    logarithm = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    while missing > 0:
        step = missing / math.exp(logarithm - (degrees + 1) / 2 * math.log1p(t * t / degrees))
        t, before = t + step, t
        if t == before:
            break
        missing = probability - t_cumulative(t, degrees)
    return t
