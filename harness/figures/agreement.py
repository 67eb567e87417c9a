"""Agreement of two answers, and what the textbook formula makes of it.

The old figure: position by position over two texts that were written independently. It is *not* the acceptance rate
of speculative decoding, where the draft continues the target's own text; it is kept since old results have it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Agreement(msgspec.Struct, frozen=True):
    """`matched` of `compared` positions have the same token in both answers."""

    matched: int
    compared: int

    @property
    def rate(self) -> float:
        """Share of the compared positions that match; 0 where there were none to compare."""
        return self.matched / self.compared if self.compared else 0.0


def positionwise(draft: Sequence[int], target: Sequence[int]) -> Agreement:
    """Compare two answers at each position, up to the length of the shorter one."""
    matched = sum(mine == theirs for mine, theirs in zip(draft, target, strict=False))
    return Agreement(matched, min(len(draft), len(target)))


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
