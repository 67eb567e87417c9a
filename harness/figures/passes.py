"""Figures of whole passes: of one model, of a target versus the draft, and of throughput."""

import math
from collections.abc import Iterable, Mapping
from itertools import product
from statistics import fmean, median

import msgspec

from harness.figures.agreement import Agreement, positionwise, theoretical_speedup, token_weighted
from harness.figures.intervals import Interval, ratio_interval
from harness.figures.stages import Speedup
from harness.grouping import grouped
from harness.records.lines import PassKind, PassRecord, RunRecord
from harness.stages import LEGACY_STAGES, STAGES, UNDIVIDED


class PassFigure(msgspec.Struct, frozen=True):
    """The successful whole passes of one model by one engine."""

    model: str
    engine: str
    records: tuple[PassRecord, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """The timed stages, in order; old files have the last three in one."""
        return tuple(stage for stage in (*STAGES, UNDIVIDED) if stage in self.records[0].stage_s)

    def mean_s(self, stage: str) -> float:
        """Return the mean seconds of a stage."""
        return fmean(record.stage_s[stage] for record in self.records)

    @property
    def total_s(self) -> dict[str, float]:
        """Seconds by sample, as the sum of the stages."""
        return {record.sample: pass_s(record) for record in self.records}

    @property
    def mean_total_s(self) -> float:
        """Mean seconds per sample."""
        return fmean(self.total_s.values())

    def share(self, stage: str) -> float:
        """Return the fraction of the model's total time that a stage takes."""
        return self.mean_s(stage) / self.mean_total_s

    @property
    def mean_tokens(self) -> float | None:
        """Mean number of new tokens; None in files without token ids."""
        counts = [len(record.token_ids) for record in self.records]
        return fmean(counts) if any(counts) else None

    @property
    def load_is_mixed(self) -> bool:
        """Whether stage 1 found files in several states, which makes its mean meaningless."""
        return len(load_s_by_state(self.records)) > 1


class Comparison(msgspec.Struct, frozen=True):
    """A target versus the draft, from the whole passes of one engine."""

    target: str
    engine: str
    total: Speedup
    stages: dict[int, Speedup]  # by the old script's stage: 3 is vision, prefill and decode
    # Stage 3's speedup is their product: fewer tokens, times less time per token. None where a model wrote no token.
    tokens_factor: float | None
    pace_factor: float | None
    agreement_per_sample: float
    agreement_token_weighted: float
    agreements: dict[str, Agreement]
    gamma: int
    load_is_mixed: bool  # a model's files were read in several states

    @property
    def cost_ratio(self) -> float:
        """c: mean draft total over mean target total."""
        return self.total.draft_mean_s / self.total.target_mean_s

    @property
    def theoretical_speedup(self) -> float:
        """The old script's forecast from c, gamma and the token-weighted agreement."""
        return theoretical_speedup(self.agreement_token_weighted, self.gamma, self.cost_ratio)

    def share_of_target_time(self, stage: int) -> float:
        """Return the fraction of the target's total time that this stage takes."""
        return self.stages[stage].target_mean_s / self.total.target_mean_s

    def share_of_time_saved(self, stage: int) -> float | None:
        """Return the fraction of all saved seconds that this stage saves; None where nothing is saved."""
        return self.stages[stage].saved_s / self.total.saved_s if self.total.saved_s > 0 else None


def passes(run: RunRecord, kind: PassKind, model: str, engine: str) -> dict[str, PassRecord]:
    """Return the successful passes of one kind by sample id; the later one of a repeated sample."""
    wanted = (kind, model, engine)
    return {
        record.sample: record
        for record in run.passes
        if (record.kind, record.model, record.engine) == wanted and record.failure is None
    }


def pass_figures(run: RunRecord) -> list[PassFigure]:
    """Return the whole passes by model and engine, in the order of the header."""
    places = product(run.header.models, run.header.engines)
    found = [PassFigure(model, engine, tuple(passes(run, "whole", model, engine).values())) for model, engine in places]
    return [figure for figure in found if figure.records]


def comparisons(run: RunRecord) -> list[Comparison]:
    """Return every target versus the draft, for every engine with whole passes of both."""
    found = []
    for engine in run.header.engines if run.header.draft else ():
        for target in run.header.targets:
            draft = passes(run, "whole", run.header.draft or "", engine)
            pairs = paired(draft, passes(run, "whole", target, engine))
            if pairs:
                found.append(_comparison(target, engine, pairs, int(run.header.options["gamma"])))
    return found


def paired(draft: Mapping[str, PassRecord], target: Mapping[str, PassRecord]) -> list[tuple[PassRecord, PassRecord]]:
    """Return the passes of the samples that both models have, draft first."""
    return [(draft[sample], target[sample]) for sample in draft if sample in target]


def synchronisation_overhead(run: RunRecord, model: str, engine: str) -> Interval | None:
    """Return how much longer synchronised boundaries make passes, as a share; None where no sample went both ways."""
    with_boundaries = passes(run, "whole", model, engine)
    without = passes(run, "unsynchronised", model, engine)
    both = [sample for sample in without if sample in with_boundaries]
    if not both:
        return None
    longer, shorter = [with_boundaries[each].whole_s for each in both], [without[each].whole_s for each in both]
    ratio = sum(longer) / sum(shorter)
    found = ratio_interval(longer, shorter) or Interval(len(both), ratio, -math.inf, math.inf)
    return Interval(len(both), ratio - 1, found.low - 1, found.high - 1)


def throughput(run: RunRecord, model: str, engine: str) -> float | None:
    """Return the samples per second with files loaded ahead; None where not measured."""
    wanted = ("throughput", model, engine)
    by_rank = grouped((each.rank, each) for each in run.passes if (each.kind, each.model, each.engine) == wanted)
    # Ranks work at the same time, so their rates add up.
    rates = [rate for rate in map(samples_per_second, by_rank.values()) if rate is not None]
    return sum(rates) if rates else None


def samples_per_second(records: Iterable[PassRecord]) -> float | None:
    """Return the successful samples per second of one process; None without any. Time of failed samples counts."""
    known = list(records)
    succeeded = sum(record.failure is None for record in known)
    return succeeded / sum(record.whole_s for record in known) if succeeded else None


def load_s_by_state(records: Iterable[PassRecord]) -> dict[str, list[float]]:
    """Return the seconds of stage 1 by the state of its file, since times of different states do not mix."""
    return grouped((record.state, record.stage_s["load"]) for record in records)


def pass_s(record: PassRecord) -> float:
    """Return the seconds of a pass as the sum of its stages, as the old script does."""
    return sum(record.stage_s.values())


def median_stage_share(records: Iterable[PassRecord]) -> float:
    """Return the share of its time that the stages of a pass add up to, in the median: 1 where no work lies between."""
    # A pass's own work between its stages is in every pass. Another process that takes the core is in few of them.
    return median(pass_s(each) / each.whole_s for each in records)


def legacy_stage_s(record: PassRecord, stage: int) -> float:
    """Return the seconds of one of the old script's three stages."""
    if stage == 3 and UNDIVIDED in record.stage_s:
        return record.stage_s[UNDIVIDED]
    return sum(record.stage_s[name] for name in LEGACY_STAGES[stage])


def _comparison(target: str, engine: str, pairs: list[tuple[PassRecord, PassRecord]], gamma: int) -> Comparison:
    drafts, targets = [mine for mine, _ in pairs], [theirs for _, theirs in pairs]
    stages = {
        stage: Speedup.of(*([legacy_stage_s(record, stage) for record in side] for side in (targets, drafts)))
        for stage in LEGACY_STAGES
    }
    agreements = {mine.sample: positionwise(mine.token_ids, theirs.token_ids) for mine, theirs in pairs}
    draft_tokens, target_tokens = (sum(len(record.token_ids) for record in side) for side in (drafts, targets))
    tokens_factor = target_tokens / draft_tokens if draft_tokens and target_tokens else None
    return Comparison(
        target=target,
        engine=engine,
        total=Speedup.of(list(map(pass_s, targets)), list(map(pass_s, drafts))),
        stages=stages,
        tokens_factor=tokens_factor,
        pace_factor=stages[3].factor / tokens_factor if tokens_factor else None,
        agreement_per_sample=fmean(agreement.rate for agreement in agreements.values()),
        agreement_token_weighted=token_weighted(list(agreements.values())),
        agreements=agreements,
        gamma=gamma,
        load_is_mixed=any(len(load_s_by_state(side)) > 1 for side in (drafts, targets)),
    )
