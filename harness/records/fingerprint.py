"""The fingerprint of a machine and a configuration: figures are compared only where it is the same.

Conditions that change from run to run (clocks, temperature, load, which card of several equal ones) are recorded
elsewhere and do not count.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.options import figure_changing_names
from harness.records.lines import Header, ModelRecord, RunRecord

Fingerprint = dict[str, Any]

LIBRARIES = ("torch", "transformers", "av", "pillow", "numpy")
GPU = ("name", "count", "memory_bytes", "driver", "cuda", "power_cap_w")
MODEL_FACTS = ("model_class", "config_sha256", "weights", "dtype", "attention", "cache_class")
# Options whose result the header holds: several spellings select the same models, device and engines.
SELECTION = frozenset({"model_set", "device", "models", "first_model", "use_video_llava", "use_llava15", "engine"})
REFERENCE_WORK = "sentinel workloads"
_MODEL = "model "


def fingerprint(run: RunRecord) -> Fingerprint:
    """Return the conditions that must agree between two runs, by a readable name."""
    header = run.header
    found = _machine(header.environment) | _software(header.environment, LIBRARIES)
    found |= {
        "model set": header.model_set,
        "device": header.device.partition(":")[0],
        "engines": list(header.engines),
        "models in order": list(header.models),
        "dataset": header.dataset_identity,
        REFERENCE_WORK: header.environment.get("sentinel_workloads", 1),
    }
    if header.options.get("quantize"):
        found |= _software(header.environment, ["bitsandbytes"])
    changing = [name for name in figure_changing_names() if name not in SELECTION]
    found |= {f"option {name}": header.options.get(name) for name in changing}
    for record in run.models:
        found |= model_facts(record)
    plain: Fingerprint = msgspec.json.decode(msgspec.json.encode(found))  # so that it equals one read from a file
    return plain


def host_conditions(environment: Mapping[str, Any]) -> Fingerprint:
    """Return the part of a fingerprint that is known before a model is loaded: processor, Python and libraries."""
    found = _machine(environment) | _software(environment, LIBRARIES)
    return {name: value for name, value in found.items() if not name.startswith("GPU")}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return a phrase per condition that differs; a model that only one side has loaded is no difference."""
    shared = [name for name in one if name in other or not name.startswith(_MODEL)]
    # An option that `one`'s suite did not have is no difference where `other` has None for it.
    return [
        f"{name} was {_written(one[name])}, is {_written(other.get(name))}"
        for name in shared
        if one[name] != other.get(name)
    ] + [
        f"{name} is {_written(other[name])}, was not known"
        for name in other
        if name not in one and not name.startswith(_MODEL) and other[name] is not None
    ]


def readable_name(of: Mapping[str, Any]) -> str:
    """Return a folder name for a fingerprint: model set, device, machine, and a hash of all of it."""
    machine = of.get("GPU name") or f"{of.get('CPU')} {of.get('usable cores')} cores"
    digest = hashlib.sha256(msgspec.json.encode(of, order="deterministic")).hexdigest()[:8]
    words = f"{of['model set']} {of['device']} {machine} {digest}"
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower()


def machine_name(environment: Mapping[str, Any]) -> str:
    """Return a name for the machine; times under the same name may be averaged."""
    conditions = _machine(environment) | {"ranks": environment.get("world_size", 1)}
    digest = hashlib.sha256(msgspec.json.encode(conditions, order="deterministic")).hexdigest()[:8]
    ranks = f", {conditions['ranks']} ranks" if conditions["ranks"] != 1 else ""
    return f"{conditions['GPU name'] or conditions['CPU']}, {conditions['usable cores']} cores{ranks} ({digest})"


def resume_conditions(header: Header) -> Fingerprint:
    """Return the conditions that must agree before a run is resumed: code, options, data, limits; not the machine."""
    environment, machine = header.environment, _machine(header.environment)
    found = {name: value for name, value in fingerprint(RunRecord(header)).items() if name not in machine}
    found |= _software(environment, environment.get("libraries", {}))
    found |= {f"git {name}": (environment.get("git") or {}).get(name) for name in ("commit", "changes")}
    found |= {f"limit {name}": value for name, value in header.limits.items()}
    digest = hashlib.sha256(msgspec.json.encode(header.samples)).hexdigest()
    return found | {"samples": f"{len(header.samples)}, {digest[:16]}"}


def model_facts(record: ModelRecord) -> Fingerprint:
    """Return the part of a fingerprint that one loaded model gives, by a readable name."""
    return {f"{_MODEL}{record.model}: {name}": record.facts.get(name) for name in MODEL_FACTS}


def _machine(environment: Mapping[str, Any]) -> Fingerprint:
    gpu = environment.get("gpu") or {}
    return {
        "CPU": environment.get("cpu"),
        "usable cores": environment.get("usable_cores"),
        "ranks per node": environment.get("ranks_per_node", 1),
        **{f"GPU {name}": gpu.get(name) for name in GPU},
    }


def _software(environment: Mapping[str, Any], libraries: Iterable[str]) -> Fingerprint:
    known = environment.get("libraries", {})
    python = ".".join(str(environment.get("python", "")).split(".")[:2])
    return {"Python": python} | {library: known.get(library) for library in libraries}


def _written(value: Any) -> str:
    if value is None:
        return "not there"
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def by_machine(run: RunRecord) -> dict[str, RunRecord]:
    """Split a run by machine; return the parts by machine name, usually one."""
    measured = [*(each.machine for each in run.stages), *(each.machine for each in run.passes)]
    others = dict.fromkeys(filter(None, measured))
    if not others:
        return {machine_name(run.header.environment): run}
    own = run.header.environment
    environments = {each.machine: each.environment for each in reversed(run.attempts)} | {"": own}
    parts = {
        machine or machine_name(own): msgspec.structs.replace(
            run,
            header=msgspec.structs.replace(run.header, environment=environments.get(machine, own)),
            passes=tuple(each for each in run.passes if each.machine == machine),
            stages=tuple(each for each in run.stages if each.machine == machine),
            machine=None,  # the record does not say which machine it is of
        )
        for machine in ("", *others)
    }
    return {name: part for name, part in parts.items() if part.passes or part.stages}
