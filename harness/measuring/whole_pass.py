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
    """Times and answer of one sample; filled stage by stage, so that a failure keeps the times before it."""

    sample: Sample
    stage_s: dict[str, float] = field(default_factory=dict)
    source: str = ""
    state: str = ""
    answer: Answer | None = None


class RemainingSamples:
    """Samples of a pass of `count` samples that this process takes: not claimed by other ranks, not done before."""

    def __init__(self, samples: Iterable[Sample], count: int) -> None:
        upcoming = iter(samples)
        first = list(islice(upcoming, 1))
        self.is_done = not first
        self.upcoming: Iterator[Sample] = chain(first, upcoming)
        self.count = count


@dataclass(frozen=True, slots=True)
class WholePass:
    """A pass of one model with one engine; `on_record` gets each sample's record at once."""

    pipeline: Pipeline
    calls: Calls
    warm_up_calls: Calls  # the same stages, with shorter answers where those warm up as well
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
        """Warm up, then time each sample of `work` once, and again unsynchronised where `again(sample)` is true."""
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
        """Time samples that have succeeded in the pass, reading the clock at both ends only."""
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
                    # Journal and bar count as time of the next sample: an uncounted pause would give the loader
                    # threads free time.
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
            with suppress(StageError):  # the sample runs again in the pass, which records its failure
                self._through(SampleRun(sample), self.warm_up_calls, clocked=True)
            self.progress.advance()

    def _unsynchronised(self, sample: Sample) -> None:
        run = SampleRun(sample)
        start = clock.now()
        failure = self._unclocked(run, self.calls)
        self._record(run, "unsynchronised", clock.now() - start, failure)
        recover_from(failure)

    def _unclocked(self, run: SampleRun, calls: Calls) -> Failure | None:
        """Take a sample through the stages with no clock between them; return its failure, if any."""
        try:
            self._through(run, calls, clocked=False)
        except StageError as error:
            return failure_of(error, run.sample.id, error.stage)
        return None

    def _through(self, run: SampleRun, calls: Calls, *, clocked: bool) -> None:
        """Take a sample through the stages; raise StageError naming the stage that failed."""
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
    """Passes of a run so far, without answers, and failures by sample; of unsynchronised passes only failures."""

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
        # Without text and token ids: a pass may have thousands of samples.
        self.records.append(msgspec.structs.replace(record, text="", token_ids=(), source=""))
        if record.failure is None:
            self.succeeded[record.sample] = self.records[-1]


@contextmanager
def prefetched(
    load: Callable[[Item], Any], items: Iterable[Item], workers: int, max_ahead: int
) -> Iterator[Iterator[tuple[Item, Future[Any]]]]:
    """Yield an iterator of (item, future of its load) in order; `load` runs in `workers` threads ahead of it.

    Beside the current item, at most `max_ahead` items are loaded or being loaded. When the block ends, by an exception
    or an interrupt too, running loads are waited for and no other begins.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    try:
        yield _in_order(pool, load, items, max_ahead)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, load: Callable[[Item], Any], items: Iterable[Item], max_ahead: int
) -> Iterator[tuple[Item, Future[Any]]]:
    upcoming = iter(items)
    waiting = deque((item, pool.submit(load, item)) for item in islice(upcoming, max_ahead))
    while waiting:
        current = waiting.popleft()
        waiting.extend((item, pool.submit(load, item)) for item in islice(upcoming, 1))
        yield current
        del current  # else its memory would be kept during the wait for the next one
