"""Bisections over commits whose figures are drawn: a comparison as `ab` makes it, without a process."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np

from harness.ab.paired import order
from harness.ab.plan import MAX_PAIRS, AbPlan, Side
from harness.ab.results import RevisionComparison, compare, with_outcome
from harness.ab.sessions import SessionFigures
from harness.errors import SessionError
from harness.figures.metrics import Metric

EFFECT = math.log(1.03)
FIGURES = [f"time.{stage}.egpt.eager" for stage in ("vision", "prefill", "decode")]


def comparing(
    draw: np.random.Generator, levels: Callable[[int], float], broken: Collection[int] = (), noise: float = 0.01
) -> Callable[[str, str], RevisionComparison]:
    """Return a comparison of commits "0", "1", …; the last figure is slower by `levels` of the commit, a logarithm."""

    def measured(pair: int, name: str, commit: str) -> SessionFigures:
        metrics = {
            figure: Metric(
                *(
                    figure,
                    "time",
                    draw.normal(levels(int(commit)) if figure == FIGURES[-1] else 0, noise),
                    "s",
                    True,
                    20,
                ),
                minimum_effect=math.log(1.03),
            )
            for figure in FIGURES
        }
        return SessionFigures(pair, name, f"{pair}_{name}", 0, "", ("eager",), metrics)

    def run(a: str, b: str) -> RevisionComparison:
        if int(b) in broken or int(a) in broken:
            error = SessionError(f"session 01 of {b} ended with exit status 2. 01.txt ends with\n    so long")
            error.commit = b if int(b) in broken else a
            raise error
        plan = AbPlan("2026-01-01T00:00:00+00:00", Side(a, a, ()), Side(b, b, ()), (), MAX_PAIRS)
        sessions: list[SessionFigures] = []
        found = compare(plan, sessions)
        while found.pairs < MAX_PAIRS and not found.is_decided:
            pair = found.pairs + 1
            sessions += [measured(pair, name, {"a": a, "b": b}[name]) for name in order(pair)]
            found = compare(plan, sessions)
        return with_outcome(found)

    return run
