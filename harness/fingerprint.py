"""The fingerprint of a machine and a configuration: figures are compared only where it is the same.

What is read afresh in each run (clocks, temperature, load, which card of several equal ones) is recorded elsewhere and
does not count.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from harness.options import figure_changing_names
from harness.records import Header, RunRecord

Fingerprint = dict[str, Any]

LIBRARIES = ("torch", "transformers", "av", "pillow", "numpy")
GPU = ("name", "count", "memory_bytes", "driver", "cuda", "power_cap_w")
MODEL_FACTS = ("model_class", "config_sha256", "weights", "dtype", "attention", "cache_class")
# Options that the header says better: what was selected, in whatever words it was asked for.
SELECTION = frozenset({"model_set", "device", "models", "first_model", "use_video_llava", "use_llava15", "engine"})
_MODEL = "model "


def fingerprint(run: RunRecord) -> Fingerprint:
    """Return what must agree between two runs, each condition under a name that people understand."""
    header, found = run.header, dict(_machine(run.header))
    found |= {
        "model set": header.model_set,
        "device": header.device.partition(":")[0],
        "engines": list(header.engines),
        "models in order": list(header.models),
        "dataset": header.dataset_identity,
    }
    changing = [name for name in figure_changing_names() if name not in SELECTION]
    found |= {f"option {name}": header.options.get(name) for name in changing}
    for record in run.models:
        found |= {f"{_MODEL}{record.model}: {name}": record.facts.get(name) for name in MODEL_FACTS}
    plain: Fingerprint = msgspec.json.decode(msgspec.json.encode(found))  # as it is read back from a file
    return plain


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return in words how `other` differs from `one`; of models that only one of them has loaded nothing is said."""
    shared = [name for name in one if name in other or not name.startswith(_MODEL)]
    return [
        f"{name} was {_written(one[name])}, is {_written(other.get(name))}"
        for name in shared
        if one[name] != other.get(name)
    ] + [f"{name} is {_written(other[name])}, was not known" for name in other if _is_new(name, one)]


def readable_name(of: Mapping[str, Any]) -> str:
    """Return a name for a folder: what people tell machines apart by, and a hash of all the rest."""
    machine = of.get("GPU name") or f"{of.get('CPU')} {of.get('usable cores')} cores"
    digest = hashlib.sha256(msgspec.json.encode(of, order="deterministic")).hexdigest()[:8]
    words = f"{of['model set']} {of['device']} {machine} {digest}"
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()


def _machine(header: Header) -> Iterator[tuple[str, Any]]:
    environment = header.environment
    yield "CPU", environment.get("cpu")
    yield "usable cores", environment.get("usable_cores")
    yield "Python", ".".join(str(environment.get("python", "")).split(".")[:2])
    yield "ranks per node", environment.get("ranks_per_node", 1)
    for library in LIBRARIES:
        yield library, environment.get("libraries", {}).get(library)
    for name in GPU:
        yield f"GPU {name}", (environment.get("gpu") or {}).get(name)


def _is_new(name: str, before: Mapping[str, Any]) -> bool:
    return name not in before and not name.startswith(_MODEL)


def _written(value: Any) -> str:
    text = str(value)
    return "not there" if value is None else text if len(text) <= 40 else f"{text[:37]}…"
