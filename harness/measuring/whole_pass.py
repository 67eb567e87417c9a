"""The whole pass: every sample once through all stages of a model, as the old script ran them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, cast

import msgspec

from harness.measuring import clock
from harness.measuring.prefetch import prefetched
from harness.measuring.progress import Progress
from harness.measuring.rounds import Benchmark, Holder, StageError, failure_of, timed_rounds
from harness.measuring.stopping import recover_from, stop_if_asked, time_limit
from harness.records.lines import Failure, PassKind, PassRecord, timestamp
from harness.stages import Answer, Pipeline, Sample, source_of, state_of

Calls = dict[str, Callable[[Any], Any]]


class SampleRun:
    """One sample's way through the stages; filled as it goes, so that a failing stage leaves the times before it."""

    __slots__ = ("answer", "sample", "source", "stage_s", "state")

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.stage_s: dict[str, float] = {}
        self.source = self.state = ""
        self.answer: Answer | None = None


class RemainingSamples:
    """The samples of a pass that this process takes, one after the other: `upcoming`, of `count` in all.

    How many it takes is not known beforehand: ranks draw them, and a run that is gone on with has some already.
    """

    def __init__(self, samples: Iterable[Sample], count: int) -> None:
        upcoming = iter(samples)
        first = list(islice(upcoming, 1))
        self.is_done = not first
        self.upcoming: Iterator[Sample] = chain(first, upcoming)
        self.count = count


@dataclass(frozen=True, slots=True)
class WholePass:
    """A pass of one model with one engine; `on_record` is given each sample's record as soon as it is there.

    `short_calls` are the same stages with an answer that is long enough to warm up on.
    """

    pipeline: Pipeline
    calls: Calls
    short_calls: Calls
    engine: str
    on_record: Callable[[PassRecord], None]
    progress: Progress
    test: str = ""
    sample_timeout_s: float | None = None

    def measure(
        self, benchmark: Benchmark, work: RemainingSamples, *, kind: PassKind, warm_up: Sequence[Sample]
    ) -> list[Failure]:
        """Warm up on some samples, discarding their times, then time each sample of `work` once."""
        self._warm_up(() if work.is_done or not benchmark.enabled else warm_up)
        self.progress.start(f"{kind} pass", work.count if benchmark.enabled else 1)
        sample_runs: list[SampleRun] = []

        def prepare(sample: Sample) -> SampleRun:
            sample_runs[:] = [SampleRun(sample)]
            return sample_runs[0]

        def finish(holder: Holder, seconds: float) -> None:
            self.on_record(self._record(sample_runs[0], kind, seconds, holder.failure))

        return timed_rounds(
            benchmark,
            work.upcoming,
            work.count,
            stage="whole pass",
            prepare=prepare,
            call=lambda trace: self._synchronised(trace, self.calls),
            finish=finish,
            progress=self.progress,
        )

    def measure_unsynchronised(self, samples: Sequence[Sample]) -> None:
        """Time samples that came through before, reading the clock at both ends only."""
        self.progress.start("unsynchronised", len(samples))
        for sample in samples:
            stop_if_asked()
            trace = SampleRun(sample)
            start = clock.now()
            failure = self._through(trace, self.calls["load"])
            self.on_record(self._record(trace, "unsynchronised", clock.now() - start, failure))
            self.progress.advance()
            recover_from(failure)

    def measure_throughput(
        self, benchmark: Benchmark, work: RemainingSamples, *, workers: int, ahead: int, warm_up: Sequence[Sample]
    ) -> None:
        """Time one pass over the samples of `work`, in one round, with files loaded ahead by so many threads.

        Between two samples nothing runs but the bar and the journal, which count as time of the next one: a pause that
        is not counted would be a present to the loading threads.
        """
        self._warm_up(() if work.is_done or not benchmark.enabled else warm_up)
        self.progress.start("throughput", work.count if benchmark.enabled else 1)
        came_through = 0

        def pass_over_all() -> None:
            nonlocal came_through
            before = clock.now()
            samples = work.upcoming if benchmark.enabled else islice(work.upcoming, 1)
            with prefetched(self.calls["load"], samples, workers, ahead) as loadings:
                for sample, loading in loadings:
                    stop_if_asked()
                    trace = SampleRun(sample)
                    failure = self._through(trace, partial(_loaded, loading))
                    after = clock.now()
                    came_through += failure is None
                    self.on_record(self._record(trace, "throughput", after - before, failure))
                    before = after
                    self.progress.advance()
                    recover_from(failure)

        benchmark.pedantic(pass_over_all, setup=lambda: None, teardown=lambda: None, rounds=1)
        if not came_through:
            benchmark.has_error = True

    def _warm_up(self, samples: Sequence[Sample]) -> None:
        self.progress.start("warm-up", len(samples))
        for sample in samples:
            stop_if_asked()
            with suppress(StageError):  # the sample is run again, and its failure recorded then
                self._synchronised(SampleRun(sample), self.short_calls)
            self.progress.advance()

    def _synchronised(self, trace: SampleRun, calls: Calls) -> None:
        value, stage = cast("Any", trace.sample), ""
        try:
            with time_limit(self.sample_timeout_s):
                before = clock.now()
                for stage, call in calls.items():
                    value = call(value)
                    after = clock.now()
                    trace.stage_s[stage] = after - before
                    trace.source, trace.state = trace.source or source_of(value), trace.state or state_of(value)
                    before = after
        except Exception as error:
            raise StageError(stage, error) from error
        trace.answer = value

    def _through(self, trace: SampleRun, load: Callable[[Any], Any]) -> Failure | None:
        """Take a sample through the stages with no clock between them; return how it failed, if it did."""
        value, stage = cast("Any", trace.sample), ""
        try:
            with time_limit(self.sample_timeout_s):
                for stage, call in self.calls.items():
                    value = load(value) if stage == "load" else call(value)
                    trace.source, trace.state = trace.source or source_of(value), trace.state or state_of(value)
        except Exception as error:  # whatever a model or a file raises is a record, and the other samples go on
            return failure_of(error, trace.sample.id, stage)
        trace.answer = value
        return None

    def _record(self, trace: SampleRun, kind: PassKind, seconds: float, failure: Failure | None) -> PassRecord:
        answer = trace.answer
        return PassRecord(
            sample=trace.sample.id,
            model=self.pipeline.key,
            engine=self.engine,
            kind=kind,
            stage_s=trace.stage_s,
            whole_s=seconds,
            source=trace.source,
            text=self.pipeline.text(answer) if answer else "",
            token_ids=tuple(answer.token_ids) if answer else (),
            stopped_by=answer.stopped_by if answer else "",
            finished_at=timestamp(),
            failure=failure,
            state=trace.state,
            test=self.test,
        )


def _loaded(loading: Future[Any], _sample: Any) -> Any:
    return loading.result()


class PassTimes(msgspec.Struct, frozen=True, gc=False):
    """Of one sample's pass: the stages added up, and the time read around them, in seconds."""

    parts_s: float
    whole_s: float


class PassTally:
    """Times and failures by sample, of the passes of a run so far; those without inner clocks are left out."""

    def __init__(self, known: Iterable[PassRecord] = ()) -> None:
        self.times: dict[str, PassTimes] = {}
        self.failures: dict[str, Failure] = {}
        self._seconds = 0.0
        for record in known:
            self.add(record)

    @property
    def samples_per_second(self) -> float | None:
        """How many samples a second came through; those that failed took time and do not count."""
        return len(self.times) / self._seconds if self.times else None

    def add(self, record: PassRecord) -> None:
        """Count a pass."""
        if record.failure is not None:
            self.failures[record.sample] = record.failure
        if record.kind == "unsynchronised":
            return
        self._seconds += record.whole_s
        if record.failure is None:
            self.times[record.sample] = PassTimes(sum(record.stage_s.values()), record.whole_s)
