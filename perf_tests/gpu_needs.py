"""Memory and GPUs that tests and models need, and reasons to skip or not to begin where they are missing."""

import json
from pathlib import Path

import psutil
import pytest

from fixtures.model_sets.loading import UNQUANTISED, dtype_of
from fixtures.model_sets.registry import entry_of
from fixtures.selection import Selection

GIB = 1024**3
ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "nf4": 0.52}
# GPU memory that a set needs; the 7B models take 13.2 GiB of weights in half precision, and a KV cache.
SET_NEEDS_GB = {"tiny": 1, "full": 20, "checkpoint": 20}
QUANTISED_NEED_GB, UNQUANTISED_BESIDE_GB = {"nf4": 8, "int8": 12}, 14


def reason_not_to_begin(selection: Selection) -> str | None:
    """Return why nothing can be measured here: the set's GPU is missing, or the weights do not fit into memory."""
    device = selection.device
    if device.startswith("cuda"):
        return missing_gpu(needed_gb(selection), 1, device)
    has = psutil.virtual_memory().available
    for key in selection.models:
        needs = weight_bytes(selection, key)
        if needs > has:
            return f"needs {needs / GIB:.0f} GiB of memory for the weights of {key}, {has / GIB:.0f} are free"
    return None


def weight_bytes(selection: Selection, key: str) -> float:
    """Return the bytes of a model's weights in memory; 0 where negligible, or not known before loading."""
    entry, folder = entry_of(key), Path(selection.settings.checkpoints.get(key, ""))
    quantised = selection.settings.quantise
    size = ITEM_BYTES[dtype_of(selection.settings, entry) if quantised == "none" else quantised]
    if selection.model_set == "full":
        width, inner, layers, words = (
            entry.full.decoder[name] for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size")
        )
        # Without the vision tower, a twentieth.
        return size * (layers * width * (4 * width + 3 * inner) + 2 * words * width)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        stored = ITEM_BYTES[config.get("dtype") or config["torch_dtype"]]
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return 0.0  # loading will report the problem
    return size / stored * sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def reason_to_skip(item: pytest.Item, selection: Selection) -> str | None:
    """Return why the test cannot run here; None where it can."""
    marker = item.get_closest_marker("gpu")
    on_gpu = selection.device.startswith("cuda") and item.get_closest_marker("stage") is not None
    if marker is None and not on_gpu:
        return None
    needs = marker.kwargs if marker else {}
    own = needed_gb(selection)
    if item.get_closest_marker("holds_two_models"):
        own += UNQUANTISED_BESIDE_GB if UNQUANTISED in item.nodeid else own
    memory_gb = float(needs.get("memory_gb", own))
    return missing_gpu(memory_gb, int(needs.get("devices", 1)), selection.device)


def needed_gb(selection: Selection) -> int:
    """Return the GiB of GPU memory that one model of the selection needs."""
    usual = SET_NEEDS_GB[selection.model_set]
    return min(usual, QUANTISED_NEED_GB.get(selection.settings.quantise, usual))


def missing_gpu(memory_gb: float, devices: int, device: str) -> str | None:
    """Return a reason where fewer than `devices` GPUs are there, or memory is below `memory_gb` GiB; else None."""
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
