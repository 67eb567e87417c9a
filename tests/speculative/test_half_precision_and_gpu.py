"""The same loop where numbers are short, and on a GPU: exact in float32, and in half precision but for near ties."""

from __future__ import annotations

import pytest
import torch

from fixtures.language import decode, prefill
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.near_ties import first_difference, parting
from fixtures.sampling import Sampling
from fixtures.scripted_draft import ScriptedDraft
from fixtures.speculative import plain_logits, speculate
from fixtures.speculative_pair import SpeculativePair
from tests.models.side_by_side import clip
from tests.speculative.conftest import SCENES, Pairs
from tests.speculative.test_loop_is_greedy_decoding import DRAFTS, SHORT, TARGET, plain, spoken

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: PyTorch finds no CUDA device here")


def audited(device, dtype, samples, gammas, length=160):
    """Answers of the trained pair that are the target's own, and where the others part from it."""
    settings = ModelSettings(device=device, dtype=dtype)
    draft, target = (load() for load in pipeline_loaders(settings, ["egpt", TARGET]).values())
    pairs = [SpeculativePair(draft, target, gamma=each, max_new_tokens=length, stop_at_eos=True) for each in gammas]
    identical, partings = 0, []
    for sample in samples:
        alone, _ = pairs[0].alone(sample, lambda: 0.0)
        for pair in pairs:
            found = pair.parting(sample, alone.token_ids, pair.together(sample, lambda: 0.0).generation.token_ids)
            identical += found is None
            partings += [found] if found else []
    return identical, partings


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_in_half_precision_answers_part_at_near_ties_alone(samples, dtype):
    identical, partings = audited("cpu", dtype, samples[:1], [3], length=40)
    assert all(each.is_near_tie for each in partings)
    assert identical + len(partings) == 1


def test_an_answer_that_parts_where_the_target_was_sure_is_no_near_tie():
    assert not parting(3, torch.tensor([4.0, 3.0, 0.0], dtype=torch.bfloat16)).is_near_tie
    assert parting(3, torch.tensor([4.0, 3.984375, 0.0], dtype=torch.bfloat16)).is_near_tie


@pytest.mark.parametrize(
    ("one", "other", "place"), [((1, 2), (1, 2), None), ((1, 2), (1, 3), 1), ((1, 2), (1,), 1), ((), (1,), 0)]
)
def test_the_first_difference_may_be_the_end_of_one_of_them(one, other, place):
    assert first_difference(one, other) == place


@needs_gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_on_a_gpu_half_of_the_answers_are_the_targets_own_and_the_others_part_at_near_ties(samples, dtype):
    identical, partings = audited("cuda", dtype, samples, range(1, 9))
    assert all(each.is_near_tie for each in partings), partings
    assert identical >= len(partings)


@pytest.fixture(scope="module")
def on_gpu(samples):
    return Pairs(samples, torch.float32, "cuda")


@needs_gpu
@pytest.mark.parametrize("gamma", range(1, 9))
@pytest.mark.parametrize(("key", "kind"), DRAFTS)
def test_on_a_gpu_answers_in_float32_are_the_targets_own_to_the_last_id(on_gpu, key, kind, gamma):
    place = gamma % SCENES
    draft = on_gpu.draft(key, TARGET, place, kind, seed=gamma)
    found = spoken(on_gpu, place, draft, gamma=gamma, max_new_tokens=SHORT)
    assert found.generation == plain(on_gpu, TARGET, place, max_new_tokens=SHORT)


@needs_gpu
@pytest.mark.parametrize("gamma", [1, 4, 8])
def test_a_7b_target_keeps_its_answer_whatever_a_scripted_draft_proposes(gamma):
    target = pipeline_loaders(ModelSettings(model_set="full", device="cuda"), [TARGET])[TARGET]()
    features = target.encode_vision(target.preprocess(clip(TARGET, gamma)))
    length = 64
    alone = decode(
        target.language, target.prefill(features), Sampling(), max_new_tokens=length, stop_at_eos=False
    ).token_ids
    small = target.language.first_layers(4)
    prompt = prefill(small, target.prompt_embeddings(features)[:, :637])
    draft = ScriptedDraft(small, prompt, alone, acceptance=0.7, seed=gamma)
    prefilled = target.prefill(features)
    found = speculate(target.language, prefilled, draft, gamma=gamma, max_new_tokens=length, stop_at_eos=False)
    place = first_difference(alone, found.generation.token_ids)
    if place is not None:
        audit = parting(place, plain_logits(target.language, target.prefill(features), alone[:place]))
        assert audit.is_near_tie, audit
