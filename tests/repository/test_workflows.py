from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.repository.source_code import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SCHEMAS = ("vendor.github-workflows", "custom.github-workflows-require-timeout")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_workflows_follow_the_published_schema(schema: str) -> None:
    checked = _check(schema, *WORKFLOWS)
    assert checked.returncode == 0, checked.stdout


def test_a_workflow_with_a_misspelt_key_does_not(tmp_path: Path) -> None:
    broken = tmp_path / "checks.yml"
    broken.write_text((ROOT / ".github" / "workflows" / "checks.yml").read_text().replace("runs-on:", "run-on:"))
    assert _check(SCHEMAS[0], broken).returncode == 1


def test_an_action_is_pinned_to_a_commit() -> None:
    used = [step["uses"] for file in WORKFLOWS for step in _steps(file) if "uses" in step]
    assert used
    assert not [action for action in used if not re.fullmatch(r".+@[0-9a-f]{40}", action)]


def test_the_checks_run_what_a_person_would_type() -> None:
    commands = [step["run"] for step in _steps(ROOT / ".github" / "workflows" / "checks.yml") if "run" in step]
    assert commands == ["make test", "make test-oldest", 'make bench ARGS="--max_samples 2"']


def test_a_failed_measurement_stays_failed_behind_a_pipe() -> None:
    """GitHub starts bash with pipefail only where a workflow names it."""
    piped = [file for file in WORKFLOWS if any("|" in step.get("run", "") for step in _steps(file))]
    assert piped
    assert all(_read(file)["defaults"]["run"]["shell"] == "bash" for file in piped)


def test_results_are_kept_and_shown_whatever_happened() -> None:
    steps = list(_steps(ROOT / ".github" / "workflows" / "perf.yml"))
    after = steps[1 + next(index for index, step in enumerate(steps) if "make bench" in step.get("run", "")) :]
    assert len(after) == 2
    assert all(step["if"] == "always()" for step in after)


def _check(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in _read(file)["jobs"].values() for step in job["steps"]]
