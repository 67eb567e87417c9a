"""Agreement of answers that were written independently: the old figure, its forecast, and what chance gives.

It is *not* the acceptance rate of speculative decoding, where the draft continues the target's own text; it is kept
since old results have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from statistics import fmean

import msgspec

MAX_SHIFTS = 50
"""Others that each answer is paired with at most: enough for the mean, and soon done for thousands of samples."""


class Agreement(msgspec.Struct, frozen=True):
    """`matched` of `compared` positions have the same token in both answers."""

    matched: int
    compared: int

    @property
    def rate(self) -> float:
        """Share of the compared positions that match; 0 where there were none to compare."""
        return self.matched / self.compared if self.compared else 0.0


class TokenPair(msgspec.Struct, frozen=True):
    """Both answers to one sample, as ids."""

    sample: str
    draft: tuple[int, ...]
    target: tuple[int, ...]


class Replay(msgspec.Struct, frozen=True):
    """Figures of one target's answers beside the draft's.

    `matched` of `compared` positions agree (the old figure), `per_sample` is the mean of the samples' shares,
    `token_weighted` the share of all. `prefixes`: tokens that agree from the start, by sample. `survival[k]`: share
    of the samples whose first k + 1 tokens all agree. `shuffled_*`: the same with the answers to other samples.
    """

    samples: int
    matched: int
    compared: int
    per_sample: float
    token_weighted: float
    prefixes: tuple[int, ...]
    survival: tuple[float, ...]
    shuffled_pairings: int
    shuffled_per_sample: float | None
    shuffled_token_weighted: float | None
    shuffled_prefix_mean: float | None


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
    others = [
        (mine.draft, pairs[(place + shift) % len(pairs)].target)
        for shift in range(1, min(len(pairs), MAX_SHIFTS + 1))
        for place, mine in enumerate(pairs)
    ]
    shuffled = [positionwise(draft, target) for draft, target in others]
    return Replay(
        samples=len(pairs),
        matched=sum(each.matched for each in own),
        compared=sum(each.compared for each in own),
        per_sample=fmean(each.rate for each in own),
        token_weighted=token_weighted(own),
        prefixes=prefixes,
        survival=tuple(fmean(length > place for length in prefixes) for place in range(gamma)),
        shuffled_pairings=len(others),
        shuffled_per_sample=fmean(each.rate for each in shuffled) if others else None,
        shuffled_token_weighted=token_weighted(shuffled) if others else None,
        shuffled_prefix_mean=fmean(common_prefix(*answers) for answers in others) if others else None,
    )
