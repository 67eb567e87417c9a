"""Figures of speculative decoding: acceptance in its several definitions, and the speedup by a draft.

docs/speculative.md defines each figure and compares its name with other tools' names. All are pooled: every round
weighs the same.
"""

from collections.abc import Sequence
from statistics import fmean

import msgspec

from harness.figures import speculation_cost
from harness.figures.intervals import Interval, pooled_ratio
from harness.records.lines import RunRecord
from harness.records.quantities import MemoryPeak
from harness.records.speculation import AgreementRecord, RoundLog, SpeculationCostRecord

MAX_POSITIONS = 128
"""Maximum of positions with an acceptance of their own; a file may hold proposals of any length."""


class AcceptanceStatistics(
    msgspec.Struct,
    frozen=True,
    rename={"acceptance_rate": "accepted_of_drafted", "mean_acceptance_length": "tokens_a_round"},  # in extra_info
):
    """Statistics of speculative rounds; None where nothing was proposed."""

    rounds: int
    acceptance_rate: float | None  # accepted / drafted
    conditional: float | None  # accepted / (accepted + rejections): of proposals that the target examines
    mean_acceptance_length: float  # emitted / rounds, including the target's own token
    survival: tuple[float, ...]  # [k]: fraction of proposing rounds that accepted more than k proposals
    conditional_at: tuple[float | None, ...]  # [k]: acceptance of proposal k + 1 in rounds that accepted the k before


class CostModel(msgspec.Struct, frozen=True):
    """Predictions of the cost model from measured costs."""

    costs: speculation_cost.Costs
    predicted: float | None  # speedup of decoding, from the measured rounds
    best_gamma: tuple[int, float] | None  # and its speedup, simulated from agreements; gamma 0: without a draft
    break_even: float | None  # acceptance from which on the run's gamma pays; None: no acceptance is enough
    least_break_even: tuple[int, float] | None  # the gamma with the lowest break-even acceptance, and the latter


class SpeculationFigures(msgspec.Struct, frozen=True):
    """Acceptance and speedup of one target with the draft."""

    target: str
    draft: str
    engine: str
    gamma: int
    acceptance: dict[str, Interval]  # by the draft's pictures, as in `AgreementRecord`
    lift: Interval | None  # acceptance with its own pictures less that with another sample's
    statistics: AcceptanceStatistics | None
    identical: int
    near_ties: int  # answers that differ from the target's own at a near tie
    requests: int
    speedup: Interval | None  # total seconds of the target alone over those of the pair, from the files to the answer
    slower_share: float | None  # fraction of requests that the pair answers more slowly
    first_token: Interval | None  # the same ratio up to the first token
    decode_speedup: float | None  # the same ratio of decoding alone, which the cost model predicts
    cost_model: CostModel | None
    draft_weights_bytes: int | None
    added_peak_bytes: int | None  # peak of a request by the pair less that by the target alone, both models loaded

    @property
    def residual(self) -> float | None:
        """Relative difference of the measured decoding speedup from the predicted one."""
        if self.cost_model is None or self.cost_model.predicted is None or self.decode_speedup is None:
            return None
        return self.decode_speedup / self.cost_model.predicted - 1


def acceptance_statistics(rounds: Sequence[RoundLog]) -> AcceptanceStatistics:
    """Return the statistics of at least one round."""
    proposing = [each for each in rounds if each.drafted]
    drafted = sum(each.drafted for each in proposing)
    accepted = sum(each.accepted for each in proposing)
    rejections = sum(each.accepted < each.drafted for each in proposing)
    deepest = min(max((each.drafted for each in proposing), default=0), MAX_POSITIONS)
    return AcceptanceStatistics(
        rounds=len(rounds),
        acceptance_rate=accepted / drafted if drafted else None,
        conditional=accepted / (accepted + rejections) if drafted else None,
        mean_acceptance_length=sum(each.emitted for each in rounds) / len(rounds),
        survival=tuple(fmean(each.accepted > k for each in proposing) for k in range(deepest)),
        conditional_at=tuple(_conditional_at(k, proposing) for k in range(deepest)),
    )


def _conditional_at(k: int, proposing: Sequence[RoundLog]) -> float | None:
    reached = [each for each in proposing if each.accepted >= k and each.drafted > k]
    return fmean(each.accepted > k for each in reached) if reached else None


def speculation_figures(run: RunRecord) -> list[SpeculationFigures]:
    """Return the figures of every measured target and engine, in the order of the header."""
    found = [_figures(run, target, engine) for engine in run.header.engines for target in run.header.targets]
    return [each for each in found if each is not None]


def _figures(run: RunRecord, target: str, engine: str) -> SpeculationFigures | None:
    agreements = [each for each in run.agreements if (each.target, each.engine) == (target, engine)]
    requests = [each for each in run.speculations if (each.target, each.engine) == (target, engine)]
    if not agreements and not requests:
        return None
    rounds = [each for request in requests for each in request.rounds]
    gamma = int(run.header.options["gamma"])
    cost = next((each for each in run.speculation_costs if (each.target, each.engine) == (target, engine)), None)
    # Per sample, the number of positions where the draft agrees; only kinds that every sample has. The first position
    # is the target's own and never proposed.
    agreeing = {
        kind: [sum(record.agrees[kind][1:]) for record in agreements]
        for kind in (agreements[0].agrees if agreements else ())
        if all(kind in record.agrees for record in agreements)
    }
    places = [len(each.agrees["own"]) - 1 for each in agreements]
    both = zip(agreeing.get("own", ()), agreeing.get("shuffled", ()), strict=False)
    lifted = [mine - theirs for mine, theirs in both]
    total_s = [(each.alone_s, each.pair_s) for each in requests]
    first_s = [(each.first_alone_s, each.first_pair_s) for each in requests if each.first_alone_s and each.first_pair_s]
    decode_s = [(each.alone_decode_s, each.loop_s) for each in requests]
    peaks = (cost.alone_memory, cost.pair_memory) if cost else (MemoryPeak(), MemoryPeak())
    alone, pair = (peak.on(run.header.device) for peak in peaks)
    # Answers of one token have no decoding to compare.
    decode = _over_pair(decode_s) if any(loop_s for _, loop_s in decode_s) else None
    return SpeculationFigures(
        target=target,
        draft=run.header.draft or "",
        engine=engine,
        gamma=gamma,
        acceptance={kind: pooled_ratio(each, places).within(0, 1) for kind, each in agreeing.items() if sum(places)},
        lift=pooled_ratio(lifted, places) if lifted and sum(places) else None,
        statistics=acceptance_statistics(rounds) if rounds else None,
        identical=sum(each.identical for each in requests),
        near_ties=sum(each.divergence is not None and each.divergence.is_near_tie for each in requests),
        requests=len(requests),
        speedup=_over_pair(total_s),
        slower_share=fmean(pair_s > alone_s for alone_s, pair_s in total_s) if total_s else None,
        first_token=_over_pair(first_s),
        decode_speedup=decode.value if decode else None,
        cost_model=_cost_model(cost, gamma, rounds, agreements) if cost else None,
        draft_weights_bytes=next((each.memory_bytes for each in run.models if each.model == run.header.draft), None),
        added_peak_bytes=None if alone is None or pair is None else pair - alone,
    )


def _over_pair(seconds: Sequence[tuple[float, float]]) -> Interval | None:
    """Return the total seconds of the target alone over those of the pair."""
    return pooled_ratio([alone for alone, _ in seconds], [pair for _, pair in seconds]).within(0) if seconds else None


def _cost_model(
    cost: SpeculationCostRecord, gamma: int, rounds: Sequence[RoundLog], agreements: Sequence[AgreementRecord]
) -> CostModel:
    costs, answers = speculation_cost.costs_of(cost), [each.agrees["own"] for each in agreements]
    return CostModel(
        costs=costs,
        predicted=speculation_cost.predicted_speedup(rounds, costs),
        best_gamma=speculation_cost.best_gamma(answers, costs) if any(len(each) > 1 for each in answers) else None,
        break_even=speculation_cost.break_even(gamma, costs) if gamma in costs.gammas else None,
        least_break_even=speculation_cost.least_break_even(costs),
    )
