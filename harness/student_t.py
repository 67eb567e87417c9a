"""Student's t distribution for whole degrees of freedom: what intervals of a few sessions are made with."""

from __future__ import annotations

import math
from functools import cache

# Halvings of an angle between 0 and a right one: more than a float can tell apart.
HALVINGS = 100


def share_within(t: float, degrees: int) -> float:
    """Return P(|T| <= t), t from 0 up, `degrees` from 1 up.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.3 and 26.7.4, finite sums.
    """
    angle = math.atan2(t, math.sqrt(degrees))
    sine, cosine_squared = math.sin(angle), math.cos(angle) ** 2
    if degrees % 2 == 0:
        return sine * _sum(cosine_squared, first=1, terms=degrees // 2)
    tail = sine * math.cos(angle) * _sum(cosine_squared, first=2, terms=degrees // 2)
    return 2 / math.pi * (angle + tail)


@cache
def two_sided_bound(missed: float, degrees: int) -> float:
    """Return the t with P(|T| > t) = `missed`, to about six digits; `missed` between 1e-9 and 1, both left out."""
    if not 1e-9 < missed < 1 or degrees < 1:
        raise ValueError(f"there is no bound for a share of {missed} and {degrees} degrees of freedom")
    below, above = 0.0, math.pi / 2
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        if share_within(math.sqrt(degrees) * math.tan(middle), degrees) < 1 - missed:
            below = middle
        else:
            above = middle
    return math.sqrt(degrees) * math.tan(below)


def _sum(square: float, first: int, terms: int) -> float:
    """Return 1 + (first / (first + 1)) x + (first (first + 2) / ((first + 1) (first + 3))) x^2 + …, `terms` of them."""
    total, term = 0.0, 1.0
    for number in range(terms):
        total += term
        term *= square * (first + 2 * number) / (first + 1 + 2 * number)
    return total
