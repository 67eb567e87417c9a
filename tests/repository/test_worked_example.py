"""docs/adding_a_model.md: its code, typed into a folder of one's own, measures a model of one's own."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from harness.records.journal import read_journal
from tests import ROOT
from tests.forked import run_python

BLOCK = re.compile(r"```(?:python|ini) title=(\S+)\n(.*?)```", re.DOTALL)
DOCUMENT = (ROOT / "docs" / "adding_a_model.md").read_text(encoding="utf-8")
FILES = dict(BLOCK.findall(DOCUMENT.partition("## In this suite")[0]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the example, after pytest has run in it."""
    found = tmp_path_factory.mktemp("mine")
    for name, content in FILES.items():
        (found / name).write_text(content.replace("/path/to/event-vlm-perf", str(ROOT)))
    words = ["pytest", "-p", "pytest_benchmark.plugin", "--output-dir=out", "--rounds=2"]
    variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = run_python(words, found, variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return found / "out"


def test_the_example_is_short() -> None:
    assert set(FILES) == {"conftest.py", "test_glance.py", "pytest.ini"}
    assert sum(len(content.splitlines()) for content in FILES.values()) < 150


def test_the_model_is_measured_and_so_is_the_stage_of_its_own(folder: Path) -> None:
    run = read_journal(folder / "journal.jsonl")
    assert {(each.model, each.stage) for each in run.stages} == {
        ("glance", "load"),
        ("glance", "decode"),
        ("glance", "postprocess"),
    }
    assert all(len(each.round_s) == 2 * 3 for each in run.stages)
    assert {each.text.partition(" ")[0][:4] for each in run.passes} == {"word"}


def test_it_leaves_what_every_run_leaves(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} >= {
        "journal.jsonl",
        "run.json",
        "benchmark.json",
        "report.html",
        "report.md",
    }
    assert list(folder.glob("Mine_results_n3_*.json"))
    assert "postprocess" in (folder / "report.html").read_text(encoding="utf-8")
