"""docs/from_the_old_script.md: every new command line is run, on small models and a small dataset."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests import ROOT
from tests.perf_tests.conftest import PLUGINS, run_with_libraries

DOCUMENT = (ROOT / "docs" / "from_the_old_script.md").read_text(encoding="utf-8")
ROWS = [re.findall(r"`([^`]+)`", line) for line in DOCUMENT.splitlines() if line.startswith("| `")]
COMMANDS = [new for _, new in ROWS]
# What stands in the document, and what stands for it here.
STANDS_FOR = {
    "/weights/EventGPT-7b": str(ROOT / "fixtures" / "model_sets" / "checkpoints" / "egpt"),
    "/weights/Video-LLaVA-7B-hf": str(ROOT / "fixtures" / "model_sets" / "checkpoints" / "videollava"),
    "/weights/llava-1.5-7b-hf": str(ROOT / "fixtures" / "model_sets" / "checkpoints" / "llava"),
}
SMALL = ("--device=cpu", "--max_new_tokens=4", "--fixed-tokens=2", "--stage_samples=1", "--no_report")


def run(folder: Path, dataset: Path, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    for written, real in {**STANDS_FOR, "/data/dsec": str(dataset)}.items():
        command = command.replace(written, real)
    words = shlex.split(command.removeprefix("python -m ").replace("perf_tests", str(ROOT / "perf_tests")))
    return run_with_libraries([*words, *more], folder, PYTHONPATH=str(ROOT))


def test_the_table_has_what_it_promises() -> None:
    assert len(COMMANDS) == 3
    for old, new in ROWS:
        assert not [option for option in re.findall(r"--\w+", old) if option not in new]


@pytest.mark.parametrize("command", COMMANDS, ids=range(len(COMMANDS)))
def test_each_command_line_measures_what_the_old_script_did(
    command: str, tmp_path: Path, dataset_folder: Path, no_limits: Path
) -> None:
    entries = (dataset_folder / "EventGPT_Instruction_Subset.json").read_text(encoding="utf-8")
    (dataset_folder / "part.json").write_text(json.dumps(json.loads(entries)[:1]), encoding="utf-8")
    pytests = (*PLUGINS, f"--rootdir={ROOT}", f"--output_dir={tmp_path / 'out'}", f"--limits={no_limits}", *SMALL)
    done = run(tmp_path, dataset_folder, command, *pytests)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [*tmp_path.glob("results.json"), *(tmp_path / "out").glob("*_results_n*.json")]
    records = json.loads(found[0].read_text(encoding="utf-8"))
    targets = {"videollava"} if "--use_" not in command else {
        key for key, option in (("videollava", "--use_video_llava"), ("llava", "--use_llava15")) if option in command
    }  # fmt: skip
    for key in {"egpt"} | targets:
        assert all(isinstance(record[f"{key}_stage3_time"], float) for record in records)


@pytest.mark.parametrize("tool", ["acceptance", "report"])
def test_what_looked_at_results_afterwards_has_a_command(tool: str, tmp_path: Path) -> None:
    (command,) = (each for each in re.findall(r"`(python -m harness \w+ results.json)`", DOCUMENT) if tool in each)
    times = {f"{key}_stage{number}_time": 1.0 for key in ("egpt", "videollava") for number in (1, 2, 3)}
    ids = {"egpt_token_ids": [5, 6, 7], "videollava_token_ids": [5, 6, 8]}
    (tmp_path / "results.json").write_text(json.dumps([{"id": "a", **times, **ids}]))
    done = run(tmp_path, tmp_path, command)
    assert done.returncode == 0, done.stderr
    assert "Agreement of the answers" in done.stdout or (tmp_path / "results_report.html").exists()
