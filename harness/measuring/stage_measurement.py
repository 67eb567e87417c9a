"""One stage measured by itself: a cold round per sample, timed rounds, and memory rounds."""

import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import chain, takewhile
from typing import Any

from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.memory import Meter
from harness.measuring.progress import Progress
from harness.measuring.rounds import Round, StageError, timed_rounds
from harness.measuring.stopping import recover_from, stop_if_asked
from harness.options import RoundsPlan
from harness.records.lines import Failure, StageRecord, StageWork
from harness.records.quantities import MemoryPeak
from harness.stages import Sample, max_other_states, most_common_state, source_of, state_of


@dataclass(slots=True)
class StageMeasurement:
    """Measurements of one stage; grows while the rounds run, so that a failure loses nothing before it."""

    cold_s: dict[str, float] = field(default_factory=dict)
    cold_states: dict[str, str] = field(default_factory=dict)
    round_samples: list[str] = field(default_factory=list)
    round_s: list[float] = field(default_factory=list)
    round_states: list[str] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    memory: dict[str, MemoryPeak] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    work: dict[str, StageWork] = field(default_factory=dict)
    visual_tokens: dict[str, int] = field(default_factory=dict)
    probes: dict[str, tuple[float, ...]] = field(default_factory=dict)
    not_finite: set[str] = field(default_factory=set)
    not_repeated: set[str] = field(default_factory=set)
    first_ids: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def note(self, output: Any, sample: str, examined: Any) -> None:
        """Keep tokens and source of a round's output, and its checks `examined` (see `Pipeline.examine`)."""
        if hasattr(output, "token_ids"):
            self.tokens[sample] = len(output.token_ids)
            if self.first_ids.setdefault(sample, tuple(output.token_ids)) != tuple(output.token_ids):
                self.not_repeated.add(sample)
        source = source_of(output)
        if source:
            self.sources.add(source)
        if examined is None:
            return
        if examined.finite:
            self.probes.setdefault(sample, examined.probes)
        else:
            self.not_finite.add(sample)
        if examined.visual_tokens is not None:
            self.visual_tokens[sample] = examined.visual_tokens

    def record(self, **names: Any) -> StageRecord:
        """Return the measurements as a record; `names` are its test, model, engine, stage and variant."""
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "first_ids"}
        kept |= {name: tuple(sorted(each)) for name, each in kept.items() if isinstance(each, set)}
        kept |= {name: tuple(each) for name, each in kept.items() if isinstance(each, list)}
        if not any(self.round_states):
            kept["round_states"] = ()
        if not any(self.cold_states.values()):
            kept["cold_states"] = {}
        return StageRecord(**names, **kept)


class StageInputs:
    """The inputs of one stage, by sample, made by the stages before it; kept, but for decoding made anew."""

    def __init__(self, calls: dict[str, Callable[[Any], Any]], stage: str) -> None:
        self._calls = calls
        order = tuple(calls)
        before = order[: order.index(stage)]
        # Decoding consumes the KV cache, so every round gets a fresh prefill.
        self._kept_stages, self._fresh_stages = (before[:-1], before[-1:]) if stage == "decode" else (before, ())
        self._kept: dict[str, Any] = {}

    def prepare(self, sample: Sample) -> Any:
        """Return the stage's input; raise StageError naming the earlier stage that failed."""
        if sample.id not in self._kept:
            self._kept[sample.id] = self._through(self._kept_stages, sample)
        return self._through(self._fresh_stages, self._kept[sample.id])

    def release(self, *samples: str) -> None:
        """Free the kept inputs of these samples, or of all."""
        for sample in samples or tuple(self._kept):
            self._kept.pop(sample, None)

    def _through(self, stages: Sequence[str], value: Any) -> Any:
        for stage in stages:
            try:
                value = self._calls[stage](value)
            except Exception as error:
                raise StageError(stage, error) from error
        return value


@dataclass(slots=True)
class StageRun:
    """Measures one stage of a pipeline; `calls`: all its stages by name, `work_of`: the minimum work of one."""

    benchmark: Benchmark
    calls: dict[str, Callable[[Any], Any]]
    stage: str
    work_of: Callable[[str, Any, Any], Any]
    meter: Meter
    progress: Progress
    # Takes readings before some timed rounds, untimed; gets the seconds that all rounds are to fill.
    between: Callable[[Iterable[Sample], float], Iterable[Sample]] = lambda samples, _lasting_s: samples
    memory_samples: int | None = None  # number of samples with a memory round; None: all
    examine: Callable[[Any], Any] = lambda _output: None  # checks the output of a round, untimed
    result: StageMeasurement = field(default_factory=StageMeasurement)

    def measure(self, samples: Sequence[Sample], plan: RoundsPlan) -> StageMeasurement:
        """Take `samples` through all kinds of rounds, timed ones as the plan says.

        A sample that fails is recorded and left out of what follows. With benchmarks disabled the stage runs once, on
        the first sample, and nothing is measured.
        """
        inputs = StageInputs(self.calls, self.stage)
        if not self.benchmark.enabled:
            self._timed_rounds(inputs, samples[:1], 1)
            return self.result
        self.progress.start(self.stage, len(samples) * (plan.max_rounds + 2))
        ready = [sample for sample in samples if self._cold_round(inputs, sample)]
        if ready:
            enough_s, most = plan.min_time_s * len(ready), len(ready) * plan.max_rounds
            # All samples in turn, so that drift meets all.
            rounds = takewhile(lambda _: not plan.are_enough(self.result.round_s, len(ready)), range(plan.max_rounds))
            turns = (sample for _ in rounds for sample in ready)
            all_rounds = chain(turns, self._rounds_to_repeat({sample.id: sample for sample in ready}))
            self._timed_rounds(inputs, self.between(all_rounds, enough_s), most + max_other_states(most))
        else:
            self.benchmark.discard()
        inputs.release()
        call = self.calls[self.stage]
        for sample in ready[: self.memory_samples]:
            memory = self._untimed_round(inputs, sample, lambda given: self.meter(partial(call, given)))
            inputs.release()
            if memory.failure is None:
                self.result.memory[sample.id] = memory.output
            del memory  # its input may hold a KV cache
        return self.result

    def _cold_round(self, inputs: StageInputs, sample: Sample) -> bool:
        """Time a sample's first way through the stage; return whether it succeeded."""

        def timed(given: Any) -> Any:
            start = clock.now()
            output = self.calls[self.stage](given)
            self.result.cold_s[sample.id] = clock.now() - start  # `now` raises failures of queued GPU work
            return output

        cold = self._untimed_round(inputs, sample, timed)
        if cold.failure is not None:
            return False
        self.result.note(cold.output, sample.id, self.examine(cold.output))
        self.result.cold_states[sample.id] = state_of(cold.output)
        work = self.work_of(self.stage, cold.input, cold.output)
        if work is not None:
            self.result.work[sample.id] = StageWork(work.bytes, work.operations, work.dtype)
        return True

    def _timed_rounds(self, inputs: StageInputs, samples: Iterable[Sample], most: int) -> None:
        def finish(this: Round, seconds: float) -> None:
            if this.failure is None:
                self.result.round_samples.append(this.sample.id)
                self.result.round_s.append(seconds)
                self.result.round_states.append(state_of(this.output))
                self.result.note(this.output, this.sample.id, self.examine(this.output))

        gc.collect()
        self.result.failures += timed_rounds(
            self.benchmark,
            samples,
            most,
            stage=self.stage,
            prepare=inputs.prepare,
            call=self.calls[self.stage],
            finish=finish,
            progress=self.progress,
        )
        # pytest-benchmark's statistics are of rounds in the most frequent state; the record has all rounds.
        states = self.result.round_states
        if len(set(states)) > 1:
            kept = most_common_state(states)
            self.benchmark.leave_out([index for index, state in enumerate(states) if state != kept])

    def _rounds_to_repeat(self, samples: dict[str, Sample]) -> Iterator[Sample]:
        """Yield samples of rounds whose file was in another state, as after an evicted page, if they are few."""
        planned = len(self.result.round_s)
        for _ in range(max_other_states(planned)):
            kept = most_common_state(self.result.round_states)
            rounds = zip(self.result.round_samples, self.result.round_states, strict=True)
            in_kept_state = Counter(sample for sample, state in rounds if state == kept)
            missing = Counter(self.result.round_samples[:planned]) - in_kept_state
            if not 0 < missing.total() <= max_other_states(planned):
                return
            yield samples[next(iter(missing))]

    def _untimed_round(self, inputs: StageInputs, sample: Sample, call: Callable[[Any], Any]) -> Round:
        """Take a sample through `call` untimed; after a failure, record it and free the sample's inputs."""
        stop_if_asked()
        this = Round(sample)
        this.input = this.run(inputs.prepare, sample, self.stage)
        if this.failure is None:
            this.output = this.run(call, this.input, self.stage)
        self.progress.advance()
        if this.failure is not None:
            this.input = None
            inputs.release(sample.id)
            self.result.failures.append(this.failure)
            recover_from(this.failure)
        return this
