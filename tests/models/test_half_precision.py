"""Split stages against generate() where numbers are short, on the CPU and, with the 7B shapes too, on a GPU."""

from __future__ import annotations

import pytest
import torch

from fixtures.architectures import MODEL_KEYS
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.near_ties import near_tie
from fixtures.selection import FIXED_TOKENS
from tests.models.side_by_side import assert_same_ids, by_generate, by_stages, clip, make_lively

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: PyTorch finds no CUDA device here")
CARD_BYTES = 20 * 1024**3  # with room for the context and the kernels, what a card of 24 GB holds
VISUAL_TOKENS = {"egpt": 582, "videollava": 2056, "llava": 576}


def assert_split_is_generate(pipeline, length, seed):
    inputs = pipeline.preprocess(clip(pipeline.key, seed))
    found, _ = by_stages(pipeline, inputs, max_new_tokens=length, stop_at_eos=False)
    wanted, logits = by_generate(pipeline, inputs, max_new_tokens=length, min_new_tokens=length, eos_token_id=None)
    assert len(found.token_ids) == length
    assert_same_ids(list(found.token_ids), wanted, logits.to(pipeline.model.dtype))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("key", MODEL_KEYS)
def test_tiny_models_on_the_cpu(key, dtype, load_tiny):
    pipeline = load_tiny(key, dtype=dtype)
    make_lively(pipeline.model)
    assert_split_is_generate(pipeline, length=12, seed=1)


@needs_gpu
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("key", MODEL_KEYS)
def test_tiny_models_on_a_gpu_in_their_own_types(key, seed, load_tiny):
    pipeline = load_tiny(key, device="cuda")
    assert pipeline.facts().dtype == ("bfloat16" if key == "egpt" else "float16")
    make_lively(pipeline.model)
    assert_split_is_generate(pipeline, length=48, seed=seed)


@needs_gpu
@pytest.mark.parametrize("key", MODEL_KEYS)
def test_full_models_on_a_gpu_over_the_published_lengths_and_in_the_memory_of_a_small_card(key):
    pipeline = pipeline_loaders(ModelSettings(model_set="full", device="cuda"), [key])[key]()
    facts = pipeline.facts()
    assert (facts.visual_tokens, facts.layers, facts.attention) == (VISUAL_TOKENS[key], 32, "sdpa")
    assert_split_is_generate(pipeline, length=FIXED_TOKENS[key], seed=1)
    torch.cuda.reset_peak_memory_stats()
    generation, _ = by_stages(pipeline, pipeline.preprocess(clip(key, 2)), max_new_tokens=512, stop_at_eos=False)
    assert len(generation.token_ids) == 512
    assert torch.cuda.max_memory_allocated() < CARD_BYTES


def test_a_near_tie_is_two_last_places_of_the_type():
    assert near_tie(torch.tensor(1.5, dtype=torch.bfloat16)) == 2 * 2**-7
    assert near_tie(torch.tensor(5.0, dtype=torch.bfloat16)) == 2 * 4 * 2**-7
    assert near_tie(torch.tensor(1.0, dtype=torch.float16)) == 2 * 2**-10


def test_ids_that_differ_at_more_than_a_near_tie_are_refused():
    logits = torch.tensor([[4.0, 3.0, 0.0]], dtype=torch.bfloat16)
    with pytest.raises(AssertionError, match="step 0"):
        assert_same_ids([1], [0], logits)
    assert_same_ids([1], [0], torch.tensor([[4.0, 3.984375, 0.0]], dtype=torch.bfloat16))
