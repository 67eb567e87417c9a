"""Agreement of answers that were written independently: the old figure, its forecast, and what chance gives.

It is *not* the acceptance rate of speculative decoding, where the draft continues the target's own text; it is kept
since old results have it.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import takewhile
from random import Random
from statistics import fmean

import msgspec

from harness.figures.intervals import ALPHA, Interval, student_interval

MAX_PAIRINGS = 100_000
"""The control takes all pairs of different samples where they are not more; else so many, drawn by SEED."""
SEED = 0


class Agreement(msgspec.Struct, frozen=True):
    """`matched` of `compared` positions have the same token in both answers."""

    matched: int
    compared: int

    @property
    def rate(self) -> float:
        """Share of the compared positions that match; 0 where there were none to compare."""
        return self.matched / self.compared if self.compared else 0.0


class TokenPair(msgspec.Struct, frozen=True):
    """Both answers to one sample, as ids, and what was asked."""

    sample: str
    draft: tuple[int, ...]
    target: tuple[int, ...]
    question: str = ""


class Shares(msgspec.Struct, frozen=True):
    """Shares of positions that agree, over pairs of answers; intervals are at 95 %, over the samples."""

    pairs: int
    per_sample: float  # the mean of the samples' shares
    interval: Interval | None  # None for fewer than two samples
    token_weighted: float  # the share of all positions


class Replay(msgspec.Struct, frozen=True):
    """Figures of one target's answers beside the draft's."""

    own: Shares
    shuffled: Shares | None  # with the answers to the same question about other samples, where there are some
    matched: int  # positions that agree: the old figure
    compared: int
    prefixes: tuple[int, ...]  # tokens that agree from the start, by sample
    survival: tuple[float, ...]  # [k]: share of the samples whose first k + 1 tokens all agree


def positionwise(draft: Sequence[int], target: Sequence[int]) -> Agreement:
    """Compare two answers at each position, up to the length of the shorter one."""
    matched = sum(mine == theirs for mine, theirs in zip(draft, target, strict=False))
    return Agreement(matched, min(len(draft), len(target)))


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens agree from the start."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def token_weighted(agreements: Sequence[Agreement]) -> float:
    """Return the matched share of all compared positions together: long answers weigh more."""
    return Agreement(sum(each.matched for each in agreements), sum(each.compared for each in agreements)).rate


def expected_tokens(acceptance: float, gamma: int) -> float:
    """Return the expected new tokens of one round of `gamma` drafted ones.

    E = (1 - a^(gamma+1)) / (1 - a), and gamma + 1 at a = 1, its limit. Leviathan, Kalman, Matias: "Fast Inference
    from Transformers via Speculative Decoding", 2023, equation 1.
    """
    # Summed rather than divided, so that it holds at a = 1 too.
    return float(sum(acceptance**power for power in range(gamma + 1)))


def theoretical_speedup(acceptance: float, gamma: int, cost_ratio: float) -> float:
    """Return E / (c * gamma + 1), the old script's forecast; it takes the verification of gamma + 1 tokens as one step.

    `cost_ratio` c is mean draft time over mean target time. Same paper, theorem 3.8.
    """
    return expected_tokens(acceptance, gamma) / (cost_ratio * gamma + 1)


def replay(pairs: Sequence[TokenPair], gamma: int) -> Replay:
    """Return the figures of at least one pair; `gamma` is how many tokens a first block has."""
    own = [positionwise(pair.draft, pair.target) for pair in pairs]
    prefixes = tuple(common_prefix(pair.draft, pair.target) for pair in pairs)
    places = _shuffled(pairs)
    shuffled = [positionwise(pairs[mine].draft, pairs[theirs].target) for mine, theirs in places]
    return Replay(
        own=_shares(own, [each.rate for each in own]),
        shuffled=_shares(shuffled, _by_sample(places, [each.rate for each in shuffled])) if shuffled else None,
        matched=sum(each.matched for each in own),
        compared=sum(each.compared for each in own),
        prefixes=prefixes,
        survival=tuple(fmean(length > place for length in prefixes) for place in range(gamma)),
    )


def _shares(agreements: Sequence[Agreement], by_sample: Sequence[float]) -> Shares:
    interval = None
    if len(by_sample) > 1:
        found = student_interval(by_sample, ALPHA)
        interval = Interval(found.samples, found.value, max(found.low, 0.0), min(found.high, 1.0))
    return Shares(len(agreements), fmean(by_sample), interval, token_weighted(agreements))


def _shuffled(pairs: Sequence[TokenPair]) -> list[tuple[int, int]]:
    """Return places of a draft's answer and of a target's to another sample: all, or some of each drawn at random."""
    by_question = defaultdict(list)
    for place, pair in enumerate(pairs):
        by_question[pair.question].append(place)
    random = Random(SEED)  # noqa: S311, nothing secret
    most = max(1, MAX_PAIRINGS // len(pairs))
    found = []
    for same in by_question.values():
        for own in range(len(same)):
            # Numbers of the others: own is left out.
            drawn = range(len(same) - 1)
            chosen = drawn if len(drawn) <= most else random.sample(drawn, most)
            found += [(same[own], same[other + (other >= own)]) for other in chosen]
    return found


def _by_sample(places: Sequence[tuple[int, int]], rates: Sequence[float]) -> list[float]:
    """Return a value per sample whose mean and spread give the mean rate of pairings and its interval."""
    # Each sample takes part in several pairings. The first-order projection of such a mean (Hoeffding 1948,
    # U-statistics) is the sum of the sample's mean rates as draft and as target.
    drafts: dict[int, list[float]] = defaultdict(list)
    targets: dict[int, list[float]] = defaultdict(list)
    for (mine, theirs), rate in zip(places, rates, strict=True):
        drafts[mine].append(rate)
        targets[theirs].append(rate)
    as_target = [fmean(targets.get(place, rates)) for place in drafts]
    centre = fmean(as_target)
    return [fmean(of_draft) + mean - centre for of_draft, mean in zip(drafts.values(), as_target, strict=True)]
