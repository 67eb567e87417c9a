"""The 7B configurations, counted without memory; and that random models are the same each time."""

from __future__ import annotations

import pytest
import torch

from fixtures import full
from fixtures.architectures import MODEL_KEYS
from fixtures.models import ModelSettings, _pipeline_settings, pipeline_class, pipeline_loaders
from fixtures.tiny import tiny_config

BILLIONS = {"egpt": (7.0, 7.2), "videollava": (7.3, 7.4), "llava": (7.0, 7.1)}
VISUAL_TOKENS = {"egpt": 582, "videollava": 2056, "llava": 576}


@pytest.fixture(scope="module", params=MODEL_KEYS)
def shapes(request):
    """The pipeline of a full model whose parameters are shapes only."""
    loaded = full.make_full(request.param, torch.device("meta"), torch.float16, "sdpa")
    return pipeline_class(request.param)(loaded, _pipeline_settings(ModelSettings(), request.param))


def test_full_models_have_about_seven_billion_parameters(shapes):
    least, most = BILLIONS[shapes.key]
    assert least < shapes.facts().parameters / 1e9 < most


def test_full_models_have_the_published_visual_tokens_and_layers(shapes):
    facts = shapes.facts()
    assert facts.visual_tokens == VISUAL_TOKENS[shapes.key]
    assert facts.layers == 32
    assert (facts.dtype, facts.attention, facts.device) == ("float16", "sdpa", "meta")
    assert facts.weights == "random, seed 0"


def test_embeddings_of_full_models_have_the_shape_that_the_facts_say(shapes):
    side, count = full._SIDES[shapes.key], {"egpt": 5, "videollava": 8, "llava": 1}[shapes.key]
    pixels = torch.empty((count, 3, side, side), dtype=torch.float16, device="meta")
    assert shapes._vision(pixels).shape == (1, VISUAL_TOKENS[shapes.key], 4096)


def test_prompts_of_full_models_stay_inside_vocabulary_and_positions(shapes):
    ids = shapes.prompt_ids(8)
    assert int(ids.max()) < shapes.model.get_input_embeddings().num_embeddings
    assert shapes.visual_tokens() + 100 + 512 <= shapes.language.body.config.max_position_embeddings


def test_prompt_of_videollava_is_about_as_long_as_the_real_one(shapes):
    if shapes.key == "videollava":
        assert 2065 < shapes.prompt_ids(8).shape[1] < 2090


def test_random_weights_are_the_same_each_time_and_leave_the_global_random_numbers_alone(monkeypatch):
    monkeypatch.setattr(full, "full_config", lambda key: tiny_config(key, full.build_tokenizer()))
    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    one, again = (full.make_full("llava", torch.device("cpu"), torch.bfloat16, "eager").model for _ in range(2))
    assert torch.equal(torch.rand(2), wanted)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert one.lm_head.weight.std() > 0.01
    assert one.lm_head.weight.dtype == torch.bfloat16


def test_loaders_load_nothing_until_they_are_called():
    loaders = pipeline_loaders(ModelSettings(model_set="full", device="cuda:99"), MODEL_KEYS)
    assert list(loaders) == list(MODEL_KEYS)
