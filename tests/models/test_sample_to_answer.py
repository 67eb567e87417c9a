"""Embedded samples through all stages of each model, and what each model reads of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fixtures.architectures import MODEL_KEYS
from fixtures.dataset import Dataset
from fixtures.embedded import EmbeddedSpec, ensure_embedded
from fixtures.errors import SampleError
from tests.models.test_split_is_generate import assert_same_ids, by_generate, by_stages

NEEDS = {"egpt": "event_images", "videollava": "mp4", "llava": "video_folder"}


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = ensure_embedded(EmbeddedSpec(2, 96, 64, 0.5), tmp_path_factory.mktemp("embedded"))
    return Dataset.open(folder).samples


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_stages_write_what_generate_writes_for_every_embedded_sample(load_tiny, samples, key):
    pipeline = load_tiny(key)
    for sample in samples:
        inputs = pipeline.preprocess(pipeline.load(sample))
        found, logits = by_stages(pipeline, inputs, max_new_tokens=10)
        wanted, wanted_logits = by_generate(pipeline, inputs, max_new_tokens=10)
        assert_same_ids(found.token_ids, wanted, wanted_logits)
        torch.testing.assert_close(logits, wanted_logits[:1], atol=2e-4, rtol=2e-4)


@pytest.mark.parametrize(
    ("key", "settings", "count", "source"),
    [
        ("egpt", {}, 5, "event images"),
        ("egpt", {"use_event_image": False}, 5, "raw events"),
        ("videollava", {}, 8, "mp4 (fast reader)"),
        ("videollava", {"max_frames": 4}, 4, "mp4 (fast reader)"),
        ("llava", {}, 8, "frames (png)"),
    ],
)
def test_a_clip_holds_what_the_model_sees_and_says_where_from(load_tiny, samples, *, key, settings, count, source):
    clip = load_tiny(key, **settings).load(samples[0])
    assert (len(clip.images), clip.source) == (count, source)
    assert all(image.dtype == np.uint8 and image.ndim == 3 for image in clip.images)


def test_drawn_events_are_the_event_images(load_tiny, samples):
    drawn, stored = (load_tiny("egpt", use_event_image=stored).load(samples[0]) for stored in (False, True))
    assert all(np.array_equal(a, b) for a, b in zip(drawn.images, stored.images, strict=True))


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_a_sample_without_the_model_s_media_is_refused_by_its_id(load_tiny, samples, key):
    empty = () if key == "egpt" else None
    with pytest.raises(SampleError, match=samples[0].id):
        load_tiny(key).load(replace(samples[0], **{NEEDS[key]: empty}))


@pytest.mark.parametrize("count", [1, 4])
def test_another_number_of_event_images_is_refused(load_tiny, samples, count):
    with pytest.raises(SampleError, match=f"lists {count} event images, not 5"):
        load_tiny("egpt").load(replace(samples[0], event_images=samples[0].event_images[:count]))


def test_words_have_no_special_tokens_and_no_margins(load_tiny):
    pipeline = load_tiny("llava")
    ids = [1, *pipeline.tokenizer(" a red car ").input_ids[1:], 2]
    assert pipeline.text(type("G", (), {"token_ids": tuple(ids)})()) == "a red car"
