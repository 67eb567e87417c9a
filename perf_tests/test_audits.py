"""Audits of the models that were measured: times count only if the work was done, within the clock, on these inputs.

They time nothing that is written down, and come behind what is measured of a model and an engine.
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

# A cache answers in a hundredth of the time; a machine that others use doubles a time for a moment, not in all pairs.
LEAST_SHARE, PAIRS, ATTEMPTS = 0.5, 4, 3
# Of an answer: they tell what a step takes, and in what answers differ.
MAX_TOKENS = 12
# What is left to do after a stage has returned gets twice its time, and this.
PATIENCE_S = 0.03
# Of the features' norm; rounding in half precision is a tenth of that.
LEAST_CHANGE = 0.02
# Eight of these are a square in two rows of four: a centre crop leaves none of them out, as it does of wider ones.
TALL = (448, 224, 3)
SEEDS = count()
Calls = dict[str, Callable[[Any], Any]]
RESULTS = {RawClip, ModelInputs, VisionFeatures, Prefilled, Generation}


@dataclass(frozen=True, slots=True)
class Audited:
    """A model by one engine, a sample and its clip, and the answers of `fixed` length that its whole passes gave.

    `tokens` is the length of an audit's own answers, `fixed` at most. `repeats`: whether a clip's answers are the same.
    """

    pipeline: StagedPipeline
    sample: Sample
    clip: RawClip
    fixed: int
    timed: Sequence[tuple[int, ...]] = ()
    tokens: int = MAX_TOKENS
    repeats: bool = True

    def features(self, clip: RawClip) -> VisionFeatures:
        """Stages 2 and 3."""
        return self.pipeline.encode_vision(self.pipeline.preprocess(clip))

    def answer(self, clip: RawClip, *, stop_at_eos: bool = False) -> Generation:
        """Stages 2 to 4, for so many tokens or up to the end token."""
        prefilled = self.pipeline.prefill(self.features(clip))
        return self.pipeline.decode(prefilled, max_new_tokens=self.tokens, stop_at_eos=stop_at_eos)

    def require_same(self, clip: RawClip, one: Sequence[int], other: Sequence[int], said: str) -> None:
        """Fail with what is `said` where two answers to a clip part, unless at a near tie in half precision.

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
        _fail(f"{said}: they part at token {place + 1}{tie}")

    def _logits_behind(self, clip: RawClip, written: Sequence[int]) -> Tensor | None:
        """The logits [V] that decide what follows `written`; None where the pipeline has none of ours inside."""
        language, settings = (getattr(self.pipeline, name, None) for name in ("language", "settings"))
        if language is None or settings is None:
            return None
        prefilled = self.pipeline.prefill(self.features(clip))
        seen = torch.tensor(
            [[*(prefilled.prompt_ids.flatten().tolist() if prefilled.prompt_ids is not None else []), *written]]
        )
        logits = plain_logits(language, prefilled, written)
        scores = settings.sampling.processors()(seen.to(logits.device), logits[None].float())
        decisive: Tensor = scores[0].to(logits.dtype)
        return decisive

    def new_clips(self, *shape: int) -> Iterator[RawClip]:
        """Clips that no stage has seen, of noise; pictures of a given `shape`, or of those of the sample's."""
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
    """The first sample that can be loaded; of a resumed run only this machine's answers are to be the same."""
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
    """Answers under the clock, of the whole passes and of rounds here, are those of a run without one."""
    clips = (audited.clip, next(audited.new_clips()))
    untimed = [audited.answer(clip).token_ids for clip in clips]
    timed = [(audited.clip, each[: audited.tokens]) for each in audited.timed]
    for clip in clips:
        clock.seconds_of(lambda clip=clip: timed.append((clip, audited.answer(clip).token_ids)))  # type: ignore[misc]
    for clip, ids in timed:
        said = "answers under the clock are not those of an untimed run"
        audited.require_same(clip, untimed[clip is not audited.clip], ids, said)


def test_an_input_asked_twice_costs_twice(audited: Audited) -> None:
    """No stage keeps answers or features: an input that it has seen takes it as long as one that it has not."""
    stages = stage_calls(audited.pipeline, Length(audited.tokens, fixed=True))
    load, clips = stages.pop("load"), audited.new_clips()
    one, other = load(audited.sample), load(audited.sample)
    if any(map(np.shares_memory, one.images, other.images)) and "hit" not in one.state:
        _fail("load gives pictures that it gave before, and no frame cache is in use")
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
    _fail(f"an input asked twice is not worked on twice, by {', '.join(sorted(cached))}: it takes less than half")


def test_output_lengths_are_kept(audited: Audited) -> None:
    """Fixed lengths have every token; natural answers are their beginning, up to an end token and no word."""
    fixed = audited.answer(audited.clip)
    for asked, ids in [(audited.tokens, fixed.token_ids), *((audited.fixed, ids) for ids in audited.timed)]:
        if len(ids) != asked:
            _fail(f"{asked} tokens were asked for, {len(ids)} came")
    natural = audited.answer(audited.clip, stop_at_eos=True)
    length = len(natural.token_ids)
    if natural.stopped_by == "length" and length != audited.tokens:
        _fail(f"an answer stopped by its length has {length} tokens, not {audited.tokens}")
    last = audited.pipeline.text(replace(natural, token_ids=natural.token_ids[-1:]))
    if natural.stopped_by == "eos" and last:
        _fail(f"an answer ends by {last!r}, which is no end token")
    said = "an answer that may end is another one than that of fixed length"
    audited.require_same(audited.clip, fixed.token_ids[:length], natural.token_ids, said)


def test_no_work_is_deferred_past_the_clock(audited: Audited) -> None:
    """When the clock stops, results are complete, seen through another stream of a GPU, and no thread works on."""
    audited.answer(audited.clip)  # pools of threads are made with the first clip
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
    """Another picture in any place of a clip gives other features, and other features another first token's logits."""
    clip, other = islice(audited.new_clips(*TALL), 2)
    features = audited.features(clip)
    for place, picture in enumerate(other.images):
        images = (*clip.images[:place], picture, *clip.images[place + 1 :])
        if not _change(audited.features(replace(clip, images=images)).embeddings, features.embeddings) > 0:
            _fail(f"picture {place + 1} of {len(images)} can be another one, and the features stay the same")
    logits = [audited.pipeline.prefill(each).logits for each in (features, audited.features(other))]
    if torch.equal(*logits):
        _fail("the language model answers other features by the same logits")


def test_lower_resolution_is_noticed(audited: Audited) -> None:
    """Pictures of half the size give other features, and so does detail that half of the tower's pixels cannot hold."""
    clip = next(audited.new_clips())
    inputs = audited.pipeline.preprocess(clip)
    features = audited.pipeline.encode_vision(inputs)
    smaller = replace(clip, images=tuple(image[::2, ::2].copy() for image in clip.images), resized=False)
    if not _change(audited.features(smaller).embeddings, features.embeddings) > 0:
        _fail("pictures of half the size give the same features")
    # Every second pixel is 0 there, and so is the mean of each 2 x 2.
    detail = torch.zeros_like(inputs.pixel_values)
    detail[..., ::2, 1::2], detail[..., 1::2, ::2] = 1, -1
    finer = replace(inputs, pixel_values=inputs.pixel_values + detail)
    if not _change(audited.pipeline.encode_vision(finer).embeddings, features.embeddings) > LEAST_CHANGE:
        _fail("detail of a pixel's size is not seen: the tower is given fewer pixels than it is said to be")


def _shares(stages: Calls, seen: dict[str, Any], clips: Iterable[RawClip]) -> dict[str, float]:
    """What each stage takes for an input that it has `seen`, as a share of its time for a new one; fastest of each."""
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
    """Numbers of a stage's result as they are now, in host memory; on a GPU by a stream that waits for no other."""
    if isinstance(result, Tensor):
        if type(result) is not Tensor:
            _fail(f"a {type(result).__name__} may compute its values when they are looked at")
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
    """How far embeddings are from others, as a share of their norm; infinite where their numbers differ."""
    if one.shape != other.shape:
        return float("inf")
    return float((one.float() - other.float()).norm() / other.float().norm())


def _fail(sentence: str) -> NoReturn:
    pytest.fail(sentence, pytrace=False)
