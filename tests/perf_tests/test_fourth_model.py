"""docs/adding_a_model.md, "In this suite": typed into a copy of the suite, it is a fourth model in all sets."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from harness.records.journal import read_journal
from tests import ROOT
from tests.perf_tests.conftest import PLUGINS, run_with_libraries

SECTION = (ROOT / "docs" / "adding_a_model.md").read_text(encoding="utf-8").partition("## In this suite")[2]
BLOCKS = re.findall(r"```python (title|append)=(\S+)\n(.*?)```", SECTION, re.DOTALL)
(COMMANDS,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
LINES = dict(zip(("full", "checkpoint", "tiny"), COMMANDS.splitlines(), strict=True))
KEY = "llava-1.5-untold"
CHECKPOINTS = Path("fixtures", "model_sets", "checkpoints")
# The true size takes a GPU: in the copy, one narrow layer stands for it.
SHRUNK = {
    "fixtures/model_sets/registry.py": (
        ('"hidden_size": 4096', '"hidden_size": 64'),
        ('"intermediate_size": 11008', '"intermediate_size": 64'),
        ('"num_hidden_layers": 32', '"num_hidden_layers": 1'),
    ),
    "fixtures/models/entry.py": (('"num_hidden_layers": 24', '"num_hidden_layers": 1'),),
}
QUICK = ("--embedded=1:160x120:1", "--rounds=1", "--max_new_tokens=4", "--fixed-tokens=2", "--no_report")


def copy_suite(folder: Path, *files: str) -> None:
    """Copy the suite's packages and these files."""
    for package in ("fixtures", "harness", "perf_tests"):
        # With what Python and pytest have compiled, but what another process is just writing.
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("*.pyc.*"))
    for file in files:
        shutil.copy(ROOT / file, folder)


def shrink(folder: Path) -> None:
    """Let one narrow layer stand for the true shapes in a copy of the suite."""
    for name, changes in SHRUNK.items():
        text = (folder / name).read_text(encoding="utf-8")
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite with the model that the document adds, and small weights that its command has trained."""
    folder = tmp_path_factory.mktemp("suite")
    copy_suite(folder, "conftest.py", "pytest.ini")
    for how, name, content in BLOCKS:
        with (folder / name).open({"title": "x", "append": "a"}[how], encoding="utf-8") as file:
            file.write(content)
    shrink(folder)
    train = LINES["tiny"].partition(" &&")[0].removeprefix("python -m ")
    run(folder, *shlex.split(train), "--scale=0.0004", "--workers=1", "--check=0")
    return folder


def run(folder: Path, *words: str) -> None:
    variables = {"PYTHONPATH": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = run_with_libraries(words, folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_fourth_model_is_one_module_and_one_record() -> None:
    assert [(how, name) for how, name, _ in BLOCKS] == [
        ("title", "fixtures/models/untold.py"),
        ("append", "fixtures/model_sets/registry.py"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("model_set", LINES)
def test_the_model_is_measured_in_every_set(model_set: str, copy: Path) -> None:
    (limits := copy / "limits.toml").write_text(f'[{model_set}.eager.median_ms."{KEY}"]\nload = 1e9\n')
    output = copy / model_set
    selected = "load or whole" if model_set == "tiny" else "load"
    words = LINES[model_set].rpartition("&& ")[2]
    for written, key in (("/weights/EventGPT-7b", "egpt"), ("/weights/llava", KEY)):
        words = words.replace(written, str(copy / CHECKPOINTS / key))
    more = (*PLUGINS, *QUICK, f"--limits={limits}", f"--output_dir={output}", "--device=cpu", "-k", selected)
    run(copy, *shlex.split(words), *more)
    record = read_journal(output / "journal.jsonl")
    assert (record.header.model_set, record.header.models[-1]) == (model_set, KEY)
    loads = {each.variant: each.sources for each in record.stages if (each.model, each.stage) == (KEY, "load")}
    assert set(loads) == {"", "legacy reader"}
    assert [(each.limit, each.state) for each in record.verdicts] == [(f"eager.median_ms.{KEY}.load", "pass")]
    (file,) = output.glob("*_results_n1_*.json")
    assert {f"{KEY}_stage1_time"} <= set(json.loads(file.read_bytes())[0])
    if selected != "load":
        (passed,) = (each for each in record.passes if (each.model, each.kind) == (KEY, "whole"))
        assert passed.failure is None
