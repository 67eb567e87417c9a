"""A stranger's walk: from README by its links alone to a first gate, each command as it stands there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.records.journal import read_journal
from tests import ROOT
from tests.perf_tests.conftest import PLUGINS, run_with_libraries
from tests.perf_tests.test_fourth_model import copy_suite, shrink

README, DATASET, GATES = (ROOT / name for name in ("README.md", "docs/dataset.md", "docs/gates.md"))
CHECKPOINTS = Path("fixtures", "model_sets", "checkpoints")
SMALL = ("--embedded=1:160x120:1", "--max_new_tokens=4", "--fixed-tokens=2", "--stage_samples=1", "--no_report")
SESSIONS = 5  # as many as a gate needs


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout, in which one narrow layer stands for the true shapes, and no limits are set."""
    folder = tmp_path_factory.mktemp("clone")
    copy_suite(folder, "Makefile", "conftest.py", "pytest.ini", "pyproject.toml", "constraints.txt")
    (folder / "limits.toml").touch()
    shrink(folder)
    return folder


def commands(document: Path) -> list[str]:
    """What a document tells to type, in its blocks and its tables."""
    text = document.read_text(encoding="utf-8")
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).splitlines()
    found = [line.partition("  #")[0].strip() for line in lines]
    return found + re.findall(r"`((?:make|pytest|python -m) [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def command(document: Path, beginning: str) -> str:
    """The one command of a document that begins so."""
    (found,) = {each for each in commands(document) if each.startswith(beginning)}
    return found


def typed(clone: Path, line: str, *more: str, statuses: tuple[int, ...] = (0,)) -> str:
    """Type a command into the checkout, with folders and sizes of a test's own; return what it printed."""
    for written, own in {
        "/data/DSEC/train": "DSEC",
        "/tmp/DSEC": "DSEC",
        "/data/dsec": "dsec",
        "/weights/EventGPT-7b": str(CHECKPOINTS / "egpt"),
        "2:640x480:2": "1:160x120:2",
        "--sessions 10": f"--sessions {SESSIONS}",
    }.items():
        line = line.replace(written, own)
    words = shlex.split(line.removeprefix("python -m "))
    done = run_with_libraries([*words, *more], clone, PYTHONPATH=str(clone), XDG_CACHE_HOME=str(clone / "cache"))
    assert done.returncode in statuses, done.stdout + done.stderr
    return done.stdout


def measured(clone: Path) -> dict[str, set[str]]:
    """The stages that the latest run has measured, by model."""
    run = read_journal(clone / "results" / "latest" / "journal.jsonl")
    return {key: {each.stage for each in run.stages if each.model == key} for key in run.header.models}


def test_each_page_of_the_walk_is_a_link_of_the_readme() -> None:
    links = set(re.findall(r"\]\(([^)#]+)", README.read_text(encoding="utf-8")))
    assert {"docs/dataset.md", "docs/gates.md", "docs/options.md"} <= links


def test_every_command_of_the_readme_is_walked_or_tested_elsewhere() -> None:
    walked = {
        "make bench",
        "pytest perf_tests --model-set full",
        "pytest perf_tests --dataset_dir /data/dsec --eventgpt_model_path /weights/EventGPT-7b",
        "python -m harness baseline record --sessions 10 -- perf_tests",
        "python -m harness gate -- perf_tests",
    }
    elsewhere = {'make bench ARGS="--max_samples 4 -k load"', "make help", "python -m harness ab main"}
    assert set(commands(README)) == walked | elsewhere


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_without_a_gpu(clone: Path) -> None:
    words = [*shlex.split(command(README, "make bench ARGS")), "--dry-run", "--no-print-directory"]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    told = subprocess.run(words, cwd=clone, env=own, capture_output=True, text=True, check=True).stdout
    line = told.splitlines()[-1]
    typed(clone, line.removeprefix(".venv/bin/"), *PLUGINS, *SMALL, "--rounds=1")
    assert measured(clone) == {key: {"load"} for key in ("egpt", "videollava", "llava")}


def test_the_true_shapes(clone: Path) -> None:
    more = ("--rounds=1", "--device=cpu", "-k", "test_load and egpt")
    typed(clone, command(README, "pytest perf_tests --model-set"), *PLUGINS, *SMALL, *more)
    assert measured(clone)["egpt"] == {"load"}


def test_ones_own_data_and_weights(clone: Path) -> None:
    typed(clone, command(DATASET, "python -m fixtures embedded"))
    typed(clone, command(DATASET, "python -m fixtures prepare --dsec /"))
    entries = json.loads((clone / "dsec" / "EventGPT_Instruction_Subset.json").read_text(encoding="utf-8"))
    own = ("--models=egpt", "--device=cpu", "--rounds=1", "-k", "load or vision")
    typed(clone, command(README, "pytest perf_tests --dataset_dir"), *PLUGINS, *SMALL[1:], *own)
    run = read_journal(clone / "results" / "latest" / "journal.jsonl")
    assert (run.header.model_set, [each.id for each in run.header.samples]) == (
        "checkpoint",
        [each["id"] for each in entries],
    )
    assert measured(clone)["egpt"] == {"load", "vision"}


@pytest.mark.slow
def test_a_first_gate(clone: Path) -> None:
    more = (*PLUGINS, *SMALL, "--models=egpt", "-k", "load", "--rounds=2", "--measurement_time=0.01")
    typed(clone, command(README, "python -m harness baseline record"), *more)
    assert len(list(clone.glob("baselines/*/*.json"))) == SESSIONS
    assert f"{SESSIONS} sessions" in typed(clone, command(GATES, "python -m harness baseline list"))
    # Five hasty sessions may tell nothing (11), or a busy machine may look slower (1); but there is a baseline.
    assert "time.load.egpt" in typed(clone, command(README, "python -m harness gate"), *more, statuses=(0, 1, 11))
