"""The conditions of a run: the stable part (machine, libraries) and the volatile part (load, clocks, code)."""

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from harness.errors import RevisionError
from harness.measuring import nvidia
from harness.measuring.reference_work import VERSION as REFERENCE_WORK_VERSION
from harness.processes import git
from harness.records.quantities import is_gpu

_OF_MODELS = ("torch", "transformers", "numpy", "pillow", "av", "safetensors", "tokenizers", "bitsandbytes")
LIBRARIES = (*_OF_MODELS, "pytest", "pytest-benchmark")
# A run can do without git's facts, and waits no longer for them.
GIT_TIMEOUT_S = 20.0


def torchrun_variables(variables: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Return this process's environment variables if torchrun has started it, else an empty mapping."""
    # Pods and jobs of a cluster set RANK and WORLD_SIZE for single processes, too.
    return variables if {"TORCHELASTIC_RUN_ID", "RANK"} <= variables.keys() else {}


def stable_environment(device: str) -> dict[str, Any]:
    """Return what stays the same from run to run on one machine."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
        "ranks_per_node": int(torchrun_variables().get("LOCAL_WORLD_SIZE", "1")),
        "world_size": int(torchrun_variables().get("WORLD_SIZE", "1")),
        "sentinel_workloads": REFERENCE_WORK_VERSION,
        "gpu": stable_gpu(device),
    }


def machine_info(device: str) -> dict[str, Any]:
    """Return pytest-benchmark's `machine_info`: its own facts of system and interpreter, and the stable environment."""
    # Only name, count and architecture of the processor: py-cpuinfo, which pytest-benchmark would ask, takes up to a
    # second of each session, and its momentary clock rate makes one machine look like two.
    own = "node processor machine release system python_compiler python_implementation python_version python_build"
    return {name: getattr(platform, name)() for name in own.split()} | {
        "python_implementation_version": platform.python_version(),
        "cpu": {"brand_raw": cpu_name(), "count": os.cpu_count(), "arch_string_raw": platform.machine()},
        "event_vlm_perf": stable_environment(device),
    }


def volatile_environment(device: str) -> dict[str, Any]:
    """Return what may change between two runs on one machine, read at the start of the run."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
        "available_memory_bytes": psutil.virtual_memory().available,
        "command": sys.argv,
        "git": git_state(Path(__file__).parent),
        "gpu_now": nvidia.volatile(device) or None,
    }


def version(library: str) -> str | None:
    """Return the installed version of a library, or None."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Return the processor's name as the kernel has it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return `commit`, `dirty` and `changes`; None outside a checkout or without git.

    `changes`: a hash of changes to tracked files and of untracked Python files; empty where there are none.
    """
    ask = partial(git, timeout_s=GIT_TIMEOUT_S)
    try:
        commit = ask(folder, "rev-parse", "HEAD")
        dirty = bool(ask(folder, "status", "--porcelain"))
        top = Path(ask(folder, "rev-parse", "--show-toplevel"))
        tracked = ask(top, "diff", "HEAD", "--binary")
        others = ask(top, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py").split("\0")
        digest = hashlib.sha256(os.fsencode(tracked))
        for name in filter(None, others):
            digest.update(os.fsencode(name) + (top / name).read_bytes())
    except (RevisionError, OSError):
        return None
    changes = f"sha256 {digest.hexdigest()}" if tracked or any(others) else ""
    return {"commit": commit, "dirty": dirty, "changes": changes}


def stable_gpu(device: str) -> dict[str, Any] | None:
    """Return name, identity, driver, CUDA, memory and power cap of the GPU; None on the CPU or where there is none."""
    if not is_gpu(device):
        return None
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "uuid": f"GPU-{properties.uuid}",
        "count": torch.cuda.device_count(),
        "memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
    } | nvidia.stable(device)
