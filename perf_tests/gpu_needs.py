"""What a test needs of a GPU, and the reason, in words, to skip it where that is not there."""

from __future__ import annotations

import pytest

from fixtures.selection import Selection

GIB = 1024**3
# What a set needs on its device; the 7B models take 13.2 GiB of weights in half precision, and a KV cache.
SET_NEEDS_GB = {"tiny": 1, "full": 20, "checkpoint": 20}


def reason_to_skip(item: pytest.Item, selection: Selection) -> str | None:
    """Return why the test cannot run here; None where it can."""
    marker = item.get_closest_marker("gpu")
    on_gpu = selection.device.startswith("cuda") and item.get_closest_marker("stage") is not None
    if marker is None and not on_gpu:
        return None
    needs = marker.kwargs if marker else {}
    models = 2 if item.get_closest_marker("holds_two_models") else 1
    memory_gb = float(needs.get("memory_gb", models * SET_NEEDS_GB[selection.model_set]))
    return missing_gpu(memory_gb, int(needs.get("devices", 1)), selection.device)


def missing_gpu(memory_gb: float, devices: int, device: str) -> str | None:
    """Return what is not there of so many GPUs with so much memory each, in words; None where all is."""
    import torch

    if not torch.cuda.is_available():
        return f"needs a GPU: PyTorch {torch.__version__} finds no CUDA device here"
    if torch.cuda.device_count() < devices:
        return f"needs {devices} GPUs, there are {torch.cuda.device_count()}"
    number = int(device.partition(":")[2] or 0)
    has_gb = torch.cuda.get_device_properties(number).total_memory / GIB
    if has_gb < memory_gb:
        return f"needs {memory_gb:.0f} GiB of GPU memory, {torch.cuda.get_device_name(number)} has {has_gb:.0f}"
    return None
