"""The split stages give the token ids, and the first logits, of each model's own generate()."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.architectures import MODEL_KEYS
from fixtures.pipeline import RawClip
from fixtures.sampling import Sampling
from fixtures.staged import LoadedModel
from tests.models.side_by_side import asked, assert_same_ids, by_generate, by_stages, clip, make_lively

LENGTH = 12


@pytest.fixture(scope="module", params=MODEL_KEYS)
def pipeline(request, load_tiny):
    pipeline = load_tiny(request.param)
    make_lively(pipeline.model)
    return pipeline


queries = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs")), max_size=40)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=queries, seed=st.integers(0, 2**31))
def test_stages_and_generate_write_the_same_ids_at_a_fixed_length(pipeline, query, seed):
    with asked(pipeline, query):
        inputs = pipeline.preprocess(clip(pipeline.key, seed))
    found, logits = by_stages(pipeline, inputs, max_new_tokens=LENGTH, stop_at_eos=False)
    wanted, wanted_logits = by_generate(
        pipeline, inputs, max_new_tokens=LENGTH, min_new_tokens=LENGTH, eos_token_id=None
    )
    torch.testing.assert_close(logits, wanted_logits[:1], atol=2e-4, rtol=2e-4)
    assert_same_ids(found.token_ids, wanted, wanted_logits)
    assert found.stopped_by == "length"


@pytest.mark.parametrize("seed", range(3))
def test_stages_and_generate_stop_at_the_same_end_id(pipeline, seed):
    inputs = pipeline.preprocess(clip(pipeline.key, seed))
    free, _ = by_stages(pipeline, inputs, max_new_tokens=LENGTH, stop_at_eos=False)
    pipeline.model.generation_config.eos_token_id = [2, free.token_ids[5]]
    again = type(pipeline)(_loaded(pipeline), pipeline.settings)
    found, _ = by_stages(again, inputs, max_new_tokens=LENGTH)
    wanted, _ = by_generate(pipeline, inputs, max_new_tokens=LENGTH)
    pipeline.model.generation_config.eos_token_id = 2
    assert list(found.token_ids) == wanted
    assert found.stopped_by == "eos"
    assert len(found.token_ids) == free.token_ids.index(free.token_ids[5]) + 1


def _loaded(pipeline):
    return LoadedModel(pipeline.model, pipeline.tokenizer, pipeline.image_processor, "as before")


# The library says so itself where the prompt went in as embeddings, as EventGPT's does; our stages do the same.
@pytest.mark.filterwarnings("ignore:Passing `repetition_penalty` with `inputs_embeds`:UserWarning")
def test_repetition_penalty_counts_what_generate_counts(pipeline, monkeypatch):
    inputs = pipeline.preprocess(clip(pipeline.key, 3))
    begin = 1  # an id of the prompt, which the model shall now like best
    likeliest = by_stages(pipeline, inputs, max_new_tokens=1)[0].token_ids[0]
    assert likeliest not in inputs.input_ids, "it must not be penalised itself"
    rows = pipeline.model.lm_head.weight.detach().clone()
    rows[begin] = 1.01 * rows[likeliest]
    monkeypatch.setattr(pipeline.model.lm_head.weight, "data", rows)
    monkeypatch.setattr(pipeline, "settings", replace(pipeline.settings, sampling=Sampling(repetition_penalty=1.5)))
    found, _ = by_stages(pipeline, inputs, max_new_tokens=LENGTH, stop_at_eos=False)
    wanted, _ = by_generate(
        pipeline, inputs, max_new_tokens=LENGTH, min_new_tokens=LENGTH, eos_token_id=None, repetition_penalty=1.5
    )
    assert list(found.token_ids) == wanted
    assert found.token_ids[0] == (begin if pipeline.key == "egpt" else likeliest)


def test_every_picture_of_a_clip_reaches_the_logits(pipeline):
    whole = clip(pipeline.key, 7)
    _, logits = by_stages(pipeline, pipeline.preprocess(whole), max_new_tokens=1)
    for number in range(len(whole.images)):
        changed = list(whole.images)
        changed[number] = 255 - changed[number]
        _, other = by_stages(pipeline, pipeline.preprocess(RawClip(tuple(changed), "changed")), max_new_tokens=1)
        assert (logits - other).abs().max() > 1e-3, f"picture {number}"


def test_visual_tokens_of_the_facts_are_those_that_come_out(pipeline):
    features = pipeline.encode_vision(pipeline.preprocess(clip(pipeline.key, 0)))
    prefilled = pipeline.prefill(features)
    assert features.embeddings.shape[1] == pipeline.facts().visual_tokens
    assert prefilled.length == prefilled.cache.get_seq_length()


@pytest.mark.parametrize(
    ("key", "prompt"),
    [
        ("videollava", "USER: {}\nWhat moves? ASSISTANT:"),
        ("llava", "USER: {}\nThis image shows 8 video frames arranged in a grid. What moves?\nASSISTANT:"),
    ],
)
def test_the_prompt_with_its_placeholder_written_out_has_the_same_ids(load_tiny, key, prompt):
    pipeline = load_tiny(key, query="What moves?")
    written_out = prompt.format(pipeline.placeholder * pipeline.visual_tokens())
    assert pipeline.prompt_ids(8)[0].tolist() == pipeline.tokenizer(written_out).input_ids
