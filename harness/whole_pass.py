"""The whole pass: every sample once through all stages of a model, as the old script ran them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from harness import clock
from harness.look_ahead import loaded_ahead
from harness.progress import Progress
from harness.records import Failure, PassKind, PassRecord, timestamp
from harness.rounds import Benchmark, Holder, StageError, failure_of, timed_rounds
from harness.stages import Answer, Pipeline, Sample, source_of, state_of

Calls = dict[str, Callable[[Any], Any]]


class Trace:
    """One sample's way through the stages; filled as it goes, so that a failing stage leaves the times before it."""

    __slots__ = ("answer", "sample", "source", "stage_s", "state")

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.stage_s: dict[str, float] = {}
        self.source = self.state = ""
        self.answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class WholePass:
    """A pass of one model with one engine; `on_record` is given each sample's record as soon as it is there."""

    pipeline: Pipeline
    calls: Calls
    engine: str
    on_record: Callable[[PassRecord], None]
    progress: Progress
    test: str = ""

    def measure(self, benchmark: Benchmark, samples: Sequence[Sample], *, kind: PassKind, warmup: int) -> list[Failure]:
        """Warm up on the first `warmup` samples, discarding their times, then time each sample once."""
        warmup = min(warmup, len(samples)) if benchmark.enabled else 0
        self.progress.start(f"{kind} pass", warmup + len(samples) if benchmark.enabled else 1)
        for sample in samples[:warmup]:
            self._warm_up(sample)
            self.progress.advance()
        traces: list[Trace] = []

        def prepare(sample: Sample) -> Trace:
            traces[:] = [Trace(sample)]
            return traces[0]

        def finish(holder: Holder, seconds: float) -> None:
            self.on_record(self._record(traces[0], kind, seconds, holder.failure))

        return timed_rounds(
            benchmark,
            samples,
            stage="whole pass",
            prepare=prepare,
            call=self._synchronised,
            finish=finish,
            progress=self.progress,
        )

    def measure_unsynchronised(self, samples: Sequence[Sample]) -> None:
        """Time samples that came through before, reading the clock at both ends only."""
        self.progress.start("unsynchronised", len(samples))
        for sample in samples:
            trace, value = Trace(sample), sample
            start = clock.now()
            for call in self.calls.values():
                value = call(value)
            seconds = clock.now() - start
            trace.answer = value  # type: ignore[assignment]  # the last stage's value is the answer
            self.on_record(self._record(trace, "unsynchronised", seconds, None))
            self.progress.advance()

    def measure_throughput(
        self, benchmark: Benchmark, samples: Sequence[Sample], *, workers: int, warmup: int
    ) -> list[PassRecord]:
        """Time one pass over `samples`, in one round, with files loaded ahead of the model by so many threads.

        Nothing but the bar runs between two samples: a pause would be a present to the loading threads.
        """
        samples = samples if benchmark.enabled else samples[:1]
        warmup = min(warmup, len(samples)) if benchmark.enabled else 0
        self.progress.start("throughput", warmup + len(samples))
        for sample in samples[:warmup]:
            self._warm_up(sample)
            self.progress.advance()
        passed: list[tuple[Trace, float, Failure | None]] = []

        def pass_over_all() -> None:
            before = clock.now()
            with loaded_ahead(self.calls["load"], samples, workers) as loadings:
                for sample, loading in loadings:
                    trace = Trace(sample)
                    failure = self._from_loaded(trace, loading)
                    after = clock.now()
                    passed.append((trace, after - before, failure))
                    before = after
                    self.progress.advance()

        benchmark.pedantic(pass_over_all, setup=lambda: None, teardown=lambda: None, rounds=1)
        if all(failure for _, _, failure in passed):
            benchmark.has_error = True
        return [self._record(trace, "throughput", seconds, failure) for trace, seconds, failure in passed]

    def _from_loaded(self, trace: Trace, loading: Future[Any]) -> Failure | None:
        """Take a sample whose file is being loaded through the stages after that; return how it failed, if it did."""
        value: Any = None
        for stage, call in self.calls.items():
            try:
                value = loading.result() if stage == "load" else call(value)
            except Exception as error:  # whatever a model or a file raises is a record, and the other samples go on
                return failure_of(error, trace.sample.id, stage)
            trace.source, trace.state = trace.source or source_of(value), trace.state or state_of(value)
        trace.answer = value
        return None

    def _warm_up(self, sample: Sample) -> None:
        try:
            self._synchronised(Trace(sample))
        except StageError:
            return  # the sample is run again, and its failure recorded then

    def _synchronised(self, trace: Trace) -> None:
        value: Any = trace.sample
        before = clock.now()
        for stage, call in self.calls.items():
            try:
                value = call(value)
            except Exception as error:
                raise StageError(stage, error) from error
            after = clock.now()
            trace.stage_s[stage] = after - before
            trace.source, trace.state = trace.source or source_of(value), trace.state or state_of(value)
            before = after
        trace.answer = value

    def _record(self, trace: Trace, kind: PassKind, seconds: float, failure: Failure | None) -> PassRecord:
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
