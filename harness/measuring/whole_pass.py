"""The whole pass: every sample once through all stages of a model, as the old script ran them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, TypeVar, cast

import msgspec

from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.progress import Progress
from harness.measuring.rounds import Round, StageError, failure_of, timed_rounds
from harness.measuring.stopping import recover_from, stop_if_asked, time_limit
from harness.records.lines import Failure, PassKind, PassRecord, timestamp
from harness.stages import Answer, Pipeline, Sample, source_of, state_of

Calls = dict[str, Callable[[Any], Any]]
Item = TypeVar("Item")


@dataclass(slots=True)
class SampleRun:
    """One sample's way through the stages; filled as it goes, so that a failing stage leaves the times before it."""

    sample: Sample
    stage_s: dict[str, float] = field(default_factory=dict)
    source: str = ""
    state: str = ""
    answer: Answer | None = None


class RemainingSamples:
    """The samples of a pass that this process takes, of `count` in all: ranks claim them, a resumed run has some."""

    def __init__(self, samples: Iterable[Sample], count: int) -> None:
        upcoming = iter(samples)
        first = list(islice(upcoming, 1))
        self.is_done = not first
        self.upcoming: Iterator[Sample] = chain(first, upcoming)
        self.count = count


@dataclass(frozen=True, slots=True)
class WholePass:
    """A pass of one model with one engine; `on_record` is given each sample's record as soon as it is there."""

    pipeline: Pipeline
    calls: Calls
    warm_up_calls: Calls  # the same with an answer that is long enough to warm up on
    engine: str
    on_record: Callable[[PassRecord], None]
    progress: Progress
    test: str = ""
    sample_timeout_s: float | None = None

    def measure(
        self,
        benchmark: Benchmark,
        work: RemainingSamples,
        *,
        kind: PassKind,
        warm_up: Sequence[Sample],
        again: Callable[[Sample], bool] = lambda _sample: False,
    ) -> list[Failure]:
        """Warm up, then time each sample of `work` once, and unsynchronised right after it where `again` says so."""
        self._warm_up(() if work.is_done or not benchmark.enabled else warm_up)
        self.progress.start(f"{kind} pass", work.count if benchmark.enabled else 1)

        def finish(this: Round, seconds: float) -> None:
            self._record(this.input, kind, seconds, this.failure)
            this.input = this.output = None
            if this.failure is None and again(this.sample):
                self._unsynchronised(this.sample)

        return timed_rounds(
            benchmark,
            work.upcoming,
            work.count,
            stage="whole pass",
            prepare=SampleRun,
            call=lambda run: self._through(run, self.calls, clocked=True),
            finish=finish,
            progress=self.progress,
        )

    def measure_unsynchronised(self, samples: Sequence[Sample]) -> None:
        """Time samples that succeeded before, reading the clock at both ends only."""
        self.progress.start("unsynchronised", len(samples))
        for sample in samples:
            stop_if_asked()
            self._unsynchronised(sample)
            self.progress.advance()

    def measure_throughput(
        self, benchmark: Benchmark, work: RemainingSamples, *, workers: int, ahead: int, warm_up: Sequence[Sample]
    ) -> None:
        """Time one pass over the samples of `work`, in one round, with files loaded ahead by `workers` threads."""
        self._warm_up(() if work.is_done or not benchmark.enabled else warm_up)
        self.progress.start("throughput", work.count if benchmark.enabled else 1)
        succeeded = 0

        def pass_over(samples: Iterator[Sample]) -> None:
            nonlocal succeeded
            before = clock.now()
            with prefetched(self.calls["load"], samples, workers, ahead) as loadings:
                for sample, loading in loadings:
                    stop_if_asked()
                    run = SampleRun(sample)
                    failure = self._unclocked(run, self.calls | {"load": lambda _, loading=loading: loading.result()})
                    after = clock.now()
                    succeeded += failure is None
                    # The journal and the bar count as time of the next sample: a pause that is not counted would give
                    # the loader threads free time.
                    self._record(run, "throughput", after - before, failure)
                    before = after
                    self.progress.advance()
                    recover_from(failure)

        samples = work.upcoming if benchmark.enabled else islice(work.upcoming, 1)
        benchmark.timed(pass_over, begin=lambda: samples, end=lambda _samples, _seconds: None, rounds=1)
        if not succeeded:
            benchmark.discard()

    def _warm_up(self, samples: Sequence[Sample]) -> None:
        self.progress.start("warm-up", len(samples))
        for sample in samples:
            stop_if_asked()
            with suppress(StageError):  # the sample is run again, and its failure recorded then
                self._through(SampleRun(sample), self.warm_up_calls, clocked=True)
            self.progress.advance()

    def _unsynchronised(self, sample: Sample) -> None:
        run = SampleRun(sample)
        start = clock.now()
        failure = self._unclocked(run, self.calls)
        self._record(run, "unsynchronised", clock.now() - start, failure)
        recover_from(failure)

    def _unclocked(self, run: SampleRun, calls: Calls) -> Failure | None:
        """Take a sample through the stages with no clock between them; return how it failed, if it did."""
        try:
            self._through(run, calls, clocked=False)
        except StageError as error:
            return failure_of(error, run.sample.id, error.stage)
        return None

    def _through(self, run: SampleRun, calls: Calls, *, clocked: bool) -> None:
        """Take a sample through the stages; raise StageError naming the one that raised."""
        value, stage = cast("Any", run.sample), ""
        try:
            with time_limit(self.sample_timeout_s):
                before = clock.now() if clocked else 0.0
                for stage, call in calls.items():
                    value = call(value)
                    if clocked:
                        after = clock.now()
                        run.stage_s[stage] = after - before
                        before = after
                    run.source, run.state = run.source or source_of(value), run.state or state_of(value)
        except Exception as error:
            raise StageError(stage, error) from error
        run.answer = value

    def _record(self, run: SampleRun, kind: PassKind, seconds: float, failure: Failure | None) -> None:
        answer = run.answer
        record = PassRecord(
            sample=run.sample.id,
            model=self.pipeline.key,
            engine=self.engine,
            kind=kind,
            stage_s=run.stage_s,
            whole_s=seconds,
            source=run.source,
            text=self.pipeline.text(answer) if answer else "",
            token_ids=tuple(answer.token_ids) if answer else (),
            stopped_by=answer.stopped_by if answer else "",
            finished_at=timestamp(),
            failure=failure,
            state=run.state,
            test=self.test,
        )
        self.on_record(record)


class PassTally:
    """Passes of a run so far, without what answers say, and failures by sample; unsynchronised ones apart."""

    def __init__(self, known: Iterable[PassRecord]) -> None:
        self.succeeded: dict[str, PassRecord] = {}
        self.failures: dict[str, Failure] = {}
        self.records: list[PassRecord] = []
        for record in known:
            self.add(record)

    @property
    def taken(self) -> int:
        """Samples that succeeded or failed."""
        return len(self.succeeded.keys() | self.failures.keys())

    def add(self, record: PassRecord) -> None:
        """Count a pass."""
        if record.failure is not None:
            self.failures[record.sample] = record.failure
        if record.kind == "unsynchronised":
            return
        # A pass over thousands of samples grows by some numbers a sample.
        self.records.append(msgspec.structs.replace(record, text="", token_ids=(), source=""))
        if record.failure is None:
            self.succeeded[record.sample] = self.records[-1]


@contextmanager
def prefetched(
    load: Callable[[Item], Any], items: Iterable[Item], workers: int, most: int
) -> Iterator[Iterator[tuple[Item, Future[Any]]]]:
    """Yield an iterator of (item, its loading) in order, ahead of the model; `load` runs in `workers` threads.

    At most `most` items are loaded, or being loaded, and not yet asked for, the one at hand aside. When the block
    ends, by an exception or an interrupt too, loads at work are waited for and no other begins.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    try:
        yield _in_order(pool, load, items, most)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, load: Callable[[Item], Any], items: Iterable[Item], most: int
) -> Iterator[tuple[Item, Future[Any]]]:
    upcoming = iter(items)
    waiting = deque((item, pool.submit(load, item)) for item in islice(upcoming, most))
    while waiting:
        at_hand = waiting.popleft()
        waiting.extend((item, pool.submit(load, item)) for item in islice(upcoming, 1))
        yield at_hand
        del at_hand  # else it would outlive the wait for the next one
