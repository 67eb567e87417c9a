"""One published-looking checkpoint, and the small models of the package, for all tests of the models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from fixtures.architectures import MODEL_KEYS
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.tiny import write_tiny_checkpoint
from tests.models.literal_eventgpt import (
    TOWER,
    Shape,
    Tensors,
    decoder_tensors,
    draw_tensors,
    tower_tensors,
    write_published,
)


@dataclass(frozen=True)
class Published:
    folder: Path
    weights: Tensors
    shape: Shape


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    shape = Shape()
    weights = draw_tensors(decoder_tensors(shape) | tower_tensors(shape, TOWER), seed=1)
    folder = tmp_path_factory.mktemp("published") / "eventgpt"
    write_published(folder, weights, shape)
    return Published(folder, weights, shape)


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory):
    """Small models with random weights: unlike the trained ones, they end an answer only by chance."""
    root = tmp_path_factory.mktemp("tiny")
    for key in MODEL_KEYS:
        write_tiny_checkpoint(key, root / key)
    return {key: root / key for key in MODEL_KEYS}


@pytest.fixture(scope="session")
def load_tiny(tiny_folders):
    """Load a staged pipeline of a small model, with any settings."""

    def load(key, **settings):
        chosen = ModelSettings(model_set="checkpoint", checkpoints={key: str(tiny_folders[key])}, **settings)
        return pipeline_loaders(chosen, [key])[key]()

    return load


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Ask no server: the library would try again for half a minute."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True)
def one_thread():
    """These models are too small for two threads, which would only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
