"""Speculative decoding under measurement: request by request, the target alone and then the pair."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from harness.measuring import clock
from harness.measuring.benchmark import Benchmark
from harness.measuring.memory import Meter
from harness.measuring.progress import Progress
from harness.measuring.rounds import Round, Variant, seconds_in_turn, timed_rounds
from harness.measuring.stopping import recover_from, stop_if_asked
from harness.records.lines import Failure
from harness.records.speculation import (
    AgreementRecord,
    DivergenceRecord,
    RoundLog,
    SpeculationCostRecord,
    SpeculationRecord,
)
from harness.stages import Sample

# Tokens of the longest timed verification pass, and timed turns of all pieces.
MAX_PASS, TURNS = 32, 3
# Several steps are timed together: an engine may read a token while the device computes the next one.
STEPS_AT_ONCE = 4
# All other times are divided by step times, so steps are timed again after every few passes.
PASSES_BETWEEN_STEPS = 4

Line = AgreementRecord | SpeculationRecord | SpeculationCostRecord


class AlignedContext(Protocol):
    """A target and a draft at the same position of an answer; `restore` is called after each piece of work."""

    @property
    def dtype(self) -> str:
        """The type that the target computes in."""

    @property
    def target_context(self) -> int:
        """Positions that a step of the target attends to."""

    @property
    def draft_context(self) -> int:
        """Positions that a step of the draft attends to."""

    def steps(self, count: int) -> None:
        """Take `count` decoding steps of the target alone."""

    def draft_step(self) -> None:
        """Propose one token by the draft."""

    def verify(self, count: int) -> None:
        """Run one pass of the target over `count` tokens."""

    def restore(self) -> None:
        """Remove the added positions from both KV caches."""


class Pair(Protocol):
    """A draft and a target, as the harness needs them."""

    gamma: int

    def generate_target(self, sample: Any, clock: Callable[[], float]) -> tuple[Any, float]:
        """Return the answer of the target alone, and the seconds of its decoding."""

    def generate_speculative(self, sample: Any, clock: Callable[[], float]) -> Any:
        """Return `generation`, its `rounds`, `loop_s` (seconds of all rounds) and `first_s` (to the first token)."""

    def agreements(self, samples: Any, answers: Any) -> list[dict[str, list[bool]]]:
        """Return per sample, by what the draft is shown, whether it predicts the target's token at each position."""

    def aligned_context(self, sample: Any, answer: Any) -> AlignedContext:
        """Return both models in the middle of the target's answer."""

    def divergence(self, sample: Any, alone: Any, together: Any) -> Any:
        """Return `place`, `margin` and `allowed` of the first difference of two answers; None without any."""


class TargetOnly:
    """The answer of the target alone, with its total seconds and those of decoding."""

    def __init__(self, pair: Pair, sample: Sample) -> None:
        start = clock.now()
        self.answer, self.decode_s = pair.generate_target(sample, clock.now)
        self.seconds = clock.now() - start
        self.sample = sample


@dataclass(frozen=True, slots=True)
class SpeculationRun:
    """Measures one pair of models, for one test."""

    benchmark: Benchmark
    pair: Pair
    test: str
    target: str
    engine: str
    progress: Progress
    meter: Meter

    def measure(
        self,
        samples: Sequence[Sample],
        on_record: Callable[[Line], None],
        requests: int | None = None,
        known: Mapping[str, Sequence[int]] = MappingProxyType({}),
    ) -> list[Failure]:
        """Answer the first `requests` samples (None: all) by the target and then by the pair; return the failures.

        Costs of the pieces are measured first, when an engine captures or compiles; agreements of all samples last.
        `known`: the target's answers by sample, where it has given them before. With benchmarks disabled one sample is
        answered in both ways and nothing is recorded.
        """
        self.progress.start("speculative", len(samples) if self.benchmark.enabled else 1)
        answered: dict[str, Sequence[int]] = {}
        warm: list[SpeculationCostRecord] = []

        def prepare(sample: Sample) -> TargetOnly:
            if self.benchmark.enabled and not warm:
                warm.append(self._costs(TargetOnly(self.pair, sample)))
                on_record(warm[0])
            return TargetOnly(self.pair, sample)

        def finish(this: Round, seconds: float) -> None:
            if this.failure is None:
                answered[this.sample.id] = this.input.answer.token_ids
                on_record(self._record(this.input, this.output, seconds))

        failures = timed_rounds(
            self.benchmark,
            samples[:requests],
            len(samples[:requests]),
            stage="speculative",
            prepare=prepare,
            call=lambda alone: self.pair.generate_speculative(alone.sample, clock.now),
            finish=finish,
            progress=self.progress,
        )
        others = samples[requests:] if requests is not None and self.benchmark.enabled else ()
        answered |= {sample.id: known[sample.id] for sample in others if sample.id in known}
        for sample in others:
            stop_if_asked()
            if sample.id not in answered:
                this = Round(sample)
                this.output = this.run(partial(TargetOnly, self.pair), sample, "speculative")
                if this.failure is None:
                    answered[sample.id] = this.output.answer.token_ids
                else:
                    failures.append(this.failure)
                    recover_from(this.failure)
            self.progress.advance()
        for agreement in self._agreements([sample for sample in samples if sample.id in answered], answered):
            on_record(agreement)
        return failures

    def _agreements(self, samples: Sequence[Sample], answered: Mapping[str, Sequence[int]]) -> list[AgreementRecord]:
        if len(samples) < 2:  # the control "shuffled" needs another sample's pictures
            return []
        found = self.pair.agreements(samples, [answered[sample.id] for sample in samples])
        return [
            AgreementRecord(*self._names(sample), {kind: tuple(each) for kind, each in agrees.items()})
            for sample, agrees in zip(samples, found, strict=True)
        ]

    def _names(self, sample: Sample) -> tuple[str, str, str, str]:
        """Return the fields that every record begins with: test, sample, target, engine."""
        return self.test, sample.id, self.target, self.engine

    def _costs(self, alone: TargetOnly) -> SpeculationCostRecord:
        """Measure time and memory of the pieces, in rounds of their own."""
        sample = alone.sample
        context = self.pair.aligned_context(sample, alone.answer.token_ids)
        step_times = measure_step_times(context)
        conditions = context.dtype, context.target_context, context.draft_context
        del context  # two KV caches
        return SpeculationCostRecord(
            *self._names(sample),
            *conditions,
            **msgspec.structs.asdict(step_times),
            alone_memory=self.meter(lambda: self.pair.generate_target(sample, clock.now)),
            pair_memory=self.meter(lambda: self.pair.generate_speculative(sample, clock.now)),
        )

    def _record(self, alone: TargetOnly, speculative: Any, seconds: float) -> SpeculationRecord:
        ids = tuple(speculative.generation.token_ids)
        identical = ids == tuple(alone.answer.token_ids)
        divergence = None if identical else self.pair.divergence(alone.sample, alone.answer.token_ids, ids)
        return SpeculationRecord(
            *self._names(alone.sample),
            gamma=self.pair.gamma,
            rounds=msgspec.convert(tuple(speculative.rounds), tuple[RoundLog, ...], from_attributes=True),
            token_ids=ids,
            identical=identical,
            alone_s=alone.seconds,
            alone_decode_s=alone.decode_s,
            alone_steps=len(alone.answer.token_ids) - 1,
            pair_s=seconds,
            loop_s=speculative.loop_s,
            first_alone_s=alone.seconds - alone.decode_s,
            first_pair_s=speculative.first_s,
            divergence=divergence and DivergenceRecord(divergence.place, divergence.margin, divergence.allowed),
        )


class StepTimes(msgspec.Struct, frozen=True):
    """Raw seconds of one target step, one draft step, and one verification pass by its number of tokens."""

    step_s: tuple[float, ...]
    draft_step_s: tuple[float, ...]
    verify_s: dict[int, tuple[float, ...]]


def measure_step_times(context: AlignedContext, *, turns: int = TURNS, longest: int = MAX_PASS) -> StepTimes:
    """Time steps of both models, and verification passes over 1 to `longest` tokens, all in turn."""
    ways: list[Variant] = []
    for count in range(1, longest + 1):
        if count % PASSES_BETWEEN_STEPS == 1:
            ways += [("step", partial(context.steps, STEPS_AT_ONCE)), ("draft step", context.draft_step)]
        ways.append((str(count), partial(context.verify, count)))
    seconds = seconds_in_turn(ways, turns, afterwards=context.restore)
    step_s, draft_step_s = seconds.pop("step"), seconds.pop("draft step")
    verify_s = {int(count): tuple(each) for count, each in seconds.items()}
    return StepTimes(tuple(each / STEPS_AT_ONCE for each in step_s), tuple(draft_step_s), verify_s)
