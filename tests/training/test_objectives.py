"""Objectives: what is asked of a model in training is what its own stages will ask of it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from fixtures.architectures import MODEL_KEYS
from fixtures.pipeline import ModelInputs
from fixtures.scene import Scene
from fixtures.training import Stage, Trainer
from fixtures.training_objectives import (
    CaptionLoss,
    all_facts,
    around_pictures,
    caption_ids,
    fact_table,
    facts_of,
    tower_tokens_of,
    visual_embeddings,
)
from fixtures.training_pictures import Quality, draw_picture_set
from fixtures.training_start import start_from_frames

SEEDS = st.integers(0, 10**6)
IMAGES = {"egpt": 5, "videollava": 8, "llava": 1}


def pixels_for(pipeline, scenes=2):
    side = pipeline.model.config.vision_config.image_size
    return torch.randn(scenes, IMAGES[pipeline.key], 3, side, side, generator=torch.Generator().manual_seed(1))


@given(SEEDS, st.booleans())
def test_every_fact_of_a_scene_has_its_column(seed, detailed):
    scene = Scene.random(seed, 64, 48)
    facts = facts_of(scene, detailed=detailed)
    assert facts <= set(all_facts(detailed=detailed))
    assert fact_table([scene], detailed=detailed).sum() == len(facts)


@given(SEEDS)
def test_terse_facts_tell_no_colour(seed):
    scene = Scene.random(seed, 64, 48)
    colours = {f"{thing.name} {thing.colour}" for thing in scene.things}
    assert not colours & facts_of(scene, detailed=False)


@pytest.mark.parametrize(
    ("prompt", "before", "behind"), [([1, 5, -200, 6], [1, 5], [6]), ([1, 3, 3, 3, 7, 8], [1], [7, 8])]
)
def test_placeholders_are_cut_out_of_a_prompt(prompt, before, behind):
    found = around_pictures(torch.tensor([prompt]))
    assert [part[0].tolist() for part in found] == [before, behind]


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_a_batch_is_seen_as_the_stages_see_each_clip(key, new):
    pipeline = new(key)
    pixels = pixels_for(pipeline)
    with torch.no_grad():
        batch = visual_embeddings(pipeline, pixels)
    for clip, found in zip(pixels, batch, strict=True):
        wanted = pipeline.encode_vision(ModelInputs(clip, pipeline.prompt_ids(8))).embeddings[0]
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_the_loss_of_a_caption_s_first_token_is_that_of_prefill(key, new):
    pipeline = new(key)
    pixels = pixels_for(pipeline, scenes=1)
    inputs = ModelInputs(pixels[0], pipeline.prompt_ids(8))
    logits = pipeline.prefill(pipeline.encode_vision(inputs)).logits
    captions = torch.tensor([[20]])
    with torch.no_grad():
        found = CaptionLoss(pipeline)(pixels, captions)
    torch.testing.assert_close(found, functional.cross_entropy(logits, captions[0]), atol=1e-4, rtol=1e-4)


def test_captions_end_and_are_filled_up(new):
    tokenizer = new("egpt").tokenizer
    short, long = caption_ids(tokenizer, ["A car.", "A car and a bus ahead."])
    assert short[short >= 0][-1] == long[-1] == tokenizer.eos_token_id
    assert (short < 0).sum() == len(long) - (short >= 0).sum()
    assert tokenizer.decode(long, skip_special_tokens=True).strip() == "A car and a bus ahead."


@pytest.mark.parametrize("key", ["egpt", "videollava"])
def test_two_scenes_are_learnt_by_heart(key, new):
    torch.manual_seed(0)
    pipeline = new(key)
    config = pipeline.model.config.vision_config
    drawn = draw_picture_set(key, [1, 2], config.image_size, 7, Quality(96, 72, 20))
    trainer = Trainer(pipeline, drawn)
    losses: dict[str, list[float]] = {"see": [], "say": []}
    for stage in (Stage("see", 20, 4, 1, 2e-3, 1e-3), Stage("say", 30, 4, 1, 2e-3, 1e-3)):
        trainer.run(stage, lambda name, step, loss: losses[name].append(loss))
    assert losses["see"][-1] < 0.5 * losses["see"][0]
    assert losses["say"][-1] < 0.5 * losses["say"][0]


def test_the_same_seed_trains_the_same_weights(new):
    def trained():
        torch.manual_seed(0)
        pipeline = new("egpt")
        drawn = draw_picture_set("egpt", [1, 2], 112, 7, Quality(96, 72, 20))
        Trainer(pipeline, drawn, seed=3).run(Stage("say", 2, 2, 1, 1e-3, 1e-3), lambda *_: None)
        return pipeline.model.lm_head.weight

    assert torch.equal(trained(), trained())


def test_llava_starts_with_the_tower_and_the_decoder_of_videollava(new):
    llava, videollava = new("llava"), new("videollava")
    start_from_frames(llava, videollava)
    side = llava.model.config.vision_config.image_size
    assert torch.equal(llava.model.lm_head.weight, videollava.model.lm_head.weight)
    assert tower_tokens_of(llava, torch.zeros(1, 3, side, side)).shape[1] == 1 + (side // 16) ** 2
