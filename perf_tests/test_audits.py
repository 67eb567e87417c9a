"""Audits of the measured models: times count only if the work was done within them, on the given inputs.

Audits record no times, and run after the measurements of a model and an engine.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import count, islice
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch import Tensor

from fixtures.errors import SampleError
from fixtures.pipeline import Generation, ModelInputs, Prefilled, RawClip, Sample, StagedPipeline, VisionFeatures
from fixtures.selection import Selection
from fixtures.speculation.loop import plain_logits
from fixtures.speculation.near_ties import divergence, first_difference
from harness.measuring import clock
from harness.records.lines import PassKind
from harness.session.session import Session
from harness.stages import Length, stage_calls

pytestmark = pytest.mark.audit

# A cache answers in a hundredth of the time. A shared machine doubles a time for a moment, but not in all pairs.
LEAST_SHARE, PAIRS, ATTEMPTS = 0.5, 4, 3
# Tokens of an audit's answers, enough to show a step's time and differences of answers.
MAX_TOKENS = 12
# Deferred work gets twice a stage's time, and this, to show itself.
PATIENCE_S = 0.03
# Relative to the features' norm; rounding in half precision changes them by a tenth of that.
LEAST_CHANGE = 0.02
# Eight of these make a square of two rows of four, of which a centre crop cuts none away.
TALL = (448, 224, 3)
SEEDS = count()
Calls = dict[str, Callable[[Any], Any]]
RESULTS = {RawClip, ModelInputs, VisionFeatures, Prefilled, Generation}


@dataclass(frozen=True, slots=True)
class Audited:
    """A model by one engine, a sample with its clip, and its `timed` answers, of `fixed` length, from whole passes.

    `tokens`: length of the audit's own answers, at most `fixed`. `repeats`: equal inputs must give equal answers.
    """

    pipeline: StagedPipeline
    sample: Sample
    clip: RawClip
    fixed: int
    timed: Sequence[tuple[int, ...]] = ()
    tokens: int = MAX_TOKENS
    repeats: bool = True

    def features(self, clip: RawClip) -> VisionFeatures:
        """Return the clip's features, by stages 2 and 3."""
        return self.pipeline.encode_vision(self.pipeline.preprocess(clip))

    def answer(self, clip: RawClip, *, stop_at_eos: bool = False) -> Generation:
        """Return the clip's answer of `tokens` tokens, or up to the end token, by stages 2 to 4."""
        prefilled = self.pipeline.prefill(self.features(clip))
        return self.pipeline.decode(prefilled, max_new_tokens=self.tokens, stop_at_eos=stop_at_eos)

    def require_same(self, clip: RawClip, one: Sequence[int], other: Sequence[int], said: str) -> None:
        """Fail with the sentence `said` where two answers to a clip differ, unless at a near tie in half precision.

        Skips the test instead where answers do not repeat.
        """
        place = first_difference(one, other)
        if place is None:
            return
        tie, logits = "", self._logits_behind(clip, one[:place])
        if logits is not None and logits.dtype != torch.float32:
            found = divergence(place, logits)
            if found.is_near_tie:
                return
            tie = f", where the two likeliest ids are {found.margin:.2g} apart, more than rounding explains"
        if not self.repeats:
            pytest.skip("with random weights in half precision, the library's kernels do not repeat their answers")
        _fail(f"{said}: they differ from token {place + 1} on{tie}")

    def _logits_behind(self, clip: RawClip, written: Sequence[int]) -> Tensor | None:
        """Return the logits [V] of the token after `written`; None where the pipeline has no language model of ours."""
        language, settings = (getattr(self.pipeline, name, None) for name in ("language", "settings"))
        if language is None or settings is None:
            return None
        prefilled = self.pipeline.prefill(self.features(clip))
        prompt = [] if prefilled.prompt_ids is None else prefilled.prompt_ids.flatten().tolist()
        seen = torch.tensor([[*prompt, *written]])
        logits = plain_logits(language, prefilled, written)
        scores = settings.sampling.processors()(seen.to(logits.device), logits[None].float())
        decisive: Tensor = scores[0].to(logits.dtype)
        return decisive

    def new_clips(self, *shape: int) -> Iterator[RawClip]:
        """Yield clips of noise that no stage has seen, with pictures of `shape` or of the sample's shapes."""
        while True:
            draw = np.random.default_rng(next(SEEDS))
            noise = (draw.integers(0, 256, shape or image.shape, dtype=np.uint8) for image in self.clip.images)
            yield replace(self.clip, images=tuple(noise), resized=self.clip.resized and not shape)


@pytest.fixture
def audited(
    pipeline: StagedPipeline,
    engine: str,
    stage_samples: Sequence[Sample],
    selection: Selection,
    session: Session,
    fixed_length: Callable[[str], Length],
) -> Audited:
    """Return the first sample that can be loaded, with its timed answers from this machine."""
    kind: PassKind = "whole" if selection.model_set == "full" else "fixed"
    answers, fixed = session.answers(kind, pipeline.key, engine), fixed_length(pipeline.key).tokens
    # On H200s the library's kernels, in half precision, gave random weights other answers from run to run.
    repeats = engine != "eager" or selection.model_set != "full" or pipeline.facts().dtype == "float32"
    for sample in stage_samples:
        with suppress(SampleError):
            clip, timed = pipeline.load(sample), [answers[sample.id]] if sample.id in answers else []
            return Audited(pipeline.with_engine(engine), sample, clip, fixed, timed, min(fixed, MAX_TOKENS), repeats)
    pytest.skip("no sample can be loaded")


def test_timed_answers_match_an_untimed_run(audited: Audited) -> None:
    """Timed answers, of whole passes and of rounds here, equal those of an untimed run."""
    clips = (audited.clip, next(audited.new_clips()))
    untimed = [audited.answer(clip).token_ids for clip in clips]
    timed = [(audited.clip, each[: audited.tokens]) for each in audited.timed]
    for clip in clips:
        clock.seconds_of(lambda clip=clip: timed.append((clip, audited.answer(clip).token_ids)))  # type: ignore[misc]
    for clip, ids in timed:
        said = "timed answers are not those of an untimed run"
        audited.require_same(clip, untimed[clip is not audited.clip], ids, said)


def test_an_input_asked_twice_costs_twice(audited: Audited) -> None:
    """No stage caches answers or features: a known input takes as long as a new one."""
    stages = stage_calls(audited.pipeline, Length(audited.tokens, fixed=True))
    load, clips = stages.pop("load"), audited.new_clips()
    one, other = load(audited.sample), load(audited.sample)
    if any(map(np.shares_memory, one.images, other.images)) and "hit" not in one.state:
        _fail("load returns the same pictures again, and no frame cache is in use")
    seen: dict[str, Any] = {}
    given: Any = next(clips)
    for stage, call in stages.items():
        seen[stage], given = given, call(given)
    cached = set(stages)
    for _ in range(ATTEMPTS):
        shares = _shares(stages, seen, islice(clips, PAIRS))
        cached = {stage for stage in cached if shares[stage] < LEAST_SHARE}
        if not cached:
            return
    _fail(f"a known input takes less than half of the time of a new one in {', '.join(sorted(cached))}")


def test_output_lengths_are_kept(audited: Audited) -> None:
    """Answers of fixed length have every token; natural ones are their beginning, at most up to an end token."""
    fixed = audited.answer(audited.clip)
    for asked, ids in [(audited.tokens, fixed.token_ids), *((audited.fixed, ids) for ids in audited.timed)]:
        if len(ids) != asked:
            _fail(f"{asked} tokens were requested, the answer has {len(ids)}")
    natural = audited.answer(audited.clip, stop_at_eos=True)
    length = len(natural.token_ids)
    if natural.stopped_by == "length" and length != audited.tokens:
        _fail(f"an answer stopped by its length has {length} tokens, not {audited.tokens}")
    last = audited.pipeline.text(replace(natural, token_ids=natural.token_ids[-1:]))
    if natural.stopped_by == "eos" and last:
        _fail(f"an answer ends with {last!r}, which is no end token")
    said = "an answer of natural length is not the beginning of the one of fixed length"
    audited.require_same(audited.clip, fixed.token_ids[:length], natural.token_ids, said)


def test_no_work_is_deferred_past_the_clock(audited: Audited) -> None:
    """When the clock stops, results are complete, as read by another stream of a GPU, and no thread still works."""
    audited.answer(audited.clip)  # the first clip makes pools of threads
    given: Any = audited.sample
    for stage, call in stage_calls(audited.pipeline, Length(audited.tokens, fixed=True)).items():
        before, start = set(threading.enumerate()), clock.now()
        given = call(given)
        took_s = clock.now() - start
        at_once, working = _values(given), [each.name for each in threading.enumerate() if each not in before]
        time.sleep(2 * took_s + PATIENCE_S)
        later = _values(given)
        if working:
            _fail(f"{stage} leaves a thread behind: {', '.join(working)}")
        if type(given) not in RESULTS or len(at_once) != len(later) or not all(map(np.array_equal, at_once, later)):
            _fail(f"the result of {stage} is not complete when the clock stops")


def test_features_depend_on_every_picture(audited: Audited) -> None:
    """A change of any picture changes the features, and changed features change the first token's logits."""
    clip, other = islice(audited.new_clips(*TALL), 2)
    features = audited.features(clip)
    for place, picture in enumerate(other.images):
        images = (*clip.images[:place], picture, *clip.images[place + 1 :])
        if not _change(audited.features(replace(clip, images=images)).embeddings, features.embeddings) > 0:
            _fail(f"the features do not depend on picture {place + 1} of {len(images)}")
    logits = [audited.pipeline.prefill(each).logits for each in (features, audited.features(other))]
    if torch.equal(*logits):
        _fail("the language model gives the same logits for different features")


def test_lower_resolution_is_noticed(audited: Audited) -> None:
    """Pictures of half the size change the features, and so does detail of a pixel's size."""
    clip = next(audited.new_clips())
    inputs = audited.pipeline.preprocess(clip)
    features = audited.pipeline.encode_vision(inputs)
    smaller = replace(clip, images=tuple(image[::2, ::2].copy() for image in clip.images), resized=False)
    if not _change(audited.features(smaller).embeddings, features.embeddings) > 0:
        _fail("pictures of half the size give the same features")
    # Every second pixel of the detail is 0, and so is the mean of each 2 x 2 block.
    detail = torch.zeros_like(inputs.pixel_values)
    detail[..., ::2, 1::2], detail[..., 1::2, ::2] = 1, -1
    finer = replace(inputs, pixel_values=inputs.pixel_values + detail)
    if not _change(audited.pipeline.encode_vision(finer).embeddings, features.embeddings) > LEAST_CHANGE:
        _fail("detail of a pixel's size changes nothing: the tower gets fewer pixels than stated")


def _shares(stages: Calls, seen: dict[str, Any], clips: Iterable[RawClip]) -> dict[str, float]:
    """Return each stage's time for an input that it has `seen`, relative to a new one; the fastest of each kind."""
    times: dict[str, tuple[list[float], list[float]]] = {stage: ([], []) for stage in stages}
    for clip in clips:
        given: Any = clip
        for stage, call in stages.items():
            # Decoding consumes its input.
            before = stages["prefill"](seen["prefill"]) if stage == "decode" else seen[stage]
            for seconds, each in zip(times[stage], (before, given), strict=True):
                start = clock.now()
                given = call(each)
                seconds.append(clock.now() - start)
    return {stage: min(again) / min(new) for stage, (again, new) in times.items()}


def _values(result: Any) -> list[Any]:
    """Return the present values of a stage's result; on a GPU read by a stream that waits for no other."""
    if isinstance(result, Tensor):
        if type(result) is not Tensor:
            _fail(f"a {type(result).__name__} may compute its values only when they are read")
        if not result.is_cuda:
            return [result.float().numpy(force=True).copy()]
        with torch.cuda.stream(torch.cuda.Stream(result.device)):  # type: ignore[no-untyped-call]
            return [result.float().cpu().numpy()]
    if is_dataclass(result):
        return [value for each in fields(result) for value in _values(getattr(result, each.name))]
    if isinstance(result, tuple):
        return [value for each in result for value in _values(each)]
    return [np.array(result)] if isinstance(result, np.ndarray | int | str) else []


def _change(one: Tensor, other: Tensor) -> float:
    """Return the relative difference of embeddings; infinite where their shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    return float((one.float() - other.float()).norm() / other.float().norm())


def _fail(sentence: str) -> NoReturn:
    pytest.fail(sentence, pytrace=False)
