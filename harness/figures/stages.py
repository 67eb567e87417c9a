"""Figures of stage tests: times and memory by model and stage, and stage 1's speedup."""

from collections.abc import Callable, Collection, Sequence
from statistics import fmean, median
from typing import Self

import msgspec

from harness.figures.intervals import Interval, ratio_interval
from harness.figures.summary import Summary, summarize
from harness.grouping import grouped
from harness.records.lines import RunRecord, StageRecord
from harness.records.quantities import MemoryPeak
from harness.stages import most_common_state

# A function from the values of many rounds to one.
Pooling = Callable[[Collection[float]], float]
LEGACY_READER = "legacy reader"


class StageFigure(msgspec.Struct, frozen=True):
    """Time of one stage of one model: over timed rounds in one state, and of the first sample's cold round."""

    model: str
    engine: str | None
    stage: str
    variant: str
    state: str
    is_most_common: bool  # `state` is the measurement's most frequent one
    seconds: Summary
    cold_s: float
    median_ms_per_token: float | None

    @property
    def names(self) -> tuple[str | None, ...]:
        """The fields that identify it, for the names of its figures."""
        return self.stage, self.model, self.engine, self.variant, self.state


class Speedup(msgspec.Struct, frozen=True):
    """The speedup of the draft over a target: ratio of mean seconds, over samples that both have."""

    target_mean_s: float
    draft_mean_s: float
    samples: int
    interval: Interval | None = None

    @classmethod
    def of(cls, target_s: Sequence[float], draft_s: Sequence[float]) -> Self:
        """Return the speedup from both models' seconds, sample by sample."""
        return cls(fmean(target_s), fmean(draft_s), len(draft_s), ratio_interval(target_s, draft_s))

    @property
    def factor(self) -> float:
        """The target's mean seconds over the draft's."""
        return self.target_mean_s / self.draft_mean_s

    @property
    def saved_s(self) -> float:
        """Seconds per sample that the draft saves."""
        return self.target_mean_s - self.draft_mean_s


def stage_figures(run: RunRecord) -> list[StageFigure]:
    """Return a figure for every stage measurement and every state of its timed rounds."""
    # Files come from the disk, the page cache or the frame cache: times of different states do not compare.
    return [
        StageFigure(
            model=record.model,
            engine=record.engine,
            stage=record.stage,
            variant=record.variant,
            state=state,
            is_most_common=state == most_common_state(_states(record)),
            seconds=summarize([seconds for _, seconds in _rounds(record, state)]),
            cold_s=next(iter(record.cold_s.values())),
            median_ms_per_token=median_ms_per_token(record),
        )
        for record in run.stages
        for state in dict.fromkeys(_states(record))
    ]


def comparable_rounds(record: StageRecord) -> list[tuple[str, float]]:
    """Return sample and seconds of the timed rounds in the most frequent state."""
    return _rounds(record, most_common_state(_states(record))) if record.round_s else []


def decoding_steps(record: StageRecord, sample: str) -> int:
    """Return the decoding steps of a sample; 0 or fewer where a stage makes no tokens."""
    # Prefill gives the first token, so n tokens take n - 1 steps, as in "time per output token".
    return record.tokens.get(sample, 0) - 1


def stage1_speedup(run: RunRecord, target: str, of_sample: Pooling = median) -> Speedup | None:
    """Return stage 1's speedup from `of_sample` of each sample's rounds; None without comparable rounds of both."""
    variant = stage1_variant(run, target)
    if variant is None:
        return None
    sides = (run.header.draft or "", "load", ""), (target, "load", variant)
    draft_s, target_s = (seconds_by_sample(run, *side, of_sample=of_sample) for side in sides)
    both = [sample for sample in draft_s if sample in target_s]
    # The most frequent states of each model's files.
    states = [
        {most_common_state(_states(record)) for record in run.stages if _place(record) == side and record.round_s}
        for side in sides
    ]
    if not both or states[0] != states[1]:
        return None
    return Speedup.of([target_s[sample] for sample in both], [draft_s[sample] for sample in both])


def stage1_variant(run: RunRecord, target: str) -> str | None:
    """Return the variant of a target's stage 1 that its speedup is measured by; None where it was not measured."""
    # For MP4 files the legacy reader, which stays the same: a faster reader must not look like a loss. A target that
    # reads no MP4 has no such variant.
    records = [record for record in run.stages if record.model == target]
    if any((record.stage, record.variant) == ("load", LEGACY_READER) and record.round_s for record in records):
        return LEGACY_READER
    return None if any("mp4" in source for record in records for source in record.sources) else ""


def seconds_by_sample(
    run: RunRecord, model: str, stage: str, variant: str = "", *, engine: str | None = None, of_sample: Pooling = median
) -> dict[str, float]:
    """Return `of_sample` of each sample's comparable timed rounds, by `engine` where the stage has several."""
    place, engines = (model, stage, variant), {None, engine}
    records = [record for record in run.stages if _place(record) == place and record.engine in engines]
    rounds = grouped(each for record in records for each in comparable_rounds(record))
    return {sample: of_sample(values) for sample, values in rounds.items()}


def peak_bytes(run: RunRecord, *, growth: bool = False) -> dict[tuple[str, str], int]:
    """Return the highest peak in bytes by (model, stage), over memory rounds and engines, without variants.

    `growth`: of the process's growth in a round, instead of the memory that holds the models.
    """
    found: dict[tuple[str, str], int] = {}
    for record in run.stages:
        peak = MemoryPeak.highest(record.memory.values())
        size = peak.host_growth_bytes if growth else peak.on(run.header.device)
        if size is not None and not record.variant:
            found[record.model, record.stage] = max(size, found.get((record.model, record.stage), 0))
    return found


def median_ms_per_token(record: StageRecord) -> float | None:
    """Return the median milliseconds per decoding step over all rounds; None where a stage makes no tokens."""
    step_ms = [
        1000 * seconds / decoding_steps(record, sample)
        for sample, seconds in zip(record.round_samples, record.round_s, strict=True)
        if decoding_steps(record, sample) > 0
    ]
    return median(step_ms) if step_ms else None


def times_faster(way_s: Sequence[float], reference_s: Sequence[float]) -> float:
    """Return the speedup of `way_s` over `reference_s`: the median ratio over pairs of rounds."""
    return median([theirs / ours for ours, theirs in zip(way_s, reference_s, strict=True)])


def _states(record: StageRecord) -> Sequence[str]:
    """Return the state of each timed round; empty in older records and for stages after the first."""
    return record.round_states or [""] * len(record.round_s)


def _place(record: StageRecord) -> tuple[str, str, str]:
    return record.model, record.stage, record.variant


def _rounds(record: StageRecord, state: str) -> list[tuple[str, float]]:
    rounds = zip(record.round_samples, record.round_s, _states(record), strict=True)
    return [(sample, seconds) for sample, seconds, found in rounds if found == state]
