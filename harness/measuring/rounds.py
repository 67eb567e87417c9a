"""Timed rounds: one call each on an input that was made before the clock started.

Ways of doing one thing are timed round by round in turn, so that a machine that gets slower does so for all of them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.progress import Progress
from harness.measuring.stopping import recover_from, stop_if_asked
from harness.records.lines import Failure
from harness.stages import Sample

Variant = tuple[str, Callable[[], object]]
"""A way of doing something: its name, and a call that does it."""
AnySample = TypeVar("AnySample", bound=Sample)


class StageError(Exception):
    """A stage raised: which one; the cause is the exception itself."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause


@dataclass(slots=True)
class Round:
    """Sample, input, output and failure of one round."""

    # pytest-benchmark keeps the last arguments and the last result alive into the next round. On a GPU that is a whole
    # KV cache too many: a round is emptied after it, and its call returns nothing.
    sample: Sample
    input: Any = None
    output: Any = None
    failure: Failure | None = None

    def run(self, work: Callable[[Any], Any], given: Any, stage: str) -> Any:
        """Return `work(given)`; None where it raises, which is the round's failure."""
        try:
            return work(given)
        except Exception as error:  # whatever a model or a file raises is a record, and the other samples go on
            self.failure = failure_of(error, self.sample.id, stage)
            return None


def timed_rounds(
    benchmark: Benchmark,
    samples: Iterable[Sample],
    most: int,
    *,
    stage: str,
    prepare: Callable[[Sample], Any],
    call: Callable[[Any], Any],
    finish: Callable[[Round, float], None],
    progress: Progress,
) -> list[Failure]:
    """Run `call(prepare(sample))` in one timed round for each of `samples`, `most` at most; return what failed.

    `finish` is given the round and its seconds right after it. A round that failed is left out of pytest-benchmark's
    statistics. With benchmarks disabled the first sample is run once and `finish` is not called.
    """
    upcoming = iter(samples)
    failures: list[Failure | None] = []

    def begin() -> Round | None:
        stop_if_asked()
        sample = next(upcoming, None)
        if sample is None:
            return None
        this = Round(sample)
        this.input = this.run(prepare, sample, stage)
        return this

    def run(this: Round) -> None:
        if this.failure is None:
            this.output = this.run(call, this.input, stage)

    def end(this: Round, seconds: float | None) -> None:
        failures.append(this.failure)
        if seconds is not None:
            finish(this, seconds)
        this.input = this.output = None
        progress.advance()
        recover_from(this.failure)

    benchmark.timed(run, begin=begin, end=end, rounds=most)
    if benchmark.enabled:
        benchmark.leave_out([index for index, failure in enumerate(failures) if failure])
    return [failure for failure in failures if failure]


def failure_of(error: Exception, sample: str, stage: str) -> Failure:
    """Return an exception as a record: no traceback, which would keep the tensors of its frames alive."""
    if isinstance(error, StageError):
        return failure_of(error.cause, sample, error.stage)
    # A file name that is no UTF-8 stands in the text as half a character, which no JSON file can hold.
    text = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
    return Failure(sample, stage, type(error).__name__, text)


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Work on one sample, a way to do it and the reference, and the conditions to be named with the ratio."""

    what: str
    way: Variant
    reference: Variant
    conditions: dict[str, str] = field(default_factory=dict)
    complaint: str = ""  # why the two cannot stand in for each other: it fails the test after both were measured


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
    """Run every way once without a clock, then all in turn, `afterwards` behind each; return the seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name, _ in ways}  # a name may come several times in a turn
    for turn in range(turns + 1):
        for name, run in ways:
            took_s = clock.seconds_of(run)
            if turn:
                seconds[name].append(took_s)
            afterwards()
    return seconds


def timed_pairs(benchmark: Benchmark, comparison: Interleaved, rounds: int) -> tuple[list[float], list[float]]:
    """Run both in turn, the way by pytest-benchmark; return the seconds of each; where disabled, run once, untimed."""
    way_s: list[float] = []
    reference_s: list[float] = []

    def begin() -> bool:
        reference_s.append(clock.seconds_of(comparison.reference[1]))
        return True

    keep = lambda _, took_s: way_s.append(took_s or 0.0)  # noqa: E731
    benchmark.timed(lambda _: comparison.way[1](), begin=begin, end=keep, rounds=rounds)
    return (way_s, reference_s) if benchmark.enabled else ([], [])
