from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.records.lines import RunRecord, timestamp
from tests import ROOT
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import header, stage_test

WORKFLOW_FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(WORKFLOW_FOLDER.glob("*.yml"))
SCHEMAS = ("vendor.github-workflows", "custom.github-workflows-require-timeout")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_workflows_follow_the_published_schema(schema: str) -> None:
    checked = _check(schema, *WORKFLOWS)
    assert checked.returncode == 0, checked.stdout


def test_a_workflow_with_a_misspelt_key_does_not(tmp_path: Path) -> None:
    broken = tmp_path / "checks.yml"
    broken.write_text((WORKFLOW_FOLDER / "checks.yml").read_text().replace("runs-on:", "run-on:"))
    assert _check(SCHEMAS[0], broken).returncode == 1


def test_an_action_is_pinned_to_a_commit() -> None:
    used = [step["uses"] for file in WORKFLOWS for step in _steps(file) if "uses" in step]
    assert used
    assert not [action for action in used if not re.fullmatch(r".+@[0-9a-f]{40}", action)]


def test_the_pins_are_kept_up_to_date() -> None:
    file = ROOT / ".github" / "dependabot.yml"
    assert _check("vendor.dependabot", file).returncode == 0
    assert [(each["package-ecosystem"], each["directory"]) for each in _read(file)["updates"]] == [
        ("github-actions", "/")
    ]


def test_a_branch_of_a_pull_request_is_checked_once() -> None:
    started = _read(WORKFLOW_FOLDER / "checks.yml")[True]  # "on" is a boolean of YAML 1.1
    assert set(started) == {"push", "pull_request"}
    assert started["push"] == {"branches": ["main"]}


def test_only_a_pull_requests_checks_are_replaced_by_newer_ones() -> None:
    concurrency = _read(WORKFLOW_FOLDER / "checks.yml")["concurrency"]
    pull_request, first, second = (
        {"event_name": event, "ref": "the ref", "sha": sha}
        for event, sha in (("pull_request", "1"), ("push", "1"), ("push", "2"))
    )
    groups = [_evaluated(concurrency["group"], github=github) for github in (pull_request, first, second)]
    assert groups == ["checks-the ref", "checks-1", "checks-2"]
    assert _evaluated(concurrency["cancel-in-progress"], github=pull_request) == "True"
    assert _evaluated(concurrency["cancel-in-progress"], github=first) == "False"


def test_the_checks_run_what_a_person_would_type() -> None:
    commands = [step["run"] for step in _steps(ROOT / ".github" / "workflows" / "checks.yml") if "run" in step]
    made = [command for command in commands if command.startswith("make")]
    assert made == [
        *("make test", "make test-slow", "make test-kernels", "make test-oldest"),
        'make bench ARGS="--max_samples 2"',
    ]


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
    comment = (tmp_path / "results" / "comment.md").read_text()
    for text in (shown, comment):
        assert ("the report" in text, "the last line" in text) == (has_report, not has_report)


def test_the_comment_links_the_history_and_says_what_changed(tmp_path: Path) -> None:
    steps = {step.get("name"): step for step in _steps(WORKFLOW_FOLDER / "perf.yml")}
    (tmp_path / "results" / "history").mkdir(parents=True)
    (tmp_path / "results" / "history" / "report.md").write_text("# History\n\n✅ **no change** – 0 for the worse\n")
    (tmp_path / "results" / "terminal.txt").write_text("the last line\n")
    script = steps["Show the summary"]["run"].replace("${{ matrix.name }}", "tiny")
    done = _bash(script, tmp_path, GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"), RUN_URL="https://example.org/9")
    assert done.returncode == 0, done.stderr
    comment = (tmp_path / "results" / "comment.md").read_text()
    assert "**no change** – 0 for the worse" in comment
    assert "(https://example.org/9#artifacts)" in comment


@pytest.mark.parametrize("event", ["schedule", "pull_request"])
def test_nights_stay_on_the_runner_and_pull_requests_do_not(tmp_path: Path, event: str) -> None:
    steps = {step.get("name"): step for step in _steps(WORKFLOW_FOLDER / "perf.yml")}
    _write_program(tmp_path / ".venv" / "bin" / "python", 'echo "$@" > typed')
    (tmp_path / "results" / "tiny").mkdir(parents=True)
    (tmp_path / "results" / "tiny" / "journal.jsonl").write_text("{}")
    script = steps["Draw the history"]["run"].replace("${{ matrix.name }}", "tiny")
    done = _bash(script, tmp_path, HOME=str(tmp_path / "home"), GITHUB_EVENT_NAME=event, GITHUB_RUN_ID="9")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "typed").read_text().startswith("-m harness history baselines")
    assert (tmp_path / "home/.event-vlm-perf/tiny/9/journal.jsonl").exists() == (event == "schedule")


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
    comment = (tmp_path / "results" / "comment.md").read_text()
    assert "the table" in comment
    assert "report of 02_b" in comment


def test_a_failed_measurement_stays_failed_behind_a_pipe() -> None:
    """GitHub starts bash with pipefail only where a workflow names it."""
    piped = [file for file in WORKFLOWS if any("|" in step.get("run", "") for step in _steps(file))]
    assert piped
    assert all(_read(file)["defaults"]["run"]["shell"] == "bash" for file in piped)


@pytest.mark.parametrize(("name", "job"), [("perf.yml", "measure"), ("ab.yml", "compare"), ("checks.yml", "bench")])
def test_results_are_kept_and_shown_whatever_happened(name: str, job: str) -> None:
    """docs/ci.md promises it."""
    *_, show, keep = _read(WORKFLOW_FOLDER / name)["jobs"][job]["steps"]
    assert "GITHUB_STEP_SUMMARY" in show["run"]
    assert "results/" in keep["with"]["path"]
    assert show["if"] == keep["if"] == "always()"
    assert keep["with"]["retention-days"] == 90


def test_the_night_is_compared_with_the_baseline_unless_one_is_to_be_recorded() -> None:
    steps = {step.get("name"): step for step in _steps(WORKFLOW_FOLDER / "perf.yml")}
    gate, record = steps["Measure and compare with the baseline"], steps["Record a baseline"]
    assert "python -m harness gate -- perf_tests" in gate["run"]
    assert "python -m harness baseline record" in record["run"]
    assert (gate["if"], record["if"]) == ("${{ !inputs.record }}", "${{ inputs.record }}")


# What starts a workflow, and the repository's variables.
NIGHT = {"event_name": "schedule", "run_id": 5}
LABELLED = {
    "event_name": "pull_request",
    "run_id": 6,
    "event": {"label": {"name": "LABEL"}, "pull_request": {"number": 7}},
}


@pytest.mark.parametrize(
    ("name", "github", "variables", "expected"),
    [
        ("perf.yml", NIGHT, {}, "perf-gpu"),
        ("perf.yml", LABELLED, {}, "perf-gpu"),
        ("ab.yml", LABELLED, {"AB_RUNNER": "gpu"}, "perf-gpu"),
        ("ab.yml", {"event_name": "workflow_dispatch", "run_id": 8}, {"AB_RUNNER": "gpu"}, "perf-gpu"),
        ("ab.yml", LABELLED, {}, "ab-7"),
        ("ab.yml", {"event_name": "workflow_dispatch", "run_id": 8}, {}, "ab-8"),
    ],
)
def test_what_measures_on_the_gpu_machine_waits_for_the_others_and_nothing_else_does(
    name: str, github: dict[str, Any], variables: dict[str, str], expected: str
) -> None:
    group = _read(WORKFLOW_FOLDER / name)["concurrency"]["group"]
    github = json.loads(json.dumps(github).replace("LABEL", name.removesuffix(".yml")))
    assert _evaluated(group, github=github, vars=variables) == expected


@pytest.mark.parametrize("name", ["perf.yml", "ab.yml"])
def test_another_label_takes_no_place_in_the_queue(name: str) -> None:
    group = _read(WORKFLOW_FOLDER / name)["concurrency"]["group"]
    assert _evaluated(group, github=LABELLED, vars={"AB_RUNNER": "gpu"}) not in ("perf-gpu", "ab-7")


@pytest.mark.parametrize(("name", "measuring"), [("perf.yml", "measure"), ("ab.yml", "compare")])
def test_a_comment_is_written_where_the_code_of_the_pull_request_does_not_run(name: str, measuring: str) -> None:
    workflow = _read(WORKFLOW_FOLDER / name)
    comment = workflow["jobs"]["comment"]
    assert comment["uses"] == "./.github/workflows/comment.yml"
    assert comment["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"][measuring]
    assert "github.event.pull_request.head.repo.full_name == github.repository" in comment["if"]
    kept = workflow["jobs"][measuring]["steps"][-1]["with"]["name"].replace("${{ matrix.name }}", "*")
    assert comment["with"]["artifacts"] == kept


@pytest.mark.parametrize(
    ("known", "told"), [("", "pr comment 7"), ("3", "api --method PATCH repos/a/b/issues/comments/3")]
)
def test_the_comment_of_a_pull_request_is_replaced_by_the_next_one(tmp_path: Path, known: str, told: str) -> None:
    (step,) = _steps(WORKFLOW_FOLDER / "comment.yml")
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "comment.md").write_text("no test failed\n")
    _write_program(tmp_path / "bin" / "gh", FAKE_COMMENTS)
    variables = {"KNOWN": known, "GH_REPO": "a/b", "PULL_REQUEST": "7", "RUN": "9", "RUN_URL": "u", "TITLE": "A and B"}
    done = _bash(step["run"], tmp_path, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", ARTIFACTS="ab-1", **variables)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "told").read_text().startswith(told)
    assert (tmp_path / "body.md").read_text() == "## A and B\nno test failed\n\n[Report, files and the rest](u)\n"


# Stands for GitHub's own program: an artifact, and the comment that is there, if any.
FAKE_COMMENTS = """
case "$1 $2" in
"run download") cp -r artifact "$7" ;;
"api --paginate") echo "$KNOWN" ;;
*) echo "$@" >> told ;;
esac
"""


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
A_PASS = '{"stages": [], "passes": [{"whole_s": 1.5, "failure": null}]}'
FAILED_PASSES = A_PASS.replace("null", '{"type": "ValueError"}')


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed, as it is where the workflow runs")
@pytest.mark.parametrize(
    ("run", "artifacts", "missing"),
    [
        ("7", {"tiny": FIGURES, "full": FIGURES}, ""),
        ("", {"tiny": FIGURES, "full": FIGURES}, " tiny full"),    # the night's run never started
        ("7", {"tiny": FIGURES}, " full"),                         # it left nothing
        ("7", {"tiny": NO_FIGURES, "full": FIGURES}, " tiny"),     # it left files that say that nothing was measured
        ("7", {"tiny": A_PASS, "full": FAILED_PASSES}, " full"),   # each of its samples failed
        ("7", {"tiny": "", "full": ""}, " tiny full"),             # artifacts, but no run in them
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_known", [False, True])
def test_a_night_without_figures_raises_an_alarm(
    tmp_path: Path, run: str, artifacts: dict[str, str], missing: str, is_known: bool
) -> None:
    step, *_ = _steps(WORKFLOW_FOLDER / "perf-alarm.yml")
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


@pytest.mark.parametrize("nights", ["5 6", ""])
def test_a_benchmark_that_the_last_nights_did_not_measure_is_red(tmp_path: Path, nights: str) -> None:
    *_, step = _steps(WORKFLOW_FOLDER / "perf-alarm.yml")
    recent = header(started_at=timestamp())
    run = RunRecord(recent, stages=(stage_test("egpt", "load", {"s1": [1.0]}),))
    write_run(tmp_path / "artifact-results", run)
    write_baseline(tmp_path / "baselines" / "tiny", run)
    _write_program(tmp_path / "bin" / "gh", FAKE_NIGHTS)
    _write_program(tmp_path / "python" / "python", f'exec "{sys.executable}" "$@"')
    path = f"{tmp_path / 'bin'}:{tmp_path / 'python'}:{os.environ['PATH']}"
    done = _bash(step["run"], tmp_path, PATH=path, PYTHONPATH=str(ROOT), NIGHTS=nights, **_plain(step["env"]))
    assert done.returncode == (0 if nights else 1), done.stdout + done.stderr
    assert ("test_load[egpt] of tiny on cpu, not once in these runs" in done.stdout) == (not nights)
    assert "Run 6 left no results" in done.stdout or not nights


def test_the_alarms_command_imports_no_more_than_the_workflow_installs() -> None:
    (installed,) = (step["run"] for step in _steps(WORKFLOW_FOLDER / "perf-alarm.yml") if "pip install" in str(step))
    code = (
        "import sys; from harness.__main__ import main; main(['baseline', 'overdue', '/nonexistent']); "
        "files = {name.split('.')[0]: getattr(each, '__file__', None) or '' for name, each in sys.modules.items()}; "
        "print(*(name for name, file in files.items() if 'site-packages' in file))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {*done.stdout.splitlines()[-1].split()} - {"_distutils_hack", "typing_extensions", "sitecustomize"}
    assert ours <= {*installed.split()}


# The runs of some nights, of which the first one left something.
FAKE_NIGHTS = """
case "$1 $2" in
"run list") echo "$NIGHTS" ;;
"run download") test "$3" = 5 && mkdir -p "$7" && cp -r artifact-results "$7" ;;
esac
"""

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
    return [step for job in _read(file)["jobs"].values() for step in job.get("steps", [])]


class _Context(dict[str, Any]):
    """A context of GitHub's expressions: what is not there is null."""

    def __getattr__(self, name: str) -> Any:
        value = self.get(name)
        return _Context(value or {}) if value is None or isinstance(value, dict) else value


def _evaluated(text: object, **contexts: dict[str, Any]) -> str:
    """Fill in `${{ … }}` as GitHub does: `&&` and `||` give one of their operands, as Python's `and` and `or` do."""
    names = {name: _Context(content) for name, content in contexts.items()} | {"format": str.format}

    def value(match: re.Match[str]) -> str:
        expression = match.group(1).replace("&&", " and ").replace("||", " or ")
        return str(eval(expression.strip(), {"__builtins__": {}}, names))

    return re.sub(r"\$\{\{(.*?)\}\}", value, str(text), flags=re.DOTALL)
