"""From raw records to figures: what a run says about stages, speedups, shares, acceptance and memory.

Pure: a `RunRecord` goes in, numbers come out; the terminal, the limits and the legacy file read the same ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from harness.figures.agreement import Agreement, positionwise, theoretical_speedup, token_weighted
from harness.figures.summary import Summary, mean, median, summarize
from harness.records.lines import PassKind, PassRecord, RunRecord, SideBySideRecord, StageRecord
from harness.records.quantities import MemoryPeak
from harness.stages import LEGACY_STAGES, UNDIVIDED, most_common_state

# One number of many rounds.
Pooling = Callable[[Collection[float]], float]
LEGACY_READER = "legacy reader"
MIB = 1024 * 1024


class StageFigure(msgspec.Struct, frozen=True):
    """Time of one stage of one model: over the timed rounds in one state, and the very first time through it.

    `is_most_common`: most rounds of this measurement were in that state.
    """

    model: str
    engine: str | None
    stage: str
    variant: str
    state: str
    is_most_common: bool
    seconds: Summary
    cold_s: float
    ms_per_token: float | None


class Speedup(msgspec.Struct, frozen=True):
    """How many times faster the draft is than a target: mean over mean, over the samples that both have."""

    target_mean_s: float
    draft_mean_s: float
    samples: int

    @property
    def factor(self) -> float:
        """Target over draft."""
        return self.target_mean_s / self.draft_mean_s

    @property
    def saved_s(self) -> float:
        """Seconds a sample that the draft saves."""
        return self.target_mean_s - self.draft_mean_s


class Comparison(msgspec.Struct, frozen=True):
    """A target beside the draft, from the whole passes of one engine.

    `stages` by the number of the old result file (1 load, 2 preprocess, 3 vision + prefill + decode).
    `tokens_factor` * `pace_factor` = stage 3's speedup: fewer tokens, times less time a token; None where a model
    answered without a single token. `load_is_mixed`: of one model, some files were read in another state than others.
    """

    target: str
    engine: str
    total: Speedup
    stages: dict[int, Speedup]
    tokens_factor: float | None
    pace_factor: float | None
    acceptance_per_sample: float
    acceptance_token_weighted: float
    agreements: dict[str, Agreement]
    gamma: int
    load_is_mixed: bool

    @property
    def cost_ratio(self) -> float:
        """c: mean draft total over mean target total."""
        return self.total.draft_mean_s / self.total.target_mean_s

    @property
    def theoretical_speedup(self) -> float:
        """What the textbook forecasts from c, gamma and the token-weighted agreement."""
        return theoretical_speedup(self.acceptance_token_weighted, self.gamma, self.cost_ratio)

    def share_of_target_time(self, stage: int) -> float:
        """Part of the target's own time that this stage takes."""
        return self.stages[stage].target_mean_s / self.total.target_mean_s

    def share_of_time_saved(self, stage: int) -> float | None:
        """Part of all seconds saved that is saved in this stage; None where nothing is saved at all."""
        return self.stages[stage].saved_s / self.total.saved_s if self.total.saved_s > 0 else None


def stage_figures(run: RunRecord) -> list[StageFigure]:
    """Return a figure for every stage measurement and every state in which it had a timed round.

    Times of a file that came from the disk, out of the page cache, or out of a cache of ours do not compare.
    """
    return [_stage_figure(record, state) for record in run.stages for state in dict.fromkeys(_states(record))]


def comparable_rounds(record: StageRecord) -> list[tuple[str, float]]:
    """Return sample and seconds of the timed rounds in the state in which most of them were."""
    return _rounds(record, most_common_state(_states(record))) if record.round_s else []


def passes(run: RunRecord, kind: PassKind, model: str, engine: str) -> dict[str, PassRecord]:
    """Return the successful passes of one kind by sample id; of two of one sample, the later."""
    return {
        each.sample: each
        for each in run.passes
        if each.kind == kind and each.model == model and each.engine == engine and each.failure is None
    }


def comparisons(run: RunRecord) -> list[Comparison]:
    """Return every target beside the draft, for every engine with whole passes of both."""
    if run.header.draft is None:
        return []
    found = []
    for engine in run.header.engines:
        draft = passes(run, "whole", run.header.draft, engine)
        for target in run.header.targets:
            pairs = paired(draft, passes(run, "whole", target, engine))
            if pairs:
                found.append(_comparison(target, engine, pairs, int(run.header.options["gamma"])))
    return found


def paired(draft: Mapping[str, PassRecord], target: Mapping[str, PassRecord]) -> list[tuple[PassRecord, PassRecord]]:
    """Return the passes of the samples that both models have, draft first."""
    return [(draft[sample], target[sample]) for sample in draft if sample in target]


def stage1_speedup(run: RunRecord, target: str, of_sample: Pooling = median) -> Speedup | None:
    """Return stage 1's speedup from the stage tests, or None where one side was not measured, or in another state.

    `of_sample`: what is taken of a sample's own rounds.

    The target's MP4 files are read by the legacy reader, the yardstick: a better reader must not look like a loss.
    A target that reads no MP4 has no such variant and is taken as it is, unless it was taken out of a cache.
    """
    draft = seconds_by_sample(run, run.header.draft or "", "load", "", of_sample=of_sample)
    by_legacy = seconds_by_sample(run, target, "load", LEGACY_READER, of_sample=of_sample)
    target_s = by_legacy or _without_mp4(run, target, of_sample)
    both = [sample for sample in draft if sample in target_s]
    variant = LEGACY_READER if by_legacy else ""
    if not both or _load_states(run, run.header.draft or "", "") != _load_states(run, target, variant):
        return None
    return Speedup(mean([target_s[each] for each in both]), mean([draft[each] for each in both]), len(both))


def seconds_by_sample(
    run: RunRecord,
    model: str,
    stage: str,
    variant: str,
    *,
    engine: str | None = None,
    of_sample: Pooling = median,
) -> dict[str, float]:
    """Return `of_sample` of each sample's comparable timed rounds, by one engine where the stage has several."""
    rounds: dict[str, list[float]] = defaultdict(list)
    for record in run.stages:
        is_asked_for = (record.model, record.stage, record.variant) == (model, stage, variant)
        if is_asked_for and record.engine in {None, engine}:
            for sample, seconds in comparable_rounds(record):
                rounds[sample].append(seconds)
    return {sample: of_sample(values) for sample, values in rounds.items()}


def peak_bytes(run: RunRecord) -> dict[tuple[str, str], int]:
    """Return the highest peak over the memory rounds by (model, stage), of the memory that the models are in.

    Of several engines the highest; without a variant.
    """
    found: dict[tuple[str, str], int] = {}
    for record in run.stages:
        peak = MemoryPeak.highest(record.memory.values()).on(run.header.device)
        if peak is not None and not record.variant:
            found[record.model, record.stage] = max(peak, found.get((record.model, record.stage), 0))
    return found


def synchronisation_overhead(run: RunRecord, model: str, engine: str) -> float | None:
    """Return how much longer a pass takes with synchronised boundaries, as a share of the pass without.

    Over the samples that went both ways; None where none did.
    """
    with_boundaries = passes(run, "whole", model, engine)
    without = passes(run, "unsynchronised", model, engine)
    both = [sample for sample in without if sample in with_boundaries]
    if not both:
        return None
    return sum(with_boundaries[each].whole_s for each in both) / sum(without[each].whole_s for each in both) - 1


def throughput(run: RunRecord, model: str, engine: str) -> float | None:
    """Return the samples per second with files loaded ahead; None where that was not measured.

    Of several ranks, which work side by side, the sum of what each of them does.
    """
    by_rank: dict[int, list[PassRecord]] = defaultdict(list)
    for each in run.passes:
        if (each.kind, each.model, each.engine) == ("throughput", model, engine):
            by_rank[each.rank].append(each)
    rates = [rate for rate in map(samples_per_second, by_rank.values()) if rate is not None]
    return sum(rates) if rates else None


def samples_per_second(records: Iterable[PassRecord]) -> float | None:
    """Return how many samples a second came through one pass; those that failed took time and do not count.

    None where none came through.
    """
    known = list(records)
    through = sum(each.failure is None for each in known)
    return through / sum(each.whole_s for each in known) if through else None


def load_s_by_state(records: Iterable[PassRecord]) -> dict[str, list[float]]:
    """Return the times of stage 1 by the state in which it found its file: only those of one state have a mean."""
    found: dict[str, list[float]] = defaultdict(list)
    for record in records:
        found[record.state].append(record.stage_s["load"])
    return found


def pass_s(record: PassRecord) -> float:
    """Return the time of a pass as the sum of its stages, as the old script has it."""
    return sum(record.stage_s.values())


def times_faster(record: SideBySideRecord) -> float:
    """Return how many times faster the way was than its reference: the median over the pairs of rounds."""
    return median([theirs / ours for ours, theirs in zip(record.way_s, record.reference_s, strict=True)])


def legacy_stage_s(record: PassRecord, stage: int) -> float:
    """Return one of the old script's three stages, divided or not."""
    if stage == 3 and UNDIVIDED in record.stage_s:
        return record.stage_s[UNDIVIDED]
    return sum(record.stage_s[name] for name in LEGACY_STAGES[stage])


def ms_per_token(record: StageRecord) -> float | None:
    """Return the median time of a decoding step in milliseconds; None where a stage makes no tokens.

    The first token is chosen from the prompt's logits, so n tokens take n - 1 steps ("time per output token").
    """
    steps = [record.tokens.get(sample, 0) - 1 for sample in record.round_samples]
    step_times = [1000 * seconds / count for seconds, count in zip(record.round_s, steps, strict=True) if count > 0]
    return median(step_times) if step_times else None


def _states(record: StageRecord) -> Sequence[str]:
    """The state of each timed round; older records do not say, nor do stages after the first."""
    return record.round_states or [""] * len(record.round_s)


def _rounds(record: StageRecord, state: str) -> list[tuple[str, float]]:
    rounds = zip(record.round_samples, record.round_s, _states(record), strict=True)
    return [(sample, seconds) for sample, seconds, found in rounds if found == state]


def _load_states(run: RunRecord, model: str, variant: str) -> set[str]:
    """The states in which most files of a model were found, by measurement of stage 1."""
    return {
        most_common_state(_states(record))
        for record in run.stages
        if (record.model, record.stage, record.variant) == (model, "load", variant) and record.round_s
    }


def _stage_figure(record: StageRecord, state: str) -> StageFigure:
    return StageFigure(
        model=record.model,
        engine=record.engine,
        stage=record.stage,
        variant=record.variant,
        state=state,
        is_most_common=state == most_common_state(_states(record)),
        seconds=summarize([seconds for _, seconds in _rounds(record, state)]),
        cold_s=next(iter(record.cold_s.values())),
        ms_per_token=ms_per_token(record),
    )


def _comparison(target: str, engine: str, pairs: list[tuple[PassRecord, PassRecord]], gamma: int) -> Comparison:
    stages = {
        stage: Speedup(
            mean([legacy_stage_s(theirs, stage) for _, theirs in pairs]),
            mean([legacy_stage_s(mine, stage) for mine, _ in pairs]),
            len(pairs),
        )
        for stage in LEGACY_STAGES
    }
    agreements = {mine.sample: positionwise(mine.token_ids, theirs.token_ids) for mine, theirs in pairs}
    draft_tokens = sum(len(mine.token_ids) for mine, _ in pairs)
    target_tokens = sum(len(theirs.token_ids) for _, theirs in pairs)
    tokens_factor = target_tokens / draft_tokens if draft_tokens and target_tokens else None
    return Comparison(
        target=target,
        engine=engine,
        total=Speedup(
            mean([pass_s(theirs) for _, theirs in pairs]), mean([pass_s(mine) for mine, _ in pairs]), len(pairs)
        ),
        stages=stages,
        tokens_factor=tokens_factor,
        pace_factor=stages[3].factor / tokens_factor if tokens_factor else None,
        acceptance_per_sample=mean([each.rate for each in agreements.values()]),
        acceptance_token_weighted=token_weighted(list(agreements.values())),
        agreements=agreements,
        gamma=gamma,
        load_is_mixed=any(len(load_s_by_state(side)) > 1 for side in zip(*pairs, strict=True)),
    )


def _without_mp4(run: RunRecord, target: str, of_sample: Pooling) -> dict[str, float]:
    read = {source for record in run.stages if record.model == target for source in record.sources}
    if any("mp4" in source for source in read):
        return {}
    return seconds_by_sample(run, target, "load", "", of_sample=of_sample)
