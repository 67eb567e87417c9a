"""The trained pair on scenes that neither has seen, each with its own prompt and pictures."""

from __future__ import annotations

import json
from random import Random

import pytest
import torch

from fixtures.architectures import MODEL_KEYS
from fixtures.dataset import JSON_NAME, Dataset
from fixtures.drafting import ModelDraft
from fixtures.embedded_sample import sample_entry, write_sample
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.scene import Scene
from fixtures.shared_vocabulary import shared_ids
from fixtures.training_evaluation import HELD_OUT_SEED

SCENES = 3


class Noisy:
    """A draft whose proposals are made wrong now and then: every roll-back that there can be comes up."""

    def __init__(self, draft, ids, seed, share=0.3):
        self.draft = draft
        self.ids = sorted(ids)
        self.random = Random(seed)
        self.share = share

    def propose(self, written, count):
        proposed = self.draft.propose(written, count)
        return [self.random.choice(self.ids) if self.random.random() < self.share else each for each in proposed]


class Pairs:
    """Pipelines by key, in float32 or float64, and for each scene their visual features."""

    def __init__(self, samples, dtype, device="cpu", engine="eager"):
        torch.set_num_threads(1)
        settings = ModelSettings(device=device, dtype="float32")
        self.pipelines = {key: load() for key, load in pipeline_loaders(settings, MODEL_KEYS).items()}
        for pipeline in self.pipelines.values():
            pipeline.model.to(dtype)
        self.features = {
            (key, place): pipeline.encode_vision(pipeline.preprocess(pipeline.load(sample)))
            for key, pipeline in self.pipelines.items()
            for place, sample in enumerate(samples)
        }
        self.pipelines = {key: pipeline.by(engine) for key, pipeline in self.pipelines.items()}

    def shared(self, draft, target):
        return shared_ids(self.pipelines[draft], self.pipelines[target])

    def prefilled(self, key, place):
        return self.pipelines[key].prefill(self.features[key, place])

    def draft(self, key, target, place, kind="real", *, seed=0, share=0.3):
        """A draft of that kind: `real`, or `noisy` at that share of places."""
        shared = self.shared(key, target)
        model = ModelDraft(self.pipelines[key].language, self.prefilled(key, place), shared)
        return Noisy(model, shared, seed, share) if kind == "noisy" else model


def write_samples(folder, numbers):
    """Scenes that no model was trained on; a quarter of the embedded pictures' area, for events four times faster."""
    scenes = [Scene.random(HELD_OUT_SEED + number, 320, 240) for number in numbers]
    for index, scene in enumerate(scenes):
        write_sample(scene, folder, index)
    (folder / JSON_NAME).write_text(json.dumps([sample_entry(scene, index) for index, scene in enumerate(scenes)]))
    return Dataset.open(folder).samples


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("scenes"), range(50, 50 + SCENES))


@pytest.fixture(scope="session", params=[torch.float64, torch.float32], ids=["float64", "float32"])
def pairs(samples, request):
    return Pairs(samples, request.param)
