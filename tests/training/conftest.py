"""New small models, and nothing that asks a server."""

from __future__ import annotations

import huggingface_hub.constants
import pytest
import torch

from fixtures.training_recipes import new_pipeline


@pytest.fixture
def new():
    """A small model with random weights, made anew each time."""
    return lambda key: new_pipeline(key, seed=0, device="cpu")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Ask no server: the library would try again for half a minute."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """These models are too small for two threads, which would only wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
