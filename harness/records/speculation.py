"""Records of speculative decoding: rounds, agreements, requests, and costs of the pieces."""

import msgspec

from harness.records.quantities import Count, MemoryPeak, Seconds, SecondsOrNone


class RoundLog(msgspec.Struct, frozen=True):
    """One speculative round: `drafted` ids, of which the target `accepted` some, and `emitted` ids.

    `emitted` counts the accepted ids and the target's own next id, up to the end of the answer. Times are in seconds.
    """

    drafted: Count
    accepted: Count
    emitted: Count
    draft_s: SecondsOrNone
    verify_s: SecondsOrNone


class _OfATarget(msgspec.Struct, frozen=True):
    test: str
    sample: str
    target: str
    engine: str


class AgreementRecord(_OfATarget, frozen=True, tag_field="record", tag="agreement"):
    """Whether the draft predicts the target's token at each position, given the target's tokens before it.

    Keys of `agrees`: the draft sees its "own" pictures, "shuffled" ones of another sample, or none ("blind");
    "template": the other answers predict in place of a draft; "self": the target predicts itself. The first position
    is the target's own and never proposed.
    """

    agrees: dict[str, tuple[bool, ...]]

    def __post_init__(self) -> None:
        if "own" not in self.agrees or len({len(each) for each in self.agrees.values()}) != 1:
            raise ValueError("agrees needs the key own, and the same number of positions under every key")


class DivergenceRecord(msgspec.Struct, frozen=True):
    """The first position where two answers differ, and the `margin` between the target's two likeliest ids there."""

    place: int
    margin: float
    allowed: float  # largest margin that rounding may turn over

    @property
    def is_near_tie(self) -> bool:
        """Whether rounding alone may explain the difference."""
        return self.margin <= self.allowed


class SpeculationRecord(
    _OfATarget, frozen=True, tag_field="record", tag="speculation", rename={"divergence": "parting"}
):
    """One request answered by the target alone and, right after it, with the draft's help."""

    gamma: int
    rounds: tuple[RoundLog, ...]
    token_ids: tuple[int, ...]
    identical: bool
    alone_s: Seconds  # from the files to the answer
    alone_decode_s: SecondsOrNone  # of that, in decoding steps
    alone_steps: Count
    pair_s: Seconds  # from the files to the answer, both models' files, pictures and prompts
    loop_s: SecondsOrNone  # of that, in speculative rounds
    first_alone_s: Seconds | None = None  # to the first token; None in older files
    first_pair_s: Seconds | None = None
    divergence: DivergenceRecord | None = None  # where the answers differ


class SpeculationCostRecord(_OfATarget, frozen=True, tag_field="record", tag="speculation_cost"):
    """Raw seconds of the pieces of speculative decoding, timed in turn in the middle of one answer."""

    dtype: str
    target_context: int  # positions attended to, prompt included
    draft_context: int
    step_s: tuple[Seconds, ...]  # a decoding step of the target alone
    draft_step_s: tuple[Seconds, ...]  # one proposed token
    verify_s: dict[int, tuple[Seconds, ...]]  # one pass of the target, by its number of tokens
    # Peaks over one request by the target alone and one by the pair, each with both models loaded.
    alone_memory: MemoryPeak
    pair_memory: MemoryPeak

    def __post_init__(self) -> None:
        if not (self.step_s and self.draft_step_s and self.verify_s and all(self.verify_s.values())):
            raise ValueError("step_s, draft_step_s and each entry of verify_s need at least one time")
