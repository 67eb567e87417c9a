"""The same loop over the static caches of the engine `graph`: other bookkeeping, the same ids."""

from __future__ import annotations

import pytest
import torch

from fixtures import drafting, speculative
from fixtures.kv_cache import cache_length
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.speculative_pair import SpeculativePair
from tests.speculative.conftest import Pairs
from tests.speculative.test_loop_is_greedy_decoding import DRAFTS, FAULTS, SHORT, TARGET, plain, spoken


@pytest.fixture(scope="module", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def static(samples, request):
    return Pairs(samples, request.param, engine="graph")


@pytest.mark.parametrize("gamma", [2, 7])
@pytest.mark.parametrize(("key", "kind"), DRAFTS)
def test_answers_are_the_targets_own_to_the_last_id(static, key, kind, gamma):
    draft = static.draft(key, TARGET, 0, kind, seed=gamma)
    assert cache_length(static.prefilled(TARGET, 0).cache) == static.prefilled(TARGET, 0).length
    found = spoken(static, 0, draft, gamma=gamma, max_new_tokens=SHORT)
    assert found.generation == plain(static, TARGET, 0, max_new_tokens=SHORT)


def test_answers_end_where_the_target_ends_them(static):
    found = spoken(static, 0, static.draft("egpt", TARGET, 0), gamma=5)
    assert found.generation == plain(static, TARGET, 0)
    assert found.generation.stopped_by == "eos"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", [drafting, speculative], ids=["the draft", "the target"])
def test_a_cache_that_is_not_rolled_back_to_the_place_is_noticed(static, place, fault, monkeypatch):
    monkeypatch.setattr(place, "roll_back", FAULTS[fault])
    with pytest.raises(AssertionError, match="cache holds"):
        spoken(static, 0, static.draft("egpt", TARGET, 0, "noisy", share=1.0), gamma=4, max_new_tokens=SHORT)


def test_a_pair_agrees_and_is_timed_by_its_engine(samples):
    draft, target = (load().by("graph") for load in pipeline_loaders(ModelSettings(), ["egpt", TARGET]).values())
    pair = SpeculativePair(draft, target, gamma=3, max_new_tokens=SHORT, stop_at_eos=True)
    answer = pair.alone(samples[0], lambda: 0.0)[0].token_ids
    assert pair.together(samples[0], lambda: 0.0).generation.token_ids == answer
    found = pair.agreements(samples[:1], [answer])
    assert all(found[0]["self"])
    context = pair.matched(samples[0], answer)
    for count in (1, 32):
        context.verify(count)
        context.restore()
        context.steps(4)
        context.restore()


def test_first_layers_share_the_weights_and_no_cache(static):
    model = static.pipelines[TARGET].language
    small = model.first_layers(2)
    cache = small.new_cache()
    assert cache.buffers.keys.shape[0] == 2
    assert small._decoder.weights.layers[0].qkv is model._decoder.weights.layers[0].qkv
    assert small._pool is not model._pool
