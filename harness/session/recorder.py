"""The fixture of a recording test: it measures, records, and fails the test for failed samples and broken limits."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import pytest

from harness.figures.passes import samples_per_second
from harness.figures.speculation import acceptance_statistics
from harness.figures.stages import comparable_rounds, median_ms_per_token, times_faster
from harness.measuring.benchmark import Benchmark
from harness.measuring.progress import Progress
from harness.measuring.reference_work import Probe
from harness.measuring.rounds import AnySample, Interleaved, first_that_works, timed_pairs
from harness.measuring.speculation import Line, Pair, SpeculationRun
from harness.measuring.stage_measurement import StageRun
from harness.measuring.stopping import limited
from harness.measuring.whole_pass import PassTally, RemainingSamples, WholePass
from harness.measuring.work import ON_DEVICE, versions, watch_stages
from harness.options import MIN_ROUNDS
from harness.records import lines as records
from harness.records.quantities import MIB, MemoryPeak, is_gpu
from harness.records.speculation import SpeculationRecord
from harness.session.session import Session
from harness.stages import Length, Pipeline, Sample, max_other_states, most_common_state, stage_calls

# Few tokens warm up all of decoding: every step after the prefill is alike.
WARM_UP_TOKENS = 8
# Tokens of a profiled answer: steps are alike, and a trace lists every kernel of each.
WATCHED_TOKENS = 8

# On a CPU the peak is the whole process's, which differed by 0.2 % at most over eight samples of the tiny set.
HOST_MEMORY_SAMPLES = 1


@dataclass(frozen=True, slots=True)
class Recorder:
    """Measures for one test; `stage` is the name on the test's marker."""

    session: Session
    benchmark: Benchmark
    test: str
    stage: str

    def measure_stage(
        self,
        pipeline: Pipeline,
        samples: Sequence[Sample],
        *,
        length: Length,
        engine: str | None = None,
        variant: str = "",
        replacement: Callable[[Any], Any] | None = None,
    ) -> None:
        """Measure the marker's stage of `pipeline` on `samples`; record it under `variant`.

        `replacement` runs in place of the stage, or after the last one where pipelines have no such stage.
        Fails the test, after everything is written, where a sample failed or a limit is broken.
        """
        pipeline = pipeline.with_engine(engine) if engine else pipeline
        calls = stage_calls(pipeline, length)
        if replacement is not None:
            calls[self.stage] = replacement
        options, device, probe = self.session.options, self.session.device, self._probe(engine)
        calls = {stage: limited(call, options.sample_timeout) for stage, call in calls.items()}
        meter = self.session.instruments.memory_meter(device)
        memory_samples = None if is_gpu(device) else HOST_MEMORY_SAMPLES
        with Progress(self.session.terminal, pipeline.key) as progress:
            run = StageRun(
                self.benchmark,
                calls,
                self.stage,
                pipeline.work,
                meter,
                progress,
                probe.between,
                memory_samples,
                getattr(pipeline, "examine", lambda _output: None),  # a user's model may lack it
            )
            result = run.measure(samples, options.rounds_plan)
        record = result.record(test=self.test, model=pipeline.key, engine=engine, stage=self.stage, variant=variant)
        self.session.advice.extend(_state_advice(record))
        self.benchmark.extra_info.update(_stage_extra_info(record))
        lines: list[records.JournalLine] = [*_engine_records(pipeline, engine), record, *probe.records()]
        self._finish_test(lines, result.failures, taken=len(samples), figures=bool(record.round_s))

    def measure_whole_pass(
        self,
        pipeline: Pipeline,
        samples: Sequence[Sample],
        *,
        engine: str,
        kind: records.PassKind,
        length: Length,
        also_unsynchronised: Sequence[Sample] = (),
    ) -> list[records.PassRecord]:
        """Take every sample once through all stages of `pipeline`; return the passes that succeeded.

        On a GPU, samples of `also_unsynchronised` run again right after, with no clock between the stages. Each record
        is on disk before the next sample starts; a resumed run takes missing samples only. Fails as `measure_stage`.
        """
        done, probe = self.session.finished(kind, pipeline.key, engine), self._probe(engine)
        tally, pipeline = PassTally(done.values()), pipeline.with_engine(engine)
        unsynchronised = {each.id: each for each in also_unsynchronised if is_gpu(self.session.device)}
        for sample in self.session.finished("unsynchronised", pipeline.key, engine):
            unsynchronised.pop(sample, None)
        warm_up = samples[: self.session.options.warmup_steps]
        again = lambda sample: unsynchronised.pop(sample.id, None) is not None  # noqa: E731
        with Progress(self.session.terminal, pipeline.key) as progress:
            work = RemainingSamples(probe.between(self._remaining(samples, done, progress)), len(samples))
            whole = self._whole_pass(pipeline, engine, length, tally, progress)
            whole.measure(self.benchmark, work, kind=kind, warm_up=warm_up, again=again)
            before = [sample for key, sample in unsynchronised.items() if key in tally.succeeded]
            if self.benchmark.enabled and before:
                whole.measure_unsynchronised(before)
        self.benchmark.extra_info.update(model=pipeline.key, engine=engine, stage=self.stage, kind=kind)
        lines: list[records.JournalLine] = [*_engine_records(pipeline, engine), *probe.records()]
        self._finish_test(lines, tally.failures.values(), taken=tally.taken, figures=bool(tally.succeeded))
        return list(tally.succeeded.values())

    def measure_throughput(self, pipeline: Pipeline, samples: Sequence[Sample], *, engine: str, length: Length) -> None:
        """Take every sample once through `pipeline` while files are loaded ahead; else as `measure_whole_pass`."""
        options, pipeline = self.session.options, pipeline.with_engine(engine)
        done = self.session.finished("throughput", pipeline.key, engine)
        tally, warm_up = PassTally(done.values()), samples[: options.warmup_steps]
        workers, ahead = options.loader_workers, options.prefetch or 2 * options.loader_workers
        with Progress(self.session.terminal, pipeline.key) as progress:
            work = RemainingSamples(self._remaining(samples, done, progress), len(samples))
            whole = self._whole_pass(pipeline, engine, length, tally, progress)
            whole.measure_throughput(self.benchmark, work, workers=workers, ahead=ahead, warm_up=warm_up)
        self.benchmark.extra_info.update(model=pipeline.key, engine=engine, stage=self.stage, kind="throughput")
        rate = samples_per_second(tally.records)
        self.benchmark.extra_info.update(loader_workers=workers, prefetch=ahead, samples_per_second=rate)
        lines = _engine_records(pipeline, engine)
        self._finish_test(lines, tally.failures.values(), taken=tally.taken, figures=bool(tally.succeeded))

    def measure_side_by_side(
        self, samples: Sequence[AnySample], prepare: Callable[[AnySample], Interleaved], *, pairs: int | None = None
    ) -> None:
        """Time a way and its reference in turn, on the first sample on which both succeed.

        `pairs` defaults to four times --rounds, or 12. Fails the test, after all is written, where an earlier sample
        failed or `prepare` gave a complaint.
        """
        sample, comparison, failures = first_that_works(samples, prepare, self.stage)
        complaints = [failure.sentence() for failure in failures]
        if sample is None or comparison is None:
            pytest.fail("\n".join(["no sample could be measured", *complaints]), pytrace=False)
        if failures:
            complaints.insert(0, f"sample {sample.id!r} was measured, since those before it could not be")
        if comparison.complaint:
            complaints.append(comparison.complaint)
        pairs, lines = pairs or 4 * (self.session.options.rounds or MIN_ROUNDS), []
        way_s, reference_s = timed_pairs(self.benchmark, comparison, pairs)
        if self.benchmark.enabled:
            names = comparison.what, comparison.way[0], comparison.reference[0]
            seconds = tuple(way_s), tuple(reference_s)
            conditions = {"sample": sample.id} | comparison.conditions
            lines = [records.SideBySideRecord(self.test, *names, *seconds, conditions)]
            facts = dict(zip(("what", "way", "reference"), names, strict=True)) | conditions
            self.benchmark.extra_info.update(facts, times_faster=times_faster(*seconds))
        self._finish_test(lines, [], taken=0, figures=True, complaints=complaints)

    def measure_speculation(
        self, pair: Pair, samples: Sequence[Sample], *, target: str, engine: str, requests: int | None = None
    ) -> list[SpeculationRecord]:
        """Answer samples by the target alone and by the pair; return the records of the pair.

        The target answers all samples, the pair the first `requests` (None: all). Every record is on disk before the
        next measurement. Fails the test as `measure_stage`.
        """
        answered: list[SpeculationRecord] = []

        def on_record(record: Line) -> None:
            self.session.append(record)
            if isinstance(record, SpeculationRecord):
                answered.append(record)

        meter = self.session.instruments.memory_meter(self.session.device)
        with Progress(self.session.terminal, target) as progress:
            run = SpeculationRun(self.benchmark, pair, self.test, target, engine, progress, meter)
            failures = run.measure(samples, on_record, requests, self.session.answers("whole", target, engine))
        rounds = [each for request in answered for each in request.rounds]
        if rounds:
            statistics = msgspec.to_builtins(acceptance_statistics(rounds))
            self.benchmark.extra_info.update(target=target, engine=engine, gamma=pair.gamma, **statistics)
        self._finish_test([], failures, taken=len(samples), figures=bool(answered))
        return answered

    def _probe(self, engine: str | None) -> Probe:
        """Return a probe of the host's speed between rounds; it reads nothing where a captured engine needs no host."""
        host = self.session.device == "cpu" or engine in {None, "eager"}
        return Probe(self.test, host=host, workloads=self.session.instruments.workloads)

    def _remaining(self, samples: Sequence[Sample], done: Container[str], progress: Progress) -> Iterator[Sample]:
        """Yield the samples that this process takes, without those of `done`."""
        for index in self.session.indices(self.test, len(samples)):
            if samples[index].id not in done:
                progress.reach(index)
                yield samples[index]

    def _whole_pass(
        self, pipeline: Pipeline, engine: str, length: Length, tally: PassTally, progress: Progress
    ) -> WholePass:
        def write_down(record: records.PassRecord) -> None:
            self.session.append(record)
            tally.add(record)

        calls, limit_s = stage_calls(pipeline, length), self.session.options.sample_timeout
        # On a GPU, cuDNN plans attention anew for each context length: the warm-up meets all lengths.
        warm_up_length = length if is_gpu(self.session.device) else length.at_most(WARM_UP_TOKENS)
        warm_up_calls = stage_calls(pipeline, warm_up_length)
        return WholePass(pipeline, calls, warm_up_calls, engine, write_down, progress, self.test, limit_s)

    def _finish_test(
        self,
        lines: Iterable[records.JournalLine],
        failures: Collection[records.Failure],
        *,
        taken: int,
        figures: bool,
        complaints: Sequence[str] = (),
    ) -> None:
        broken = []
        if self.benchmark.enabled:
            for line in lines:
                self.session.append(line)
            self.session.figures += figures
            broken = self.session.judge_test(self.test)
        samples = dict.fromkeys(failure.sample for failure in failures)
        failed = [f"{len(samples)} of {taken} samples failed: {', '.join(samples)}"] if failures else []
        sentences = dict.fromkeys(failure.sentence() for failure in failures)
        all_complaints = [*broken, *failed, *sentences, *complaints]
        if all_complaints:
            pytest.fail("\n".join(all_complaints), pytrace=False)


def watch_work(
    session: Session,
    test: str,
    pipeline: Pipeline,
    sample: Sample,
    *,
    length: Length,
    engine: str,
    stages: Container[str],
) -> None:
    """Record the work of `stages` of `pipeline` on one sample; other stages are recorded only where they fail.

    Call it after all timed tests on a GPU: kernel launches take longer after a profiler's first trace.
    """
    pipeline, device = pipeline.with_engine(engine), session.device
    calls = stage_calls(pipeline, length.at_most(WATCHED_TOKENS))
    calls = {stage: limited(call, session.options.sample_timeout) for stage, call in calls.items()}
    # A user's model may lack this method.
    amounts: Callable[[Any], dict[str, int]] = getattr(pipeline, "amounts", lambda _output: {})
    for stage, watched in watch_stages(calls, sample, device, amounts):
        if stage in stages or not watched.counts:
            of = engine if stage in ON_DEVICE else None
            names = {"test": test, "model": pipeline.key, "engine": of, "stage": stage}
            session.append(watched.record(**names, versions=versions(device)))


def _engine_records(pipeline: Pipeline, engine: str | None) -> list[records.EngineRecord]:
    """Return a record of the engine's facts after its work, or none for the library's own engine."""
    facts = pipeline.engine_facts() if engine else None
    return [] if engine is None or facts is None else [records.EngineRecord(pipeline.key, engine, asdict(facts))]


def _stage_extra_info(record: records.StageRecord) -> dict[str, Any]:
    """Return `extra_info` of a stage test in pytest-benchmark's file: the sample of each round, cold times, memory."""
    peak = MemoryPeak.highest(record.memory.values())
    return {
        name: getattr(record, name) for name in ("model", "engine", "stage", "variant", "cold_s", "cold_states")
    } | {
        "samples": [sample for sample, _ in comparable_rounds(record)],
        "sources": list(record.sources),
        "state": most_common_state(record.round_states) if record.round_states else "",
        "host_peak_mib": peak.host_bytes and peak.host_bytes / MIB,
        "device_peak_allocated_mib": peak.device_allocated_bytes and peak.device_allocated_bytes / MIB,
        "ms_per_token": median_ms_per_token(record),
    }


def _state_advice(record: records.StageRecord) -> list[str]:
    """Return advice where a few rounds found the file in another state than most."""
    kept = most_common_state(record.round_states) if record.round_states else ""
    others = [state for state in record.round_states if state != kept]
    if not 0 < len(others) <= max_other_states(len(record.round_s)):
        return []
    return [
        f"{record.stage} of {record.model}: {len(others)} of {len(record.round_s)} rounds found the file in another "
        f"state ({', '.join(dict.fromkeys(others))}, not {kept}); they are left out and were measured again"
    ]
