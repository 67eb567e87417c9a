"""Ways of doing one thing, round by round in turn, so that a machine that gets slower does so for all of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.rounds import failure_of
from harness.records.lines import Failure
from harness.stages import Sample

Variant = tuple[str, Callable[[], object]]
"""A way of doing something: its name, and a call that does it."""
AnySample = TypeVar("AnySample", bound=Sample)


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Work on one sample, a way to do it and the reference, and the conditions to be named with the ratio.

    `complaint`: why the two cannot stand in for each other, which fails the test after both were measured.
    """

    what: str
    way: Variant
    reference: Variant
    conditions: dict[str, str] = field(default_factory=dict)
    complaint: str = ""


def first_that_works(
    samples: Iterable[AnySample], prepare: Callable[[AnySample], Interleaved], stage: str
) -> tuple[AnySample | None, Interleaved | None, list[Failure]]:
    """Return the first sample on which both ways succeed, each run once untimed, and how those before it failed."""
    failures: list[Failure] = []
    for sample in samples:
        try:
            comparison = prepare(sample)
            comparison.reference[1]()
            comparison.way[1]()
        except Exception as error:  # whatever a file raises is a record, and the next one is taken
            failures.append(failure_of(error, sample.id, stage))
        else:
            return sample, comparison, failures
    return None, None, failures


def seconds_in_turn(
    ways: Sequence[Variant], turns: int, afterwards: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Run every way once without a clock, then all of them in turn; return the seconds by name, in order.

    A name may come several times in a turn. `afterwards` is called after each way, while no clock runs.
    """
    seconds: dict[str, list[float]] = {name: [] for name, _ in ways}
    for turn in range(turns + 1):
        for name, run in ways:
            took_s = clock.seconds_of(run)
            if turn:
                seconds[name].append(took_s)
            afterwards()
    return seconds


def timed_pairs(benchmark: Benchmark, comparison: Interleaved, rounds: int) -> tuple[list[float], list[float]]:
    """Run both `rounds` times in turn, pytest-benchmark timing the way; return seconds of the way and the reference.

    Those of one index were measured one right after the other. With benchmarks disabled both run once, untimed.
    """
    way_s: list[float] = []
    reference_s: list[float] = []

    def begin() -> bool:
        reference_s.append(clock.seconds_of(comparison.reference[1]))
        return True

    keep = lambda _, took_s: way_s.append(took_s or 0.0)  # noqa: E731
    benchmark.timed(lambda _: comparison.way[1](), begin=begin, end=keep, rounds=rounds)
    return (way_s, reference_s) if benchmark.enabled else ([], [])
