"""Speculative decoding under measurement: request by request, the target alone and then the pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness import clock
from harness.progress import Progress
from harness.records import AgreementRecord, Failure, RoundLog, SpeculationRecord
from harness.rounds import Benchmark, Holder, timed_rounds
from harness.stages import Sample


class Pair(Protocol):
    """A draft and a target, as the harness needs them."""

    gamma: int

    def alone(self, sample: Any, clock: Callable[[], float]) -> tuple[Any, float]:
        """The target's answer by itself, and the seconds that decoding took of it."""

    def together(self, sample: Any, clock: Callable[[], float]) -> Any:
        """The answer as `generation`, its `rounds`, and the seconds of the `loop_s`."""

    def agreements(self, samples: Any, answers: Any) -> list[dict[str, list[bool]]]:
        """For each sample, by what the draft is shown: where it would say what the target said."""


class Alone:
    """What the target said by itself, and how long that took."""

    def __init__(self, pair: Pair, sample: Sample) -> None:
        start = clock.now()
        self.answer, self.decode_s = pair.alone(sample, clock.now)
        self.seconds = clock.now() - start
        self.sample = sample


@dataclass(frozen=True, slots=True)
class SpeculationRun:
    """One pair of models under measurement, for one test."""

    benchmark: Benchmark
    pair: Pair
    test: str
    target: str
    engine: str
    progress: Progress

    def measure(
        self, samples: Sequence[Sample], on_record: Callable[[SpeculationRecord], None]
    ) -> tuple[list[AgreementRecord], list[Failure]]:
        """Take each sample through both ways in turn, the first one once before; pytest-benchmark times the pair.

        Returns where draft and target agree on the samples that came through, and what failed. With benchmarks
        disabled one sample goes both ways and nothing is measured.
        """
        self.progress.start("speculative", len(samples) if self.benchmark.enabled else 1)
        answered: dict[str, Alone] = {}

        def prepare(sample: Sample) -> Alone:
            if not answered:
                self.pair.together(sample, clock.now)
            return Alone(self.pair, sample)

        def finish(holder: Holder, seconds: float) -> None:
            if holder.failure is None:
                answered[holder.sample.id] = holder.input
                on_record(self._record(holder.input, holder.output, seconds))

        failures = timed_rounds(
            self.benchmark,
            samples,
            len(samples),
            stage="speculative",
            prepare=prepare,
            call=lambda alone: self.pair.together(alone.sample, clock.now),
            finish=finish,
            progress=self.progress,
        )
        return self._agreements([sample for sample in samples if sample.id in answered], answered), failures

    def _agreements(self, samples: Sequence[Sample], answered: dict[str, Alone]) -> list[AgreementRecord]:
        if len(samples) < 2:  # the controls take another sample's pictures
            return []
        found = self.pair.agreements(samples, [answered[sample.id].answer.token_ids for sample in samples])
        return [
            AgreementRecord(
                self.test, sample.id, self.target, self.engine, {kind: tuple(each) for kind, each in agrees.items()}
            )
            for sample, agrees in zip(samples, found, strict=True)
        ]

    def _record(self, alone: Alone, found: Any, seconds: float) -> SpeculationRecord:
        ids = tuple(found.generation.token_ids)
        return SpeculationRecord(
            test=self.test,
            sample=alone.sample.id,
            target=self.target,
            engine=self.engine,
            gamma=self.pair.gamma,
            rounds=tuple(
                RoundLog(each.drafted, each.accepted, each.emitted, each.draft_s, each.verify_s)
                for each in found.rounds
            ),
            token_ids=ids,
            identical=ids == tuple(alone.answer.token_ids),
            alone_s=alone.seconds,
            alone_decode_s=alone.decode_s,
            alone_steps=len(alone.answer.token_ids) - 1,
            pair_s=seconds,
            loop_s=found.loop_s,
        )
