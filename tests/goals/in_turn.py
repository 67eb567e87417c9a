"""Several ways of doing one thing, timed in turn: what slows the machine down slows all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def seconds_in_turn(ways: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Run every way once without a clock, then all of them in turn; return each one's seconds, turn by turn."""
    for run in ways.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def times_faster(ours: list[float], theirs: list[float]) -> float:
    """Return the median over the turns of how many times longer they took."""
    return median([other / mine for mine, other in zip(ours, theirs, strict=True)])
