"""Timed rounds: one call each, on an input that was made before the clock started.

Alternatives for the same work are timed in turn, round by round, so that drift of the machine meets all of them.
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
"""One alternative for the same work: its name, and a call that does it."""
AnySample = TypeVar("AnySample", bound=Sample)


class StageError(Exception):
    """An exception of a stage, with the stage's name and the original exception as `cause`."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause


@dataclass(slots=True)
class Round:
    """Sample, input, output and failure of one round."""

    # pytest-benchmark keeps the last arguments and the last result alive into the next round, on a GPU a second KV
    # cache. So a round is emptied after its call, and the call returns nothing.
    sample: Sample
    input: Any = None
    output: Any = None
    failure: Failure | None = None

    def run(self, work: Callable[[Any], Any], given: Any, stage: str) -> Any:
        """Return `work(given)`; None where it raises, which is the round's failure."""
        try:
            return work(given)
        except Exception as error:  # any error of a model or a file is recorded, and the other samples are measured
            self.failure = failure_of(error, self.sample.id, stage)
            return None


def timed_rounds(
    benchmark: Benchmark,
    samples: Iterable[Sample],
    max_rounds: int,
    *,
    stage: str,
    prepare: Callable[[Sample], Any],
    call: Callable[[Any], Any],
    finish: Callable[[Round, float], None],
    progress: Progress,
) -> list[Failure]:
    """Time `call(prepare(sample))` in one round per sample, up to `max_rounds`; return the failures.

    `finish` gets each round and its seconds right after the round. Failed rounds are left out of pytest-benchmark's
    statistics. With benchmarks disabled the first sample runs once, and `finish` is not called.
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

    benchmark.timed(run, begin=begin, end=end, rounds=max_rounds)
    if benchmark.enabled:
        benchmark.leave_out([index for index, failure in enumerate(failures) if failure])
    return [failure for failure in failures if failure]


def failure_of(error: Exception, sample: str, stage: str) -> Failure:
    """Return an exception as a record: no traceback, which would keep the tensors of its frames alive."""
    if isinstance(error, StageError):
        return failure_of(error.cause, sample, error.stage)
    # A file name that is not UTF-8 gives lone surrogates in the text, which JSON cannot hold.
    text = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
    return Failure(sample, stage, type(error).__name__, text)


@dataclass(frozen=True, slots=True)
class Interleaved:
    """Two alternatives for the same work on one sample; `conditions` are shown with their ratio."""

    what: str
    way: Variant
    reference: Variant
    conditions: dict[str, str] = field(default_factory=dict)
    complaint: str = ""  # reason why the two are not equivalent; it fails the test after both were measured


def first_that_works(
    samples: Iterable[AnySample], prepare: Callable[[AnySample], Interleaved], stage: str
) -> tuple[AnySample | None, Interleaved | None, list[Failure]]:
    """Return the first sample on which both alternatives succeed, untimed, and the failures of samples before it."""
    failures: list[Failure] = []
    for sample in samples:
        try:
            comparison = prepare(sample)
            comparison.reference[1]()
            comparison.way[1]()
        except Exception as error:  # any error of a file is recorded, and the next sample is tried
            failures.append(failure_of(error, sample.id, stage))
        else:
            return sample, comparison, failures
    return None, None, failures


def seconds_in_turn(
    ways: Sequence[Variant], turns: int, afterwards: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Run all once untimed, then time them in turn, with `afterwards` untimed after each; return seconds by name."""
    seconds: dict[str, list[float]] = {name: [] for name, _ in ways}  # a name may come several times in a turn
    for turn in range(turns + 1):
        for name, run in ways:
            took_s = clock.seconds_of(run)
            if turn:
                seconds[name].append(took_s)
            afterwards()
    return seconds


def timed_pairs(benchmark: Benchmark, comparison: Interleaved, rounds: int) -> tuple[list[float], list[float]]:
    """Time both in turn, `way` by pytest-benchmark; return seconds of way and reference; none if it is disabled."""
    way_s: list[float] = []
    reference_s: list[float] = []

    def begin() -> bool:
        reference_s.append(clock.seconds_of(comparison.reference[1]))
        return True

    keep = lambda _, took_s: way_s.append(took_s or 0.0)  # noqa: E731
    benchmark.timed(lambda _: comparison.way[1](), begin=begin, end=keep, rounds=rounds)
    return (way_s, reference_s) if benchmark.enabled else ([], [])
