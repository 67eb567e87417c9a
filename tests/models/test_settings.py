"""Settings: what is refused, what the defaults are, and that asking costs nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fixtures.errors import CheckpointError, ChoiceError
from fixtures.models import MODEL_KEYS, ModelSettings, pipeline_loaders, resolve_dtype, sampling_of
from fixtures.sampling import Sampling


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"model_set": "huge"}, "there is no model set 'huge': choose among tiny, full, checkpoint"),
        ({"dtype": "int4"}, "there is no dtype 'int4': choose among float32, float16, bfloat16"),
        ({"attention": "flash"}, "there is no attention 'flash': choose among sdpa, eager"),
        ({"max_frames": 0}, "max_frames is 0: give 1 or more"),
    ],
)
def test_choices_that_do_not_exist_are_refused_at_once(values, text):
    with pytest.raises(ChoiceError, match=text):
        pipeline_loaders(ModelSettings(**values), ["egpt"])


def test_unknown_model_is_refused_at_once():
    with pytest.raises(ChoiceError, match="there is no model 'blip': choose among egpt, videollava, llava"):
        pipeline_loaders(ModelSettings(), ["egpt", "blip"])


def test_a_device_that_is_not_there_is_refused_when_it_is_needed():
    load = pipeline_loaders(ModelSettings(device="cuda:99"), ["egpt"])["egpt"]
    with pytest.raises(ChoiceError, match="there is no device 'cuda:99' on this machine: choose among cpu"):
        load()


@pytest.mark.parametrize(
    ("device", "key", "wanted"),
    [
        ("cpu", "egpt", torch.float32),
        ("cpu", "llava", torch.float32),
        ("cuda", "egpt", torch.bfloat16),
        ("cuda:1", "videollava", torch.float16),
        ("cuda", "llava", torch.float16),
    ],
)
def test_default_types_are_the_published_ones_on_a_gpu_and_float32_on_the_cpu(device, key, wanted):
    assert resolve_dtype(ModelSettings(device=device), key) == wanted


def test_legacy_generation_changes_two_models_and_only_those():
    asked = ModelSettings(sampling=Sampling(top_p=0.9, seed=4), legacy_generation=True)
    assert sampling_of(asked, "llava") == Sampling(top_p=0.9, seed=4, repetition_penalty=1.1)
    assert sampling_of(asked, "egpt") == Sampling(top_p=0.9, seed=4, temperature=0.6)
    assert sampling_of(asked, "videollava") == asked.sampling


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_without_legacy_generation_decoding_is_greedy(key):
    assert sampling_of(ModelSettings(), key) == Sampling()


def test_importing_the_settings_imports_no_torch():
    code = (
        "import sys, fixtures.models, fixtures.tiny; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


@pytest.mark.parametrize(
    ("fallback", "complaint"),
    [
        ({"attention": "eager"}, "egpt: was asked to have attention sdpa, but the loaded model has eager"),
        ({"dtype": "float16"}, "egpt: was asked to have dtype float32, but the loaded model has float16"),
        ({"device": "cuda:0"}, "egpt: was asked to have device cpu, but the loaded model has cuda"),
    ],
)
def test_a_model_that_is_not_what_was_asked_for_is_refused(fallback, complaint, load_tiny, monkeypatch):
    pipeline = load_tiny("egpt")
    facts = replace(pipeline.facts(), **fallback)
    monkeypatch.setattr(type(pipeline), "facts", lambda self: facts)
    with pytest.raises(CheckpointError, match=complaint):
        load_tiny("egpt")
