"""The whole pass: every sample once through all stages of a model, as the old script ran them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import clock
from harness.progress import Progress
from harness.records import Failure, PassKind, PassRecord, timestamp
from harness.rounds import Benchmark, Holder, StageError, timed_rounds
from harness.stages import Answer, Pipeline, Sample

Calls = dict[str, Callable[[Any], Any]]


class Trace:
    """One sample's way through the stages; filled as it goes, so that a failing stage leaves the times before it."""

    __slots__ = ("answer", "sample", "source", "stage_s")

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.stage_s: dict[str, float] = {}
        self.source = ""
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
            trace.source = trace.source or getattr(value, "source", "")
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
            test=self.test,
        )
