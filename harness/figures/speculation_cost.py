"""The cost model of docs/speculative.md: from which acceptance on a draft pays, at measured costs.

S = tau / (gamma c + v). Leviathan, Kalman, Matias, "Fast Inference from Transformers via Speculative Decoding", 2023,
theorem 3.8, assumes v = 1.
"""

import math
from collections.abc import Sequence
from statistics import median

import msgspec

from harness.figures.agreement import expected_tokens
from harness.records.speculation import RoundLog, SpeculationCostRecord

BISECTIONS = 60


class Costs(msgspec.Struct, frozen=True):
    """Median costs in units of `step_s`, one decoding step of the target: `c` of a draft step, `v[m]` of m tokens."""

    step_s: float
    c: float
    v: dict[int, float]

    @property
    def gammas(self) -> list[int]:
        """The proposal lengths with a measured verification."""
        return [count - 1 for count in self.v if count > 1]

    def round(self, drafted: int) -> float:
        """Return the cost of a round with `drafted` proposed tokens, in target steps."""
        return drafted * self.c + self.v[drafted + 1]


def costs_of(record: SpeculationCostRecord) -> Costs:
    """Return the median costs of a record."""
    step_s = median(record.step_s)
    return Costs(
        step_s=step_s,
        c=median(record.draft_step_s) / step_s,
        v={count: median(rounds) / step_s for count, rounds in sorted(record.verify_s.items())},
    )


def predicted_speedup(rounds: Sequence[RoundLog], costs: Costs) -> float | None:
    """Return the predicted speedup of decoding over the target's steps; None without rounds, or beyond measured v."""
    if not rounds or any(each.drafted + 1 not in costs.v for each in rounds):
        return None
    # tau / (gamma c + v), with each round's own number of proposed tokens for gamma.
    return sum(each.emitted for each in rounds) / math.fsum(costs.round(each.drafted) for each in rounds)


def simulated_rounds(agrees: Sequence[bool], gamma: int) -> list[RoundLog]:
    """Return the rounds of one answer, without times, simulated from agreements; the first token is given."""
    rounds, written = [], 1
    while written < len(agrees):
        accepted = 0
        while accepted < min(gamma, len(agrees) - written) and agrees[written + accepted]:
            accepted += 1
        left = len(agrees) - written
        drafted = accepted if accepted == left else gamma  # a draft that agrees to the end proposes no more
        rounds.append(RoundLog(drafted, accepted, min(accepted + 1, left), 0.0, 0.0))
        written += rounds[-1].emitted
    return rounds


def speedup_at(gamma: int, answers: Sequence[Sequence[bool]], costs: Costs) -> float | None:
    """Return the predicted speedup over all answers, simulated from agreements; None for empty answers."""
    return predicted_speedup([each for agrees in answers for each in simulated_rounds(agrees, gamma)], costs)


def best_gamma(answers: Sequence[Sequence[bool]], costs: Costs) -> tuple[int, float]:
    """Return the proposal length with the largest speedup, and that speedup; (0, 1) where no length pays."""
    found = ((gamma, speedup_at(gamma, answers, costs)) for gamma in costs.gammas)
    known = [(gamma, speedup) for gamma, speedup in found if speedup is not None]
    return max([(0, 1.0), *known], key=lambda each: (each[1], -each[0]))


def break_even(gamma: int, costs: Costs) -> float | None:
    """Return the acceptance from which on proposals of length `gamma` pay; None where even 1 is not enough."""
    # The a with E(a, gamma) = gamma c + v(gamma + 1), where proposals are accepted independently of each other.
    cost = costs.round(gamma)
    if expected_tokens(1, gamma) < cost:
        return None
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if expected_tokens(middle, gamma) >= cost else (middle, high)
    return high


def least_break_even(costs: Costs) -> tuple[int, float] | None:
    """Return the proposal length with the lowest break-even acceptance, and the latter; None where no length pays."""
    found = ((gamma, break_even(gamma, costs)) for gamma in costs.gammas)
    known = [(gamma, acceptance) for gamma, acceptance in found if acceptance is not None]
    return min(known, key=lambda each: (each[1], each[0])) if known else None
