"""Loading a model is measured too: how long it takes, and what it occupies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TypeVar

from harness.measuring import clock
from harness.records.lines import ModelRecord
from harness.stages import Pipeline

Loaded = TypeVar("Loaded", bound=Pipeline)


def recorded_loaders(
    loaders: Mapping[str, Callable[[], Loaded]], append: Callable[[ModelRecord], object], device: str
) -> dict[str, Callable[[], Loaded]]:
    """Return loaders that `append` a record at each load: time, memory, and what the live model says of itself."""
    return {key: _recorded(key, load, append, device) for key, load in loaders.items()}


def _recorded(
    key: str, load: Callable[[], Loaded], append: Callable[[ModelRecord], object], device: str
) -> Callable[[], Loaded]:
    def load_and_record() -> Loaded:
        before, start = _allocated(device), clock.now()
        pipeline = load()
        seconds, facts = clock.now() - start, asdict(pipeline.facts())
        # A process on the CPU grows by the libraries that a first load imports; what the model itself takes is counted.
        memory = facts["parameter_bytes"] if before is None else (_allocated(device) or 0) - before
        append(ModelRecord(model=key, load_s=seconds, memory_bytes=memory, facts=facts))
        return pipeline

    return load_and_record


def _allocated(device: str) -> int | None:
    """Bytes that PyTorch has allocated on the GPU; None on the CPU, where nothing counts them."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.memory_allocated(device)
