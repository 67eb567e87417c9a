"""What a run writes down of speculative decoding: rounds, agreements, requests, and what the pieces take."""

import msgspec

from harness.records.quantities import Count, MemoryPeak, Seconds, SecondsOrNone


class RoundLog(msgspec.Struct, frozen=True):
    """One speculative round: `accepted` of `drafted` ids were the target's own, `emitted` were written.

    `emitted` is `accepted` and the target's own next id, less what lay behind the end of the text. Seconds.
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
    """Whether the draft predicts the target's token, place by place, given the target's tokens before it.

    `agrees` by what the draft was shown: "own" pictures, "shuffled", "blind"; "template": no draft but the other
    answers; "self": the target in its place. The first place is the target's own and never proposed.
    """

    agrees: dict[str, tuple[bool, ...]]

    def __post_init__(self) -> None:
        if "own" not in self.agrees or len({len(each) for each in self.agrees.values()}) != 1:
            raise ValueError("agrees needs own, and a word for each of its places from every other")


class DivergenceRecord(msgspec.Struct, frozen=True):
    """Where two answers part, and how far apart the target's two likeliest ids were there; `allowed` is a near tie."""

    place: int
    margin: float
    allowed: float

    @property
    def is_near_tie(self) -> bool:
        """Whether rounding alone may have made the difference."""
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
    """What the pieces of speculative decoding take in the middle of one answer, in turn: raw seconds."""

    dtype: str
    target_context: int  # positions attended to, prompt included
    draft_context: int
    step_s: tuple[Seconds, ...]  # a decoding step of the target alone
    draft_step_s: tuple[Seconds, ...]  # one proposed token
    verify_s: dict[int, tuple[Seconds, ...]]  # one pass of the target over so many tokens
    # Peaks over a request of either kind, both with both models loaded.
    alone_memory: MemoryPeak
    pair_memory: MemoryPeak

    def __post_init__(self) -> None:
        if not (self.step_s and self.draft_step_s and self.verify_s and all(self.verify_s.values())):
            raise ValueError("step_s, draft_step_s and each of verify_s need a time, one at the least")
