"""What recorded answers say of agreement: the old figure, agreement from the start, and what chance gives.

Nothing here is the acceptance rate of speculative decoding: these texts were written independently of each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from harness.figures.agreement import positionwise, token_weighted
from harness.figures.summary import mean

MAX_SHIFTS = 50
"""Each answer is paired with so many others at most: enough for the mean, and soon done for thousands of samples."""


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


def replay(pairs: Sequence[TokenPair], gamma: int) -> Replay:
    """Return the figures of at least one pair; `gamma` is how many tokens a first block has."""
    own = [positionwise(pair.draft, pair.target) for pair in pairs]
    prefixes = tuple(common_prefix(pair.draft, pair.target) for pair in pairs)
    others = [
        (mine, pairs[(place + shift) % len(pairs)])
        for shift in range(1, min(len(pairs), MAX_SHIFTS + 1))
        for place, mine in enumerate(pairs)
    ]
    shuffled = [positionwise(mine.draft, theirs.target) for mine, theirs in others]
    return Replay(
        samples=len(pairs),
        matched=sum(each.matched for each in own),
        compared=sum(each.compared for each in own),
        per_sample=mean([each.rate for each in own]),
        token_weighted=token_weighted(own),
        prefixes=prefixes,
        survival=tuple(mean([float(length > place) for length in prefixes]) for place in range(gamma)),
        shuffled_pairings=len(others),
        shuffled_per_sample=mean([each.rate for each in shuffled]) if shuffled else None,
        shuffled_token_weighted=token_weighted(shuffled) if shuffled else None,
        shuffled_prefix_mean=mean([float(common_prefix(mine.draft, theirs.target)) for mine, theirs in others])
        if others
        else None,
    )


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """Return how many tokens agree from the start."""
    for place, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return place
    return min(len(one), len(other))


class TokenPair(msgspec.Struct, frozen=True):
    """Both answers to one sample, as ids."""

    sample: str
    draft: tuple[int, ...]
    target: tuple[int, ...]
