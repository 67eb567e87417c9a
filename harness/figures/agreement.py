"""Agreement of answers that were written independently: the old script's figure, its forecast, and chance level.

It is *not* the acceptance rate of speculative decoding, where the draft continues the target's own text. Old
results have this figure, so it is kept.
"""

from collections.abc import Sequence
from itertools import takewhile
from random import Random
from statistics import fmean

import msgspec

from harness.figures.intervals import ALPHA, Interval, student_interval
from harness.grouping import grouped

MAX_PAIRINGS = 100_000
"""The control takes all pairs of different samples, or at most this many, drawn by SEED."""
SEED = 0


class Agreement(msgspec.Struct, frozen=True):
    """`matched` of `compared` positions have the same token in both answers."""

    matched: int
    compared: int

    @property
    def rate(self) -> float:
        """Fraction of the compared positions that match; 0 without any."""
        return self.matched / self.compared if self.compared else 0.0


class TokenPair(msgspec.Struct, frozen=True):
    """The token ids of both answers to one sample, and the question."""

    sample: str
    draft: tuple[int, ...]
    target: tuple[int, ...]
    question: str = ""


class Shares(msgspec.Struct, frozen=True):
    """Fraction of positions that agree, over pairs of answers; the 95 % interval is over the samples."""

    pairs: int
    per_sample: float  # mean of the samples' fractions
    interval: Interval | None  # None for fewer than two samples
    token_weighted: float  # fraction of all positions together


class Replay(msgspec.Struct, frozen=True):
    """Agreement of one target's answers with the draft's."""

    own: Shares
    shuffled: Shares | None  # chance level: with answers to the same question about other samples; None without any
    matched: int  # positions that agree: the old script's figure
    compared: int
    survival: tuple[float, ...]  # [k]: fraction of the samples whose first k + 1 tokens all agree


def positionwise(draft: Sequence[int], target: Sequence[int]) -> Agreement:
    """Compare two answers at each position, up to the length of the shorter one."""
    matched = sum(mine == theirs for mine, theirs in zip(draft, target, strict=False))
    return Agreement(matched, min(len(draft), len(target)))


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the common prefix of two answers."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def token_weighted(agreements: Sequence[Agreement]) -> float:
    """Return the matched fraction of all compared positions together, so that long answers weigh more."""
    return Agreement(sum(each.matched for each in agreements), sum(each.compared for each in agreements)).rate


def expected_tokens(acceptance: float, gamma: int) -> float:
    """Return the expected number of new tokens of one round with `gamma` drafted tokens.

    E = (1 - a^(gamma+1)) / (1 - a), and gamma + 1 at a = 1, its limit. Leviathan, Kalman, Matias: "Fast Inference
    from Transformers via Speculative Decoding", 2023, equation 1.
    """
    # Summed rather than divided, so that it holds at a = 1 too.
    return float(sum(acceptance**power for power in range(gamma + 1)))


def theoretical_speedup(acceptance: float, gamma: int, cost_ratio: float) -> float:
    """Return E / (c * gamma + 1), the old script's forecast, where a verification costs as much as one step.

    `cost_ratio` c is mean draft time over mean target time. Same paper, theorem 3.8.
    """
    return expected_tokens(acceptance, gamma) / (cost_ratio * gamma + 1)


def replay(pairs: Sequence[TokenPair], gamma: int) -> Replay:
    """Return the agreement over at least one pair; `survival` has `gamma` entries."""
    own = [positionwise(pair.draft, pair.target) for pair in pairs]
    prefixes = [common_prefix(pair.draft, pair.target) for pair in pairs]
    places = _shuffled(pairs)
    shuffled = [positionwise(pairs[mine].draft, pairs[theirs].target) for mine, theirs in places]
    return Replay(
        own=_shares(own, [each.rate for each in own]),
        shuffled=_shares(shuffled, _by_sample(places, [each.rate for each in shuffled])) if shuffled else None,
        matched=sum(each.matched for each in own),
        compared=sum(each.compared for each in own),
        survival=tuple(fmean(length > place for length in prefixes) for place in range(gamma)),
    )


def _shares(agreements: Sequence[Agreement], by_sample: Sequence[float]) -> Shares:
    interval = student_interval(by_sample, ALPHA).within(0, 1) if len(by_sample) > 1 else None
    return Shares(len(agreements), fmean(by_sample), interval, token_weighted(agreements))


def _shuffled(pairs: Sequence[TokenPair]) -> list[tuple[int, int]]:
    """Return index pairs of a draft's answer and a target's answer to another sample, all or a random selection."""
    by_question = grouped((pair.question, place) for place, pair in enumerate(pairs))
    random = Random(SEED)  # noqa: S311, nothing secret
    max_per_sample = max(1, MAX_PAIRINGS // len(pairs))
    found = []
    for same in by_question.values():
        for own in range(len(same)):
            others = range(len(same) - 1)  # indices of the other samples, counted without `own`
            chosen = others if len(others) <= max_per_sample else random.sample(others, max_per_sample)
            found += [(same[own], same[other + (other >= own)]) for other in chosen]
    return found


def _by_sample(places: Sequence[tuple[int, int]], rates: Sequence[float]) -> list[float]:
    """Return one value per sample, such that their mean and spread give the mean rate of pairings and its interval."""
    # Each sample takes part in several pairings. The first-order projection of such a mean (Hoeffding 1948,
    # U-statistics) is the sum of the sample's mean rates as draft and as target.
    drafts = grouped((mine, rate) for (mine, _), rate in zip(places, rates, strict=True))
    targets = grouped((theirs, rate) for (_, theirs), rate in zip(places, rates, strict=True))
    as_target = [fmean(targets.get(place, rates)) for place in drafts]
    centre = fmean(as_target)
    return [fmean(of_draft) + mean - centre for of_draft, mean in zip(drafts.values(), as_target, strict=True)]
