"""Each audit passes a pipeline that does its work, and fails one that cheats in the way it is there for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from fixtures.pipeline import Generation, ModelInputs, Prefilled, RawClip, StagedPipeline, VisionFeatures
from harness.records.lines import AttemptRecord, RunRecord
from harness.session.session import Session
from harness.stages import Length
from perf_tests import test_audits as audits
from tests.harness.made_runs import STARTED_AT, failed_pass, header, whole_pass
from tests.stub_pipeline import StubPipeline, StubSample

SIDE, WIDTH, WORDS, END, LENGTH = 16, 8, 40, 0, 12
SAMPLE = StubSample("s1")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class SmallPipeline(StubPipeline):
    """Real numbers through all stages, each of which takes some milliseconds: an answer that hangs on each pixel."""

    def take(self, stage: str, given: Any) -> None:
        factor = torch.full((300, 300), 1 / 300)
        for _ in range(2 if stage == "token" else 8):
            factor = factor @ factor

    def load(self, sample: Any) -> RawClip:
        images = np.random.default_rng(len(sample.id)).integers(0, 256, (3, 2 * SIDE, 2 * SIDE, 3), dtype=np.uint8)
        return RawClip(tuple(images), "pictures")

    def preprocess(self, clip: RawClip) -> ModelInputs:
        self.take("preprocess", clip)
        pixels = torch.tensor(np.stack(clip.images)).permute(0, 3, 1, 2) / 64 - 2
        return ModelInputs(interpolate(pixels, (SIDE, SIDE), mode="bilinear"), torch.ones(1, 4, dtype=torch.int64))

    def encode_vision(self, inputs: ModelInputs) -> VisionFeatures:
        self.take("vision", inputs)
        return VisionFeatures((inputs.pixel_values.flatten(1) @ drawn(3 * SIDE**2, WIDTH))[None], inputs)

    def prefill(self, features: VisionFeatures) -> Prefilled:
        self.take("prefill", features)
        return Prefilled([], features.embeddings.flatten(1) @ drawn(features.embeddings[0].numel(), WORDS), 4)

    def decode(self, prefilled: Prefilled, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        ids: list[int] = []
        while len(ids) < max_new_tokens and not (stop_at_eos and END in ids):
            self.take("token", prefilled)
            # The fifth token of each answer ends it.
            ids.append(END if len(ids) == 4 else 1 + int((prefilled.logits * (1 + len(ids))).sin()[0, 1:].argmax()))
        return Generation(tuple(ids), "eos" if stop_at_eos and ids[-1] == END else "length")

    def text(self, generation: Any) -> str:
        return " ".join(f"word{each}" for each in generation.token_ids if each != END)


class AnswersCached(SmallPipeline):
    def __init__(self) -> None:
        super().__init__()
        self.known: dict[bytes, Any] = {}

    def decode(self, prefilled: Prefilled, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        key = prefilled.logits.numpy().tobytes() + bytes([max_new_tokens, stop_at_eos])
        if key not in self.known:
            self.known[key] = super().decode(prefilled, max_new_tokens=max_new_tokens, stop_at_eos=stop_at_eos)
        return self.known[key]


class FeaturesCached(SmallPipeline):
    def __init__(self) -> None:
        super().__init__()
        self.known: dict[bytes, VisionFeatures] = {}

    def encode_vision(self, inputs: ModelInputs) -> VisionFeatures:
        key = inputs.pixel_values.numpy().tobytes()
        if key not in self.known:
            self.known[key] = super().encode_vision(inputs)
        return self.known[key]


class PicturesCached(SmallPipeline):
    @cache  # noqa: B019  # that is the cheat
    def load(self, sample: Any) -> RawClip:
        return super().load(sample)


class LateAnswersChange(SmallPipeline):
    """Warm state: once an answer was given, the next one begins where that ended."""

    last: Tensor | None = None

    def decode(self, prefilled: Prefilled, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        kept, self.last = self.last, prefilled.logits
        stale = replace(prefilled, logits=prefilled.logits if kept is None else kept)
        return super().decode(stale, max_new_tokens=max_new_tokens, stop_at_eos=stop_at_eos)


class Truncated(SmallPipeline):
    def decode(self, prefilled: Prefilled, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        return super().decode(prefilled, max_new_tokens=max_new_tokens - 2, stop_at_eos=stop_at_eos)


class EndedEarly(SmallPipeline):
    """Answers that may end do so after two words, which is called the end token or the length."""

    says: Any = "eos"

    def decode(self, prefilled: Prefilled, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        answer = super().decode(prefilled, max_new_tokens=max_new_tokens, stop_at_eos=stop_at_eos)
        return replace(answer, token_ids=answer.token_ids[:2], stopped_by=self.says) if stop_at_eos else answer


class EndedEarlyByLength(EndedEarly):
    says = "length"


class ShorterWhereItMayEnd(SmallPipeline):
    """What may end is another, shorter answer."""

    def decode(self, prefilled: Prefilled, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        answer = super().decode(prefilled, max_new_tokens=max_new_tokens, stop_at_eos=stop_at_eos)
        return replace(answer, token_ids=(7, END), stopped_by="eos") if stop_at_eos else answer


class InAThread(SmallPipeline):
    """Vision returns at once; a thread of its own writes the features."""

    def encode_vision(self, inputs: ModelInputs) -> VisionFeatures:
        promised = torch.zeros(1, len(inputs.pixel_values), WIDTH)

        def late() -> None:
            time.sleep(0.01)  # so small a picture would be through before anybody looks
            promised.copy_(SmallPipeline.encode_vision(self, inputs).embeddings)

        self.begin(late)
        return VisionFeatures(promised, inputs)

    def begin(self, work: Callable[[], object]) -> None:
        threading.Thread(target=work, name="vision-late").start()


class InAWorker(InAThread):
    """The same by a thread that has been there all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: SimpleQueue[Callable[[], object]] = SimpleQueue()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            self.queue.get()()

    def begin(self, work: Callable[[], object]) -> None:
        self.queue.put(work)


class LazyTensor(Tensor):
    """Would compute what it holds when it is looked at."""


class Lazy(SmallPipeline):
    def encode_vision(self, inputs: ModelInputs) -> VisionFeatures:
        features = super().encode_vision(inputs)
        return replace(features, embeddings=features.embeddings.as_subclass(LazyTensor))


class LazyAnswer(SmallPipeline):
    def decode(self, prefilled: Prefilled, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        @dataclass
        class Later:
            token_ids: tuple[int, ...]
            stopped_by: str

        answer = super().decode(prefilled, max_new_tokens=max_new_tokens, stop_at_eos=stop_at_eos)
        return Later(answer.token_ids, answer.stopped_by)


class PictureDropped(SmallPipeline):
    def encode_vision(self, inputs: ModelInputs) -> VisionFeatures:
        pixels = inputs.pixel_values
        return super().encode_vision(replace(inputs, pixel_values=torch.cat([pixels[:1], pixels[:1], pixels[2:]])))


class PicturesIgnored(SmallPipeline):
    def prefill(self, features: VisionFeatures) -> Prefilled:
        return super().prefill(replace(features, embeddings=torch.ones_like(features.embeddings)))


class NotANumber(SmallPipeline):
    def encode_vision(self, inputs: ModelInputs) -> VisionFeatures:
        features = super().encode_vision(inputs)
        return replace(features, embeddings=features.embeddings * float("nan"))


class PicturesShrunk(SmallPipeline):
    def preprocess(self, clip: RawClip) -> ModelInputs:
        if len(clip.images[0]) > SIDE:
            clip = replace(clip, images=tuple(image[::2, ::2] for image in clip.images))
        return super().preprocess(clip)


class TowerShrunk(SmallPipeline):
    def encode_vision(self, inputs: ModelInputs) -> VisionFeatures:
        small = interpolate(avg_pool2d(inputs.pixel_values, 2), scale_factor=2.0)
        return super().encode_vision(replace(inputs, pixel_values=small))


CHEATS: dict[type[SmallPipeline], tuple[Callable[[audits.Audited], None], str]] = {
    AnswersCached: (audits.test_an_input_asked_twice_costs_twice, "less than half of the time of a new one in decode"),
    FeaturesCached: (audits.test_an_input_asked_twice_costs_twice, "less than half of the time of a new one in vision"),
    PicturesCached: (audits.test_an_input_asked_twice_costs_twice, "load returns the same pictures again"),
    LateAnswersChange: (audits.test_timed_answers_match_an_untimed_run, "not those of an untimed run"),
    Truncated: (audits.test_output_lengths_are_kept, "12 tokens were requested, the answer has 10"),
    EndedEarly: (audits.test_output_lengths_are_kept, r"an answer ends with 'word\d+', which is no end token"),
    EndedEarlyByLength: (audits.test_output_lengths_are_kept, "stopped by its length has 2 tokens, not 12"),
    ShorterWhereItMayEnd: (audits.test_output_lengths_are_kept, "an answer of natural length is not the beginning"),
    InAThread: (audits.test_no_work_is_deferred_past_the_clock, "vision leaves a thread behind: vision-late"),
    InAWorker: (audits.test_no_work_is_deferred_past_the_clock, "the result of vision is not complete"),
    Lazy: (audits.test_no_work_is_deferred_past_the_clock, "a LazyTensor may compute its values only when"),
    LazyAnswer: (audits.test_no_work_is_deferred_past_the_clock, "the result of decode is not complete"),
    PictureDropped: (audits.test_features_depend_on_every_picture, "do not depend on picture 2 of 3"),
    PicturesIgnored: (audits.test_features_depend_on_every_picture, "gives the same logits for different features"),
    NotANumber: (audits.test_features_depend_on_every_picture, "picture 1 of 3"),
    PicturesShrunk: (audits.test_lower_resolution_is_noticed, "pictures of half the size give the same features"),
    TowerShrunk: (audits.test_lower_resolution_is_noticed, "detail of a pixel's size changes nothing"),
}
AUDITS = dict.fromkeys(audit for audit, _ in CHEATS.values())


def audited(pipeline: SmallPipeline, timed: tuple[tuple[int, ...], ...] = ()) -> audits.Audited:
    clip = pipeline.load(SAMPLE)
    return audits.Audited(cast(StagedPipeline, pipeline), cast(Any, SAMPLE), clip, LENGTH, timed)


@pytest.mark.parametrize("audit", AUDITS)
def test_a_pipeline_that_does_its_work_passes(audit: Callable[[audits.Audited], None]) -> None:
    given = audited(SmallPipeline())
    audit(replace(given, timed=(given.answer(given.clip).token_ids,)))


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_pipeline_that_cheats_fails(cheat: type[SmallPipeline]) -> None:
    audit, words = CHEATS[cheat]
    with pytest.raises(pytest.fail.Exception, match=words):
        audit(audited(cheat()))


def test_an_answer_of_the_whole_pass_that_is_another_one_fails() -> None:
    given = audited(SmallPipeline())
    right = given.answer(given.clip).token_ids
    another = replace(given, timed=((*right[:2], 1 + right[2], *right[3:]),))
    with pytest.raises(pytest.fail.Exception, match="not those of an untimed run"):
        audits.test_timed_answers_match_an_untimed_run(another)
    with pytest.raises(pytest.skip.Exception, match="do not repeat their answers"):
        audits.test_timed_answers_match_an_untimed_run(replace(another, repeats=False))
    with pytest.raises(pytest.fail.Exception, match="12 tokens were requested, the answer has 11"):
        audits.test_output_lengths_are_kept(replace(given, timed=(right[:-1],)))


@pytest.mark.parametrize(("machine", "expected"), [("", [(1,)]), ("another", [(2,)])])
def test_answers_of_other_machines_and_failed_passes_are_not_compared(machine: str, expected: list[Any]) -> None:
    of_this: dict[str, Any] = {"kind": "fixed", "token_ids": (1,)}
    passes = (
        whole_pass("egpt", **of_this),
        whole_pass("egpt", **of_this | {"token_ids": (2,)}, machine="another"),
        failed_pass("egpt", "s1", "decode", kind="fixed", machine=machine),
        *(
            whole_pass("egpt", **of_this | other)
            for other in ({"kind": "whole"}, {"engine": "graph"}, {"sample": "s2"})
        ),
        whole_pass("llava", **of_this),
    )
    attempt = AttemptRecord(STARTED_AT, {}, machine=machine) if machine else None
    session = SimpleNamespace(journal=True, attempt=attempt, read=lambda: RunRecord(header(), passes=passes))
    session.answers = partial(Session.answers, session)  # type: ignore[arg-type]
    tiny = SimpleNamespace(model_set="tiny")
    fixture: Any = audits.audited
    found = fixture._get_wrapped_function()(
        SmallPipeline(), "eager", [SAMPLE], tiny, session, lambda _key: Length(4, fixed=True)
    )
    assert (found.timed, found.fixed, found.tokens) == (expected, 4, 4)
