"""Student's t distribution for whole degrees of freedom, exact, without a library for it."""

from __future__ import annotations

import math
from functools import lru_cache


def t_cumulative(t: float, degrees: int) -> float:
    """Return the probability of a value up to `t`.

    The finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    if degrees < 1:
        raise ValueError(f"degrees of freedom are {degrees}: 1 or more are needed")
    angle, odd = math.atan(t / math.sqrt(degrees)), degrees % 2
    term = total = (math.cos(angle) if degrees > 1 else 0.0) if odd else 1.0
    for k in range(1 + odd, degrees - 1, 2):
        term *= k / (k + 1) * math.cos(angle) ** 2
        total += term
    within = math.sin(angle) * total
    return 0.5 + (2 / math.pi * (angle + within) if odd else within) / 2


@lru_cache
def t_quantile(probability: float, degrees: int) -> float:
    """Return the value below which a `probability` from 0.5 up to 1 (exclusive) lies; t(0.98, 9) = 2.398."""
    if not 0.5 <= probability < 1:
        raise ValueError(f"probability is {probability}: it must be from 0.5 up to 1, exclusive")
    low, high = 0.0, 1.0
    while t_cumulative(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(60):  # halves the interval beyond what a float tells apart
        middle = (low + high) / 2
        low, high = (middle, high) if t_cumulative(middle, degrees) < probability else (low, middle)
    return (low + high) / 2
