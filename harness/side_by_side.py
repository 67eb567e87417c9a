"""Two ways of doing one thing, round by round in turn, so that a machine that gets slower does so for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from harness import clock
from harness.rounds import Benchmark


@dataclass(slots=True)
class Pairs:
    """Seconds of both ways; those of one index were measured one right after the other."""

    way_s: list[float] = field(default_factory=list)
    reference_s: list[float] = field(default_factory=list)


def timed_pairs(benchmark: Benchmark, way: Callable[[], object], reference: Callable[[], object], rounds: int) -> Pairs:
    """Run both `rounds` times in turn, after once without a clock; pytest-benchmark times `way`.

    With benchmarks disabled both run once, and nothing is measured.
    """
    pairs = Pairs()
    reference()
    way()

    def setup() -> tuple[tuple[()], dict[str, Any]]:
        start = clock.now()
        reference()
        pairs.reference_s.append(clock.now() - start)
        return (), {}

    def run() -> None:
        way()

    def teardown() -> None:
        pairs.way_s.append(benchmark.stats.stats.data[-1])

    benchmark.pedantic(run, setup=setup, teardown=teardown, rounds=rounds)
    return pairs if benchmark.enabled else Pairs()
