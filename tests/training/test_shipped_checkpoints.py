"""The shipped checkpoints: small, stored in half precision, and able to say what their pictures show."""

from __future__ import annotations

import json
import struct

import pytest
from transformers import AutoTokenizer

from fixtures.architectures import MODEL_KEYS
from fixtures.caption_accuracy import count_named
from fixtures.dataset import JSON_NAME, Dataset
from fixtures.embedded_sample import sample_entry, write_sample
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.scene import Scene
from fixtures.tiny import shipped_checkpoint
from fixtures.training_evaluation import HELD_OUT_SEED

SCENES = 10


@pytest.fixture(scope="module")
def scenes():
    # A quarter of the embedded pictures' area: events are then made four times faster, and models see hardly less.
    return [Scene.random(HELD_OUT_SEED + index, 320, 240) for index in range(SCENES)]


@pytest.fixture(scope="module")
def samples(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("held_out")
    for index, scene in enumerate(scenes):
        write_sample(scene, folder, index)
    (folder / JSON_NAME).write_text(json.dumps([sample_entry(scene, index) for index, scene in enumerate(scenes)]))
    return Dataset.open(folder).samples


@pytest.fixture(scope="module")
def captions(samples):
    """Generations and their texts by model, through all stages, from the files of the samples."""
    loaders = pipeline_loaders(ModelSettings(), MODEL_KEYS)
    return {key: [_caption(pipeline, sample) for sample in samples] for key, pipeline in _loaded(loaders)}


def _loaded(loaders):
    return ((key, load()) for key, load in loaders.items())


def _caption(pipeline, sample):
    features = pipeline.encode_vision(pipeline.preprocess(pipeline.load(sample)))
    generation = pipeline.decode(pipeline.prefill(features), max_new_tokens=512)
    return generation, pipeline.text(generation)


def header(key):
    content = (shipped_checkpoint(key) / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    tensors = json.loads(content[8 : 8 + length])
    tensors.pop("__metadata__", None)
    return tensors


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_a_checkpoint_has_at_most_2_4_million_parameters_in_half_precision(key):
    tensors = header(key)
    assert {tensor["dtype"] for tensor in tensors.values()} == {"F16"}
    ends = [tensor["data_offsets"][1] for tensor in tensors.values()]
    assert max(ends) / 2 <= 2_400_000


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_a_checkpoint_takes_at_most_5_mb(key):
    assert sum(path.stat().st_size for path in shipped_checkpoint(key).iterdir()) <= 5_000_000


def test_checkpoints_share_their_tokenizer_id_by_id():
    vocabularies = [AutoTokenizer.from_pretrained(shipped_checkpoint(key)).get_vocab() for key in MODEL_KEYS]
    assert vocabularies[0] == vocabularies[1] == vocabularies[2]


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_captions_of_held_out_scenes_end(key, captions):
    assert [generation.stopped_by for generation, _ in captions[key]] == ["eos"] * SCENES


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_captions_name_what_is_in_their_own_scene_and_not_in_another(key, captions, scenes):
    texts = [text for _, text in captions[key]]
    objects = [scene.object_names() for scene in scenes]
    own = count_named(zip(texts, objects, strict=True))
    other = count_named(zip(texts, [*objects[1:], objects[0]], strict=True))
    assert own.accuracy >= 0.8
    assert other.accuracy <= own.accuracy - 0.2


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_captions_are_sentences_about_the_road(key, captions):
    assert all(text.startswith("The scene shows a road with ") and text.endswith(".") for _, text in captions[key])


def test_targets_say_more_than_twice_as_much_as_the_draft(captions):
    means = {key: sum(len(g.token_ids) for g, _ in said) / SCENES for key, said in captions.items()}
    assert min(means["videollava"], means["llava"]) > 2 * means["egpt"]
