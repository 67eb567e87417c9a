"""The small checkpoints that are shipped, and how the suite loads them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from fixtures.errors import FixtureError
from fixtures.model_sets import pretrained
from fixtures.model_sets.loading import ModelSettings
from fixtures.model_sets.tiny import shipped_checkpoint
from harness.options import DEFAULT_QUERY

_KEY = "llava"


def _copied(folder: Path) -> Path:
    return Path(shutil.copytree(shipped_checkpoint(_KEY), folder / "checkpoint", dirs_exist_ok=True))


def make_configs(folder: Path) -> list[Path]:
    """All that a checkpoint says of itself in JSON, tokenizer.json excepted."""
    copied = _copied(folder)
    names = ("config.json", "preprocessor_config.json", "generation_config.json", "tokenizer_config.json")
    return [copied / "config.json", *(copied / name for name in names)]


def make_weights(folder: Path) -> list[Path]:
    """The weights; of a large file the beginning is what is damaged."""
    return [_copied(folder) / "model.safetensors"]


def read_checkpoint(folder: Path) -> Iterator[Exception]:
    """Loading the model."""
    pretrained.load_pretrained(_KEY, str(folder / "checkpoint"), torch.device("cpu"), torch.float32, ModelSettings())
    yield from ()


def make_tokenizer(folder: Path) -> list[Path]:
    """The tokenizer alone: its vocabulary is read by a library in Rust."""
    copied = _copied(folder)
    return [copied / "tokenizer.json", copied / "tokenizer_config.json"]


def read_tokenizer(folder: Path) -> Iterator[Exception]:
    """Loading the tokenizer, and the query to ids and back."""
    source = str(folder / "checkpoint")
    tokenizer = pretrained.load_tokenizer(source)
    try:
        tokenizer.decode(tokenizer(DEFAULT_QUERY)["input_ids"])
    except Exception as error:  # of a sample's stage, any exception is a record
        yield FixtureError(f"{source}: {error}")
