"""`python -m harness ab` as a user types it, in a git repository with the stub suite."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.harness.suite_in_git import QUICKLY, SuiteInGit

PART = ("--", *QUICKLY, "suite", "--rounds=1", "-k", "load and egpt")


@pytest.fixture
def repository(tmp_path: Path) -> SuiteInGit:
    return SuiteInGit(tmp_path / "project")


def row(text: str, figure: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{figure} "))
    return line.split()


def test_a_slower_working_tree_is_red_though_the_comparison_was_ended_in_between(repository: SuiteInGit) -> None:
    repository.change('"load": 0.5', '"load": 0.75')
    ended_in_the_second_pair(repository, "main", "--pairs=2", *PART)
    repository.change('"load": 0.75', '"load": 0.25')  # editing goes on, the comparison is of what was

    kept = (repository.results() / "01_a" / "run.json").stat().st_mtime_ns
    done = repository.ab("--resume", str(repository.results()))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "(01_a)" not in done.stdout
    assert "(03_b)" in done.stdout
    assert (repository.results() / "01_a" / "run.json").stat().st_mtime_ns == kept
    assert any("03_b" in path.name for path in (repository.results() / "interrupted").iterdir())

    assert "A  main (" in done.stdout
    assert "with 1 file changed: suite/conftest.py)" in done.stdout
    assert row(done.stdout, "time.load.egpt")[1:7] == ["500", "ms", "750", "ms", "+50.0", "%"]
    assert row(done.stdout, "time.load.egpt")[-1] == "regressed"
    assert nothing_is_left_behind(repository)

    written = json.loads((repository.results() / "ab.json").read_text())
    assert [each["folder"] for each in written["sessions"]] == ["01_a", "02_b", "03_b", "04_a"]
    assert {each["metrics"]["time.load.egpt"]["rounds"] for each in written["sessions"]} == {3}
    assert written["outcome"]["exit_status"] == 1
    assert all((repository.results() / each["folder"] / "run.json").exists() for each in written["sessions"])


def ended_in_the_second_pair(repository: SuiteInGit, *arguments: str) -> None:
    """Begin a comparison and end it politely, as CI does."""
    variables = repository.environment(STUB_WAITS_IN="03_b")
    command = repository.command(*arguments)
    with subprocess.Popen(command, cwd=repository.folder, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("(02_b)" in line for line in process.stdout)
        while not (repository.results() / "03_b.waits").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.terminate()
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert nothing_is_left_behind(repository)


def nothing_is_left_behind(repository: SuiteInGit) -> bool:
    changed = repository.git("status", "--porcelain")
    return not repository.worktrees() and not list(repository.results().glob("tree_*")) and changed in {
        "", "M suite/conftest.py"
    }  # fmt: skip


def test_a_session_that_ends_too_early_is_shown_and_the_comparison_can_be_gone_on_with(repository: SuiteInGit) -> None:
    repository.change("import os\n", "import os\nimport nothing_of_that_name\n")
    repository.commit("Forgot a file")
    done = repository.ab("HEAD~1", "HEAD", "--pairs=2", *PART)
    assert done.returncode == 2
    assert "session 02_b of HEAD (" in done.stderr
    assert "No module named 'nothing_of_that_name'" in done.stderr
    assert f"ab --resume {repository.results()} resumes it" in done.stderr
    assert nothing_is_left_behind(repository)
    assert (repository.results() / "01_a" / "run.json").exists()
