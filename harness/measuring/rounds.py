"""Timed rounds: one call each on an input that was made before the clock started, through pytest-benchmark.

`pedantic` keeps the last result and the last arguments alive into the next round. On a GPU that is a whole KV cache
too many, so a round works on a holder that is emptied after it, and returns nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from harness.measuring.progress import Progress
from harness.measuring.stopping import recover_from, stop_if_asked
from harness.records.lines import Failure
from harness.stages import Sample


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that is used here."""

    has_error: bool
    extra_info: dict[str, Any]
    stats: Any

    @property
    def enabled(self) -> bool:
        """False under --benchmark-disable: calls run once, nothing is timed."""

    def pedantic(
        self,
        target: Callable[..., object],
        *,
        setup: Callable[[], object],
        teardown: Callable[..., object],
        rounds: int,
    ) -> object:
        """Run `target` on what `setup` returns, `rounds` times."""


class StageError(Exception):
    """A stage raised: which one; the cause is the exception itself."""

    def __init__(self, stage: str, cause: Exception) -> None:
        super().__init__(str(cause))
        self.stage = stage
        self.cause = cause


class NothingLeftError(Exception):
    """Every sample has been taken."""


class Holder:
    """Input, output and failure of one round; emptied after it."""

    __slots__ = ("failure", "input", "output", "sample")

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.input: Any = None
        self.output: Any = None
        self.failure: Failure | None = None

    def empty(self) -> None:
        """Let go of everything that may hold the device's memory."""
        self.input = self.output = None


def timed_rounds(
    benchmark: Benchmark,
    plan: Iterable[Sample],
    most: int,
    *,
    stage: str,
    prepare: Callable[[Sample], Any],
    call: Callable[[Any], Any],
    finish: Callable[[Holder, float], None],
    progress: Progress,
) -> list[Failure]:
    """Run `call(prepare(sample))` in one timed round for each entry of `plan`, `most` at most; return what failed.

    `finish` is given the round's holder and seconds right after it. A round that failed is left out of
    pytest-benchmark's statistics. With benchmarks disabled the first entry is run once and `finish` is not called.
    """
    upcoming = iter(plan)
    failures: list[Failure] = []
    failed_rounds: list[int] = []
    last: list[Holder] = []

    def setup() -> tuple[tuple[Holder], dict[str, Any]]:
        stop_if_asked()
        sample = next(upcoming, None)
        if sample is None:
            raise NothingLeftError
        holder = Holder(sample)
        holder.input = _guarded(prepare, holder.sample, holder, stage)
        last[:] = [holder]
        return (holder,), {}

    def run(holder: Holder) -> None:
        if holder.failure is None:
            holder.output = _guarded(call, holder.input, holder, stage)

    def teardown(holder: Holder) -> None:
        seconds = benchmark.stats.stats.data
        if holder.failure is not None:
            failures.append(holder.failure)
            failed_rounds.append(len(seconds) - 1)
        finish(holder, seconds[-1])
        holder.empty()
        progress.advance()
        recover_from(holder.failure)

    try:
        benchmark.pedantic(run, setup=setup, teardown=teardown, rounds=most)
    except NothingLeftError:
        benchmark.has_error = False  # pytest-benchmark takes any exception for one
    if not benchmark.enabled:
        last[0].empty()
        return [last[0].failure] if last[0].failure else []
    leave_out(benchmark, failed_rounds)
    return failures


def leave_out(benchmark: Benchmark, rounds: Sequence[int]) -> None:
    """Take these rounds out of pytest-benchmark's statistics, or the whole test where nothing is left."""
    seconds = benchmark.stats.stats.data
    for index in reversed(rounds):
        del seconds[index]
    if not seconds:
        benchmark.has_error = True


def failure_of(error: Exception, sample: str, stage: str) -> Failure:
    """Return an exception as a record: no traceback, which would keep the tensors of its frames alive."""
    if isinstance(error, StageError):
        return failure_of(error.cause, sample, error.stage)
    # A file name that is no UTF-8 stands in the text as half a character, which no JSON file can hold.
    text = str(error).encode("utf-8", "backslashreplace").decode("utf-8")
    return Failure(sample, stage, type(error).__name__, text)


def round_robin(samples: Sequence[Sample], most: int, fewest: int, is_enough: Callable[[], bool]) -> Iterator[Sample]:
    """Yield every sample once, then every sample again: a machine that gets slower does so for all of them.

    Each comes `most` times, or `fewest` times and no further once `is_enough`.
    """
    for turn in range(most):
        if turn >= fewest and is_enough():
            return
        yield from samples


def _guarded(work: Callable[[Any], Any], given: Any, holder: Holder, stage: str) -> Any:
    try:
        return work(given)
    except Exception as error:  # whatever a model or a file raises is a record, and the other samples go on
        holder.failure = failure_of(error, holder.sample.id, stage)
        return None
