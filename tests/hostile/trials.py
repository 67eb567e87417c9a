"""Malformed files by the thousand, read by processes that may die of them: what was violated, and by which input.

The files are made, and read through the suite's own doors, by `python -m tests.hostile`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import ROOT

KINDS = (
    "instruction JSON",
    "event .npy",
    "event .npz",
    "recording .h5",
    "PNG",
    "MP4",
    "cache entry",
    "config.json",
    "tokenizer JSON",
    "safetensors header",
    "journal",
    "baseline",
    "benchmark.json",
    "limits.toml",
    "legacy result",
    "five-stage result",
    "comparison",
)
_MAX_SAID = 1000
_START_AND_SPARE_S = 300.0  # imports of the libraries, on a machine that has other work


@dataclass(frozen=True, slots=True)
class Tried:
    """Inputs: how many were read, how many of them refused, what was violated; the slowest and the largest."""

    inputs: int
    refused: int
    violations: tuple[str, ...]
    slowest_s: float
    peak_bytes: int


def tried(kinds: Sequence[str], count: int, seed: int, kept: Path | None = None) -> Tried:
    """Try so many inputs of each kind. A process that dies is a violation by its last input; another one goes on.

    `kept`: a folder that gets what such a process left.
    """
    lines: list[dict[str, Any]] = []
    jobs = [(list(kinds), count)]
    while jobs:
        chosen, left = jobs.pop()
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            done, last, ended = _session(chosen, left, seed + len(lines), Path(folder))
            if ended and kept is not None:
                shutil.copytree(folder, kept / f"{seed + len(lines)}", dirs_exist_ok=True)
        lines += done
        if ended:
            lines.append({"violations": [ended], "refused": True, "seconds": 0.0, "peak_bytes": 0})
            assert last, ended  # a process that reads nothing reads nothing the next time
            place, number = chosen.index(last["kind"]), last["number"]
            jobs += [job for job in ((chosen[place + 1 :], left), ([last["kind"]], left - number)) if all(job)]
    return Tried(
        len(lines),
        sum(line["refused"] for line in lines),
        tuple(violation for line in lines for violation in line["violations"]),
        max(line["seconds"] for line in lines),
        max(line["peak_bytes"] for line in lines),
    )


def _session(
    kinds: Sequence[str], count: int, seed: int, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, Any] | None, str]:
    """What one process read, its last line, and how it ended where it ended too early."""
    words = [*kinds, f"--seed={seed}", f"--count={count}", f"--folder={folder / 'files'}"]
    (folder / "files").mkdir()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis")}
    with (folder / "output").open("w+b") as output, (folder / "errors").open("w+b") as errors:
        status = subprocess.run(
            [sys.executable, "-m", "tests.hostile", *words],
            cwd=ROOT, env=environment, stdout=output, stderr=errors, check=False,
            timeout=_START_AND_SPARE_S + count * len(kinds),
        ).returncode  # fmt: skip
    lines = [json.loads(line) for line in (folder / "output").read_bytes().splitlines()]
    done, last = [line for line in lines if "seconds" in line], lines[-1] if lines else None
    if status == 0:
        return done, last, ""
    said = (folder / "errors").read_bytes().decode(errors="replace")
    said = said if len(said) < _MAX_SAID else f"{said[:_MAX_SAID]} … {said[-_MAX_SAID:]}"
    return done, last, f"the process ended with status {status} at {last} of seed {seed}: {said}"
