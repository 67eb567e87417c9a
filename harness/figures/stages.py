"""Figures of stage tests: times and memory by model and stage, and stage 1's speedup."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from statistics import fmean, median
from typing import Self

import msgspec

from harness.figures.intervals import Interval, ratio_interval
from harness.figures.summary import Summary, summarize
from harness.records.lines import RunRecord, StageRecord
from harness.records.quantities import MemoryPeak
from harness.stages import most_common_state

# One number of many rounds.
Pooling = Callable[[Collection[float]], float]
LEGACY_READER = "legacy reader"


class StageFigure(msgspec.Struct, frozen=True):
    """Time of one stage of one model: over the timed rounds in one state, and the very first time through it."""

    model: str
    engine: str | None
    stage: str
    variant: str
    state: str
    is_most_common: bool  # most rounds of this measurement were in that state
    seconds: Summary
    cold_s: float
    median_ms_per_token: float | None

    @property
    def names(self) -> tuple[str | None, ...]:
        """What tells it from the others, for the names of its figures."""
        return self.stage, self.model, self.engine, self.variant, self.state


class Speedup(msgspec.Struct, frozen=True):
    """How many times faster the draft is than a target: mean over mean, over the samples that both have."""

    target_mean_s: float
    draft_mean_s: float
    samples: int
    interval: Interval | None = None

    @classmethod
    def of(cls, target_s: Sequence[float], draft_s: Sequence[float]) -> Self:
        """Return the speedup of the same samples' times."""
        return cls(fmean(target_s), fmean(draft_s), len(draft_s), ratio_interval(target_s, draft_s))

    @property
    def factor(self) -> float:
        """Target over draft."""
        return self.target_mean_s / self.draft_mean_s

    @property
    def saved_s(self) -> float:
        """Seconds per sample that the draft saves."""
        return self.target_mean_s - self.draft_mean_s


def stage_figures(run: RunRecord) -> list[StageFigure]:
    """Return a figure for every stage measurement and every state in which it had a timed round."""
    # Times of a file that came from the disk, out of the page cache, or out of a cache of ours do not compare.
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
    """Return sample and seconds of the timed rounds in the state in which most of them were."""
    return _rounds(record, most_common_state(_states(record))) if record.round_s else []


def decoding_steps(record: StageRecord, sample: str) -> int:
    """Return the steps of a sample's decoding; 0 or fewer where a stage makes no tokens."""
    # The first token is chosen from the prompt's logits, so n tokens take n - 1 steps ("time per output token").
    return record.tokens.get(sample, 0) - 1


def stage1_speedup(run: RunRecord, target: str, of_sample: Pooling = median) -> Speedup | None:
    """Return stage 1's speedup by `of_sample` of a sample's rounds; None if a side is missing, or in another state."""
    draft = run.header.draft or ""
    variant = stage1_variant(run, target)
    sides = (draft, "load", ""), (target, "load", variant or "")
    draft_s, target_s = (seconds_by_sample(run, *side, of_sample=of_sample) for side in sides)
    both = [sample for sample in draft_s if sample in target_s and variant is not None]
    # The states in which most files of each model were found.
    states = [
        {most_common_state(_states(record)) for record in run.stages if _place(record) == side and record.round_s}
        for side in sides
    ]
    if not both or states[0] != states[1]:
        return None
    return Speedup.of([target_s[sample] for sample in both], [draft_s[sample] for sample in both])


def stage1_variant(run: RunRecord, target: str) -> str | None:
    """Return which measurement of a target's stage 1 its speedup takes; None where there is none to take."""
    # Of MP4 files that by the legacy reader, the yardstick: a better reader must not look like a loss. A target that
    # reads no MP4 has no such variant and is taken as it is.
    records = [record for record in run.stages if record.model == target]
    if any((record.stage, record.variant) == ("load", LEGACY_READER) and record.round_s for record in records):
        return LEGACY_READER
    return None if any("mp4" in source for record in records for source in record.sources) else ""


def seconds_by_sample(
    run: RunRecord, model: str, stage: str, variant: str = "", *, engine: str | None = None, of_sample: Pooling = median
) -> dict[str, float]:
    """Return `of_sample` of each sample's comparable timed rounds, by one engine where the stage has several."""
    rounds: dict[str, list[float]] = defaultdict(list)
    for record in run.stages:
        if _place(record) == (model, stage, variant) and record.engine in {None, engine}:
            for sample, seconds in comparable_rounds(record):
                rounds[sample].append(seconds)
    return {sample: of_sample(values) for sample, values in rounds.items()}


def peak_bytes(run: RunRecord, *, growth: bool = False) -> dict[tuple[str, str], int]:
    """Return the highest peak over the memory rounds by (model, stage), of the memory that the models are in.

    `growth`: how far the process grew in a round instead. Of several engines the highest; without a variant.
    """
    found: dict[tuple[str, str], int] = {}
    for record in run.stages:
        peak = MemoryPeak.highest(record.memory.values())
        size = peak.host_growth_bytes if growth else peak.on(run.header.device)
        if size is not None and not record.variant:
            found[record.model, record.stage] = max(size, found.get((record.model, record.stage), 0))
    return found


def median_ms_per_token(record: StageRecord) -> float | None:
    """Return the median milliseconds of a decoding step over all rounds; None where a stage makes no tokens."""
    step_ms = [
        1000 * seconds / decoding_steps(record, sample)
        for sample, seconds in zip(record.round_samples, record.round_s, strict=True)
        if decoding_steps(record, sample) > 0
    ]
    return median(step_ms) if step_ms else None


def times_faster(way_s: Sequence[float], reference_s: Sequence[float]) -> float:
    """Return how many times faster a way was than its reference: the median over the pairs of rounds."""
    return median([theirs / ours for ours, theirs in zip(way_s, reference_s, strict=True)])


def _states(record: StageRecord) -> Sequence[str]:
    """Return the state of each timed round; older records do not say, nor do stages after the first."""
    return record.round_states or [""] * len(record.round_s)


def _place(record: StageRecord) -> tuple[str, str, str]:
    return record.model, record.stage, record.variant


def _rounds(record: StageRecord, state: str) -> list[tuple[str, float]]:
    rounds = zip(record.round_samples, record.round_s, _states(record), strict=True)
    return [(sample, seconds) for sample, seconds, found in rounds if found == state]
