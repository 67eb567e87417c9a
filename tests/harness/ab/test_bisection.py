"""A bisection finds the commit, skips what cannot be built, and names nobody where nothing got worse."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.ab.bisection import bisect
from tests.harness.ab.simulated_bisections import FIGURES, comparing
from tests.harness.suite_in_git import QUICKLY, SuiteInGit

COMMITS = [str(number) for number in range(65)]
SLOWER = math.log(1.05)


@pytest.mark.parametrize("culprit", [1, 2, 17, 32, 40, 63, 64])
def test_the_commit_that_made_it_slower_is_named(culprit: int) -> None:
    draw = np.random.default_rng(culprit)
    found = bisect(COMMITS, comparing(draw, lambda commit: SLOWER * (commit >= culprit)))
    assert found.culprit == culprit
    assert found.comparisons <= 8
    assert found.sessions >= 2 * 4 * found.comparisons
    assert FIGURES[-1] in found.words
    assert not found.skipped


def test_nobody_is_named_where_nothing_got_worse_or_all_did_a_little() -> None:
    draw = np.random.default_rng(3)
    unchanged = bisect(COMMITS, comparing(draw, lambda _: 0.0))
    assert unchanged.culprit is None
    assert unchanged.comparisons == 1
    assert unchanged.words.startswith("no culprit: nothing is worse in B")
    faster = bisect(COMMITS, comparing(draw, lambda commit: -SLOWER * (commit >= 9)))
    assert faster.culprit is None
    crept = bisect(COMMITS, comparing(draw, lambda commit: 0.2 * commit / 64))
    assert crept.culprit is None
    assert "no single culprit" in crept.words


def test_what_cannot_be_built_is_skipped_by_name() -> None:
    draw = np.random.default_rng(4)
    found = bisect(COMMITS, comparing(draw, lambda commit: SLOWER * (commit >= 20), broken=range(30, 35)))
    assert found.culprit == 20
    assert found.skipped
    assert set(found.skipped) <= set(range(30, 35))
    hidden = bisect(COMMITS, comparing(draw, lambda commit: SLOWER * (commit >= 32), broken=range(30, 35)))
    assert hidden.culprit is None
    assert "in one of commits 30 to 35" in hidden.words
    assert hidden.skipped == tuple(range(30, 35))


def test_a_bisection_as_a_user_types_it_is_resumed_where_it_was(tmp_path: Path) -> None:
    project = SuiteInGit(tmp_path / "project")
    project.change('"load": 0.5', '"load": 0.75')
    project.commit("A check of the file")
    project.change("import os\n", "import os\n\nNUMBER = 1\n")
    project.commit("Harmless")

    def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", "bisect", *arguments]
        variables = project.environment()
        return subprocess.run(command, cwd=project.folder, env=variables, capture_output=True, text=True, check=False)

    part = ("--", *QUICKLY, "suite", "--rounds=1", "-k", "load and egpt")
    done = typed("HEAD~2", "HEAD", "--pairs=2", *part)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "A Person, A check of the file" in done.stdout
    (folder,) = (project.folder / "results").glob("bisect_*")
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    assert f"2 comparisons, {len(kept)} sessions" in done.stdout
    again = typed("--resume", str(folder))
    assert again.returncode == 1
    assert "A check of the file" in again.stdout
    assert kept == {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    assert not project.worktrees()
    backwards = typed("HEAD", "HEAD~2", *part)
    assert backwards.returncode == 2
    assert "the good one comes first" in backwards.stderr
    assert typed("HEAD").returncode == 2
