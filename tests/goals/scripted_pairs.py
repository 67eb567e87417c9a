"""A target with scripted drafts of given cost and acceptance: requests, answers and timings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch

from fixtures.engines.eager import Language, prefill
from fixtures.models.staged import StagedBase
from fixtures.pipeline import Prefilled, RawClip, VisionFeatures
from fixtures.speculation.aligned_context import AlignedContext
from fixtures.speculation.drafting import ModelDraft
from fixtures.speculation.loop import Speculation, plain_logits, speculate
from fixtures.speculation.near_ties import Divergence, divergence, first_difference
from harness.measuring import clock
from harness.records.speculation import RoundLog
from tests.goals.scripted_draft import ScriptedDraft

Found = TypeVar("Found")

IMAGES = {"egpt": 5, "videollava": 8}
WRITTEN = range(5, 37)
"""Ids that are in every model's vocabulary."""
DRAFT_PROMPT = 637
"""Length of EventGPT's prompt: 582 visual tokens, and the text."""


@dataclass(frozen=True, slots=True)
class DraftKind:
    """A draft of the target's first `layers` with a given acceptance; `acceptance` None: the target itself."""

    layers: int
    acceptance: float | None
    gamma: int

    def described(self, of: int) -> str:
        """Return a description; `of`: the number of the target's layers."""
        if self.acceptance is None:
            return f"the target itself as draft, gamma {self.gamma}"
        return f"{self.layers} of {of} layers as draft, acceptance {self.acceptance}, gamma {self.gamma}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request by the target alone and by the pair: seconds of prompts and decoding, rounds, and the divergence."""

    alone_prompt_s: float
    alone_decode_s: float
    pair_prompts_s: float
    loop_s: float
    rounds: tuple[RoundLog, ...]
    divergence: Divergence | None


@dataclass(frozen=True, slots=True)
class ScriptedPairs:
    """Requests to a target by one engine, with pictures of noise and answers of exactly `length` tokens."""

    loaded: StagedBase
    engine: str
    length: int
    # Number of layers -> draft decoder, kept so that its caches and graphs are reused.
    _decoders: dict[int, Language] = field(default_factory=dict)

    @property
    def target(self) -> StagedBase:
        """The model, run by the engine."""
        return self.loaded.with_engine(self.engine)

    @property
    def layers(self) -> int:
        """The number of the target's layers."""
        return len(self.target.language.body.layers)

    def request(self, seed: int) -> VisionFeatures:
        """Return the visual features of a clip of noise."""
        return _noise(self.target, seed)

    def answer(self, features: VisionFeatures) -> tuple[int, ...]:
        """Return the target's own."""
        prefilled = self.target.prefill(features)
        return self.target.decode(prefilled, max_new_tokens=self.length, stop_at_eos=False).token_ids

    def context(self, features: VisionFeatures, kind: DraftKind) -> AlignedContext:
        """Return both models in the middle of the answer."""
        answer, (prompt, draft) = self.answer(features), self._draft(features, kind, (), seed=0)
        return AlignedContext(
            self.target.language,
            self.target.prefill(features),
            draft,
            answer[: len(answer) // 2],
            draft_prompt=prompt.length,
        )

    def outcome(self, features: VisionFeatures, kind: DraftKind, seed: int) -> Outcome:
        """Answer one request by the target alone and, directly after, by the pair."""
        # Each in its own method, so that its cache, with the captured graphs, is free for the next.
        answer, alone_prompt_s, alone_decode_s = self._alone(features)
        found, pair_prompts_s, loop_s = self._together(features, kind, answer, seed)
        return Outcome(
            alone_prompt_s=alone_prompt_s,
            alone_decode_s=alone_decode_s,
            pair_prompts_s=pair_prompts_s,
            loop_s=loop_s,
            rounds=tuple(RoundLog(each.drafted, each.accepted, each.emitted, 0.0, 0.0) for each in found.rounds),
            divergence=self._parting(features, answer, found.generation.token_ids),
        )

    def answer_together(
        self, features: VisionFeatures, kind: DraftKind, answer: Sequence[int], seed: int
    ) -> tuple[int, ...]:
        """Return the pair's answer; `answer` is the target's own, which the draft's script follows."""
        return self._together(features, kind, answer, seed)[0].generation.token_ids

    def _alone(self, features: VisionFeatures) -> tuple[tuple[int, ...], float, float]:
        prefilled, prompt_s = _timed(lambda: self.target.prefill(features))
        found, decode_s = _timed(lambda: self.target.decode(prefilled, max_new_tokens=self.length, stop_at_eos=False))
        return found.token_ids, prompt_s, decode_s

    def _together(
        self, features: VisionFeatures, kind: DraftKind, answer: Sequence[int], seed: int
    ) -> tuple[Speculation, float, float]:
        prefilled, target_s = _timed(lambda: self.target.prefill(features))
        (_, draft), draft_s = _timed(lambda: self._draft(features, kind, answer, seed))
        found, loop_s = _timed(lambda: self._speculate(prefilled, draft, kind.gamma))
        return found, target_s + draft_s, loop_s

    def _speculate(self, prefilled: Prefilled, draft: ModelDraft, gamma: int) -> Speculation:
        return speculate(
            self.target.language, prefilled, draft, gamma=gamma, max_new_tokens=self.length, stop_at_eos=False
        )

    @torch.inference_mode()
    def _draft(
        self, features: VisionFeatures, kind: DraftKind, answer: Sequence[int], seed: int
    ) -> tuple[Prefilled, ModelDraft]:
        """A draft after a prompt of EventGPT's length, or the target itself after the target's prompt."""
        prompt = self.target.prompt_embeddings(features)
        if kind.layers not in self._decoders:
            self._decoders[kind.layers] = self.target.language.first_layers(kind.layers)
        model = self._decoders[kind.layers]
        if kind.acceptance is None:
            prefilled = prefill(model, prompt)
            ids = frozenset(range(prefilled.logits.shape[-1]))
            return prefilled, ModelDraft(model, prefilled, ids, stop_at_eos=False)
        prefilled = prefill(model, prompt[:, :DRAFT_PROMPT])
        return prefilled, ScriptedDraft(model, prefilled, answer, acceptance=kind.acceptance, seed=seed)

    def _parting(self, features: VisionFeatures, alone: Sequence[int], together: Sequence[int]) -> Divergence | None:
        place = first_difference(alone, together)
        if place is None:
            return None
        return divergence(place, plain_logits(self.target.language, self.target.prefill(features), alone[:place]))


def context_of_two(target: StagedBase, draft: StagedBase) -> AlignedContext:
    """Return two models after their own prompts and the same written ids."""
    prompts = [model.prefill(_noise(model, 0)) for model in (target, draft)]
    ids = range(min(prompt.logits.shape[-1] for prompt in prompts))
    guess = ModelDraft(draft.language, prompts[1], frozenset(ids), stop_at_eos=False)
    return AlignedContext(target.language, prompts[0], guess, WRITTEN, draft_prompt=prompts[1].length)


def _noise(model: StagedBase, seed: int) -> VisionFeatures:
    """The visual features of a clip of noise, with the model's usual number of pictures."""
    shape = (IMAGES[model.key], 240, 320, 3)
    pictures = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    return model.encode_vision(model.preprocess(RawClip(tuple(pictures), "noise")))


def total(outcomes: Sequence[Outcome], *parts: str) -> float:
    """Return the sum of the named fields of all outcomes, in seconds."""
    return math.fsum(getattr(each, part) for each in outcomes for part in parts)


def _timed(work: Callable[[], Found]) -> tuple[Found, float]:
    start = clock.now()
    found = work()
    return found, clock.now() - start
