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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KINDS = (
    "instruction JSON",
    "event .npy",
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
    "comparison",
)
_START_AND_SPARE_S = 120.0  # imports of the libraries, on a machine that has other work


@dataclass(frozen=True, slots=True)
class Tried:
    """Inputs of one kind: how many were read, how many were refused, what was violated; the slowest, the largest."""

    kind: str
    inputs: int
    refused: int
    violations: tuple[str, ...]
    slowest_s: float
    peak_bytes: int


def tried(kind: str, count: int, seed: int, kept: Path | None = None) -> Tried:
    """Try so many inputs; a process that dies is a violation by its last input, and another one goes on after it.

    `kept`: a folder that gets the inputs at which something was violated.
    """
    lines: list[dict[str, Any]] = []
    violations: list[str] = []
    while len(lines) < count:
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            done, ended = _session(kind, count - len(lines), seed + len(lines), Path(folder))
            assert done or ended, "a process that reads nothing reads nothing the next time"
            if ended is not None:
                done.append({"violations": [ended], "refused": True, "seconds": 0.0, "peak_bytes": 0})
                if kept is not None:
                    shutil.copytree(folder, kept / f"{seed + len(lines)}", dirs_exist_ok=True)
            lines += done
            violations += [violation for line in done for violation in line["violations"]]
    return Tried(
        kind,
        len(lines),
        sum(line["refused"] for line in lines),
        tuple(violations),
        max(line["seconds"] for line in lines),
        max(line["peak_bytes"] for line in lines),
    )


def _session(kind: str, count: int, seed: int, folder: Path) -> tuple[list[dict[str, Any]], str | None]:
    """What one process read, and how it ended where it ended too early."""
    words = [kind, f"--seed={seed}", f"--count={count}", f"--folder={folder / 'files'}"]
    (folder / "files").mkdir()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis")}
    with (folder / "output").open("w+b") as output, (folder / "errors").open("w+b") as errors:
        status = subprocess.run(
            [sys.executable, "-m", "tests.hostile", *words],
            cwd=ROOT, env=environment, stdout=output, stderr=errors, check=False,
            timeout=_START_AND_SPARE_S + count,
        ).returncode  # fmt: skip
    lines = [json.loads(line) for line in (folder / "output").read_bytes().splitlines()]
    done = [line for line in lines if "seconds" in line]
    if status == 0:
        return done, None
    last = lines[-1] if lines else {}
    said = (folder / "errors").read_bytes()[-2000:].decode(errors="replace")
    return done, f"the process ended with status {status} at input {last.get('number')} of seed {seed}: {said}"
