"""What a log of speculative rounds says: acceptance under each of its names, and what a draft gains or costs.

The same letter stands for different figures in different tools; here each has a name of its own, which
docs/speculative.md defines and compares with theirs. All are pooled: every round weighs the same.
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
"""Of a proposal whose acceptance is told position by position; a file may name any number of them."""


class AcceptanceStatistics(
    msgspec.Struct,
    frozen=True,
    rename={"acceptance_rate": "accepted_of_drafted", "mean_acceptance_length": "tokens_a_round"},  # in extra_info
):
    """One round log, or several together; None where nothing was proposed."""

    rounds: int
    acceptance_rate: float | None  # accepted / drafted
    conditional: float | None  # accepted / (accepted + rejections): the chance of a proposal that is looked at
    mean_acceptance_length: float  # emitted / rounds, the target's own token counted
    survival: tuple[float, ...]  # [k]: share of rounds in which more than k proposals were accepted
    conditional_at: tuple[float | None, ...]  # [k]: of rounds with k accepted and one more proposed, with that one too


class CostModel(msgspec.Struct, frozen=True):
    """What the cost model makes of measured costs."""

    costs: speculation_cost.Costs
    predicted: float | None  # decoding, by the rounds that there were
    best_gamma: tuple[int, float] | None  # with its speed-up, by where the draft agrees; 0: leave the target alone
    break_even: float | None  # the acceptance from which on this gamma pays; None: no acceptance is enough
    least_break_even: tuple[int, float] | None  # the gamma that pays from the lowest acceptance on, and that


class SpeculationFigures(msgspec.Struct, frozen=True):
    """One target's speculative decoding: what is accepted, and what the pair gains or costs."""

    target: str
    draft: str
    engine: str
    gamma: int
    acceptance: dict[str, Interval]  # by what the draft was shown
    lift: Interval | None  # of the right pictures
    statistics: AcceptanceStatistics | None
    identical: int
    near_ties: int  # answers that differ from the target's own where it could hardly decide
    requests: int
    speedup: Interval | None  # total time of the target alone over that of the pair, everything charged
    slower_share: float | None
    first_token: Interval | None  # the same up to the first token
    decode_speedup: float | None  # the same for decoding alone, which the cost model predicts
    cost_model: CostModel | None
    draft_weights_bytes: int | None
    added_peak_bytes: int | None  # of a request of the pair beyond one of the target alone, both with these weights

    @property
    def residual(self) -> float | None:
        """How far decoding was from what the cost model predicts, as a share of the prediction."""
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
        conditional_at=tuple(
            fmean(each.accepted > k for each in reached) if reached else None
            for k in range(deepest)
            for reached in [[each for each in proposing if each.accepted >= k and each.drafted > k]]
        ),
    )


def speculation_figures(run: RunRecord) -> list[SpeculationFigures]:
    """Return the figures of every target and engine that was measured, in the order of the header."""
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
    # The places of each sample at which the draft agrees, by what it was shown on every sample. The first place is the
    # target's own and never proposed.
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
        acceptance={kind: pooled_ratio(each, places) for kind, each in agreeing.items() if sum(places)},
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
    """Return the total time of the target alone over that of the pair."""
    return pooled_ratio([alone for alone, _ in seconds], [pair for _, pair in seconds]) if seconds else None


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
