"""The stub suite as a git repository of its own, harness included, so that each revision brings its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests import ROOT

HERE = ROOT / "tests" / "harness"
CONFTEST = Path("suite") / "conftest.py"
# Only the plugin that is needed: the others take most of the time of such a small run.
QUICKLY = ("-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider")


AUTHOR = ("-c", "user.name=A Person", "-c", "user.email=person@example.org", "-c", "commit.gpgsign=false")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *AUTHOR, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def new_repository(folder: Path, files: dict[str, str], tag: str | None = None) -> Path:
    """Write the files and commit them, in a new repository or on top of one, whose last commit `tag` then names."""
    if tag:
        git(folder, "tag", tag)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=Some files")
    return folder


class SuiteInGit:
    """A repository with one commit; `slower` adds another in which every stage of one model takes longer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "suite").mkdir(parents=True)
        shutil.copytree(ROOT / "harness", folder / "harness", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "pytest.ini").write_text(
            "[pytest]\npythonpath = .\naddopts = --benchmark-timer=harness.measuring.clock.now\nreport = false\n"
        )
        (folder / "conftest.py").write_text('pytest_plugins = ("harness.session.plugin",)\n')
        (folder / ".gitignore").write_text("results/\n__pycache__/\n.benchmarks/\n")
        shutil.copy(HERE / "stub_suite_conftest.py", folder / CONFTEST)
        shutil.copy(HERE / "stub_suite_tests.py", folder / "suite" / "test_stub.py")
        (folder / "tests").mkdir()
        for name in ("__init__.py", "stub_pipeline.py"):
            shutil.copy(ROOT / "tests" / name, folder / "tests" / name)
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("The suite as it was")

    def git(self, *arguments: str) -> str:
        return git(self.folder, *arguments)

    def commit(self, subject: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={subject}")
        return self.git("rev-parse", "HEAD")

    def change(self, old: str, new: str, file: Path = CONFTEST) -> None:
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def worktrees(self) -> list[str]:
        """Worktrees besides the repository itself, as git knows them."""
        lines = self.git("worktree", "list", "--porcelain").splitlines()
        return [line for line in lines if line.startswith("worktree ")][1:]

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "harness", "ab", *arguments]

    def environment(self, **variables: str) -> dict[str, str]:
        quiet = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "150"}
        return {**os.environ, **quiet, **variables}

    def ab(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = self.environment(**variables)
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def results(self) -> Path:
        (folder,) = (self.folder / "results").glob("ab_*")
        return folder
