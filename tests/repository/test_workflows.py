from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT

WORKFLOW_FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(WORKFLOW_FOLDER.glob("*.yml"))
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
    made = [command for command in commands if command.startswith("make")]
    assert made == ["make test", "make test-slow", "make test-oldest", 'make bench ARGS="--max_samples 2"']


def test_the_checks_open_the_report_in_a_browser() -> None:
    steps = _steps(WORKFLOW_FOLDER / "checks.yml")
    commands = [step["run"] for step in steps if "run" in step]
    assert "chromium" in commands[commands.index("make test") - 1]


@pytest.mark.parametrize("has_report", [True, False])
def test_the_nights_summary_is_the_report_or_the_end_of_the_terminal(tmp_path: Path, has_report: bool) -> None:
    (step,) = (step for step in _steps(WORKFLOW_FOLDER / "perf.yml") if step.get("name") == "Show the summary")
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    (tmp_path / "results" / "terminal.txt").write_text("the last line\n")
    if has_report:
        (tmp_path / "results" / "tiny" / "report.md").write_text("the report\n")
    script = step["run"].replace("${{ matrix.name }}", "tiny")
    done = _bash(script, tmp_path, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "summary.md").read_text()
    assert ("the report" in shown, "the last line" in shown) == (has_report, not has_report)


def test_the_summary_of_a_comparison_has_its_table_and_the_report_of_its_last_session(tmp_path: Path) -> None:
    (step,) = (step for step in _steps(WORKFLOW_FOLDER / "ab.yml") if step.get("name") == "Show the table")
    for session in ("01_a", "01_b", "02_b"):
        (tmp_path / "results" / "ab_1" / session).mkdir(parents=True)
        (tmp_path / "results" / "ab_1" / session / "report.md").write_text(f"report of {session}\n")
    (tmp_path / "results" / "terminal.txt").write_text("the table\n")
    done = _bash(step["run"], tmp_path, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "summary.md").read_text()
    assert "the table" in shown
    assert re.findall("report of .*", shown) == ["report of 02_b"]


def test_a_failed_measurement_stays_failed_behind_a_pipe() -> None:
    """GitHub starts bash with pipefail only where a workflow names it."""
    piped = [file for file in WORKFLOWS if any("|" in step.get("run", "") for step in _steps(file))]
    assert piped
    assert all(_read(file)["defaults"]["run"]["shell"] == "bash" for file in piped)


@pytest.mark.parametrize("name", ["perf.yml", "ab.yml"])
def test_results_are_kept_and_shown_whatever_happened(name: str) -> None:
    *_, show, keep = _steps(WORKFLOW_FOLDER / name)
    assert "GITHUB_STEP_SUMMARY" in show["run"]
    assert "results/" in keep["with"]["path"]
    assert show["if"] == keep["if"] == "always()"


def test_the_night_is_compared_with_the_baseline_unless_one_is_to_be_recorded() -> None:
    steps = {step.get("name"): step for step in _steps(WORKFLOW_FOLDER / "perf.yml")}
    gate, record = steps["Measure and compare with the baseline"], steps["Record a baseline"]
    assert "python -m harness gate -- perf_tests" in gate["run"]
    assert "python -m harness baseline record" in record["run"]
    assert (gate["if"], record["if"]) == ("${{ !inputs.record }}", "${{ inputs.record }}")


def test_whatever_measures_on_the_gpu_machine_waits_for_the_others() -> None:
    groups = [_read(WORKFLOW_FOLDER / name)["concurrency"]["group"] for name in ("perf.yml", "ab.yml")]
    assert [group.replace("'ab'", "'perf'") for group in groups] == 2 * groups[:1]


def test_text_from_outside_reaches_a_shell_only_as_a_variable() -> None:
    """What GitHub puts into a script by itself is code there."""
    scripts = [step["run"] for file in WORKFLOWS for step in _steps(file) if "run" in step]
    filled_in = {name for script in scripts for name in re.findall(r"\$\{\{\s*([\w.]+)", script)}
    assert filled_in == {"matrix.options", "matrix.name"}


@pytest.mark.parametrize(("status", "expected"), [(0, 0), (1, 1), (2, 2), (10, 10), (11, 0)])
def test_a_comparison_without_an_answer_is_a_warning_and_no_failure(tmp_path: Path, status: int, expected: int) -> None:
    (step,) = (step for step in _steps(WORKFLOW_FOLDER / "ab.yml") if step.get("name") == "Compare")
    _write_program(tmp_path / ".venv" / "bin" / "python", f'echo "$@"; exit {status}')
    done = _bash(step["run"], tmp_path, A="HEAD^1", B="HEAD", ARGUMENTS="--model-set full -k load")
    assert done.returncode == expected
    assert ("::warning::" in done.stdout) == (status == 11)
    assert (tmp_path / "results" / "terminal.txt").read_text() == (
        "-m harness ab HEAD^1 HEAD -- --model-set full -k load\n"
    )


FIGURES = '{"stages": [{"round_s": [0.1]}], "passes": []}'
NO_FIGURES = '{"stages": [{"round_s": []}], "passes": []}'


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed, as it is where the workflow runs")
@pytest.mark.parametrize(
    ("run", "artifacts", "missing"),
    [
        ("7", {"tiny": FIGURES, "full": FIGURES}, ""),
        ("", {"tiny": FIGURES, "full": FIGURES}, " tiny full"),    # the night's run never started
        ("7", {"tiny": FIGURES}, " full"),                         # it left nothing
        ("7", {"tiny": NO_FIGURES, "full": FIGURES}, " tiny"),     # it left files that say that nothing was measured
        ("7", {"tiny": "", "full": ""}, " tiny full"),             # artifacts, but no run in them
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_known", [False, True])
def test_a_night_without_figures_raises_an_alarm(
    tmp_path: Path, run: str, artifacts: dict[str, str], missing: str, is_known: bool
) -> None:
    (step,) = _steps(WORKFLOW_FOLDER / "perf-alarm.yml")
    for name, content in artifacts.items():
        (tmp_path / f"artifact-{name}").mkdir()
        (tmp_path / f"artifact-{name}" / ("run.json" if content else "terminal.txt")).write_text(content)
    _write_program(tmp_path / "bin" / "gh", FAKE_GH)
    variables = {"RUN": run, "KNOWN": "3" if is_known else "", "GH_REPO": "a/b", **_plain(step["env"])}
    done = _bash(step["run"], tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", **variables)
    told = tmp_path / "told"
    assert done.returncode == bool(missing), done.stdout + done.stderr
    if missing:
        assert told.read_text().startswith("issue comment 3" if is_known else "issue create --title The scheduled")
        assert f"of:{missing}. Run: {run or 'none'}," in told.read_text()
    else:
        assert not told.exists()


# Stands for GitHub's own program: one run, if any, and the artifacts that lie about.
FAKE_GH = """
case "$1 $2" in
"run list") echo "$RUN" ;;
"run download") set=${5#results-}; test -d "artifact-${set%-*}" && cp -r "artifact-${set%-*}" "$7" ;;
"issue list") echo "$KNOWN" ;;
"issue create"|"issue comment") echo "$@" >> told ;;
esac
"""


def _plain(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if "${{" not in value}


def _write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def _bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does where a workflow names bash as its shell."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    environment = {**os.environ, **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _check(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _read(file: Path) -> dict[str, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def _steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in _read(file)["jobs"].values() for step in job["steps"]]
