"""EventGPT against a literal implementation of its published steps; and that leaving a step out is noticed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM

from fixtures.caption_tokenizer import build_tokenizer
from fixtures.eventgpt import EventChatForCausalLM, modeling, processing
from tests.models.literal_eventgpt import (
    TOWER,
    Tensors,
    clip_config,
    decoder_input,
    event_embeddings,
    eventgpt_config,
    logits,
    write_json,
)

IDS = [1, 17, 23, -200, 31, 8, 54]


def load(folder, **more):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", **more).eval()


@pytest.fixture
def model(published):
    return load(published.folder)


def images(published, count=5, seed=0):
    side = published.shape.side
    return torch.randn((count, 3, side, side), generator=torch.Generator().manual_seed(seed))


def agrees(model, published, ids=IDS, count=5, seed=0):
    """Whether the model hands its decoder the embeddings that the published steps give, to 1e-5."""
    pictures = images(published, count, seed)
    wanted = decoder_input(published.weights, published.shape, ids, pictures)
    found = model.embed_prompt(torch.tensor([ids]), pictures)[0]
    return found.shape == wanted.shape and torch.allclose(found, wanted, atol=1e-5, rtol=1e-5)


def test_auto_class_makes_our_model_of_a_published_folder(model):
    assert isinstance(model, EventChatForCausalLM)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.lists(st.integers(0, 89), max_size=6),
    after=st.lists(st.integers(0, 89), max_size=6),
    count=st.integers(1, 6),
    seed=st.integers(0, 2**31),
)
def test_decoder_is_given_the_embeddings_of_the_published_steps(model, published, *, before, after, count, seed):
    assert agrees(model, published, [*before, -200, *after], count, seed)


def test_logits_are_those_of_the_literal_decoder(model, published):
    pictures = images(published)
    wanted = logits(
        published.weights, published.shape, decoder_input(published.weights, published.shape, IDS, pictures)
    )
    with torch.no_grad():
        found = model(inputs_embeds=model.embed_prompt(torch.tensor([IDS]), pictures)).logits[0]
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_generate_returns_only_new_ids_and_they_are_the_literal_greedy_ones(model, published):
    pictures, ids = images(published), list(IDS)
    found = model.generate(torch.tensor([ids]), pictures, max_new_tokens=6, do_sample=False, eos_token_id=None)
    written = []
    embeddings = decoder_input(published.weights, published.shape, ids, pictures)
    for _ in range(6):
        written.append(int(logits(published.weights, published.shape, embeddings)[-1].argmax()))
        embeddings = torch.cat([embeddings, published.weights["model.embed_tokens.weight"][written[-1:]]])
    assert found.tolist() == [written]


def without_last_image(encode):
    return lambda self, pixels: encode(self, pixels[:-1])


def first_image_alone(encode):
    return lambda self, pixels: encode(self, pixels[:1])


def drop_class_token(forward):
    return lambda self, pixels: forward(self, pixels)[:, 1:]


def one_place_later(place):
    return lambda self, ids, visual: place(
        self, torch.cat([ids[:, :3], ids[:, 4:5], ids[:, 3:4], ids[:, 5:]], 1), visual
    )


@pytest.mark.parametrize(
    ("owner", "method", "mutation"),
    [
        (modeling.EventChatModel, "encode_images", without_last_image),
        (modeling.EventChatModel, "encode_images", first_image_alone),
        (modeling.VisualTower, "forward", drop_class_token),
        (modeling.EventChatModel, "place", one_place_later),
    ],
)
def test_a_changed_step_is_noticed(model, published, monkeypatch, *, owner, method, mutation):
    assert agrees(model, published)
    monkeypatch.setattr(owner, method, mutation(getattr(owner, method)))
    assert not agrees(model, published)


def spatial_first(tokens):
    return torch.cat([tokens.mean(dim=0), tokens.mean(dim=1)])


def no_pooling(tokens):
    return tokens.flatten(0, 1)


@pytest.mark.parametrize("pooling", [spatial_first, no_pooling])
def test_another_pooling_is_noticed(model, published, monkeypatch, pooling):
    monkeypatch.setattr(modeling, "pool_space_and_time", pooling)
    assert not agrees(model, published)


def test_a_missing_adaptor_is_noticed(model, published):
    model.model.feature_adaptor = nn.Identity()
    assert not agrees(model, published)


def test_a_random_vision_tower_is_noticed(model, published):
    fresh = EventChatForCausalLM(model.config)
    model.model.visual_tower.load_state_dict(fresh.model.visual_tower.state_dict())
    assert not agrees(model, published)


def test_pooling_is_the_last_step_and_counts_images_then_places(model, published):
    found = model.model.encode_images(images(published, count=3))
    assert found.shape == (1, 3 + published.shape.tokens, published.shape.width)
    wanted = event_embeddings(published.weights, published.shape, images(published, count=3))
    torch.testing.assert_close(found[0], wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ids", [[1, 2, 3], [1, -200, -200]])
def test_a_prompt_needs_exactly_one_event(model, published, ids):
    with pytest.raises(ValueError, match="one event placeholder"):
        model.embed_prompt(torch.tensor([ids]), images(published))


@pytest.fixture
def towerless(published, tmp_path):
    """The published layout without the tower's tensors; they are in the CLIP folder beside, text half included."""
    folder, clip = tmp_path / "eventgpt", tmp_path / "small-clip"
    folder.mkdir()
    clip.mkdir()
    kept = {name: tensor for name, tensor in published.weights.items() if not name.startswith(TOWER)}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", eventgpt_config(published.shape, "some-lab/small-clip"))
    vision = clip_config(published.shape)
    write_json(clip / "config.json", {"model_type": "clip", "projection_dim": 16, "vision_config": vision})
    save_file(clip_tensors(published.weights), clip / "model.safetensors", metadata={"format": "pt"})
    return folder


def clip_tensors(weights: Tensors) -> Tensors:
    vision = {name.replace(TOWER, "vision_model."): t for name, t in weights.items() if name.startswith(TOWER)}
    return {**vision, "logit_scale": torch.tensor(1.0), "text_model.final_layer_norm.weight": torch.ones(4)}


def test_a_tower_that_is_not_in_the_checkpoint_is_taken_from_its_folder_beside(towerless, published):
    assert agrees(load(towerless), published)


def test_saved_tensors_have_the_published_names_and_shapes(model, published, tmp_path):
    model.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in published.weights.items()}
    assert saved_names(tmp_path / "saved") == set(published.weights)
    assert agrees(again, published)


def saved_names(folder):
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return set(file.keys())


class TestPrompt:
    tokenizer = build_tokenizer()

    def test_text_on_either_side_of_the_event_is_tokenised_apart_and_only_the_first_keeps_its_beginning(self):
        ids = processing.prompt_ids(self.tokenizer, "USER: <ev_start><event><ev_end>\nWhat? ASSISTANT:")[0].tolist()
        at = ids.index(-200)
        assert ids[:at] == self.tokenizer("USER: <ev_start>").input_ids
        assert [1, *ids[at + 1 :]] == self.tokenizer("<ev_end>\nWhat? ASSISTANT:").input_ids
        assert ids.count(1) == 1

    def test_prompt_is_the_published_conversation(self):
        assert processing.build_prompt("What moves?") == (
            "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the human's questions. USER: <ev_start><event><ev_end>\nWhat moves? "
            "ASSISTANT:"
        )

    @pytest.mark.parametrize("prompt", ["no event", "<event> and <event>"])
    def test_any_other_number_of_events_is_refused(self, prompt):
        with pytest.raises(ValueError, match="must hold <event> once"):
            processing.prompt_ids(self.tokenizer, prompt)

    @pytest.mark.parametrize(("patch", "start_end", "added"), [(True, False, 1), (True, True, 3), (False, False, 0)])
    def test_configuration_says_which_tokens_are_added(self, model, patch, start_end, added):
        tokenizer = build_tokenizer()
        before = len(tokenizer)
        model.config.mm_use_im_patch_token, model.config.mm_use_im_start_end = patch, start_end
        processing.add_event_tokens(tokenizer, model.config)
        processing.add_event_tokens(tokenizer, model.config)
        assert len(tokenizer) == before + added

    def test_embeddings_are_resized_to_the_tokenizer_and_new_rows_are_the_mean(self, model):
        class Longer:
            def __len__(self):
                return 93

        old = model.lm_head.weight.detach().clone()
        processing.fit_embeddings(model, Longer())
        assert model.get_input_embeddings().weight.shape[0] == model.lm_head.weight.shape[0] == 93
        torch.testing.assert_close(model.lm_head.weight[:90].detach(), old)
        torch.testing.assert_close(model.lm_head.weight[90:].detach(), old.mean(0).expand(3, -1))
