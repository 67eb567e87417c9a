"""A bisection finds the commit, skips what cannot be built, and names nobody where nothing got worse."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness.__main__ import main
from harness.ab.bisection import bisect
from harness.ab.results import RevisionComparison
from harness.errors import SessionError
from harness.gates.exit_status import Status
from tests.harness.ab.simulated_bisections import FIGURES, comparing
from tests.harness.suite_in_git import QUICKLY, SuiteInGit

COMMITS = [str(number) for number in range(65)]
SLOWER = math.log(1.05)
PART = ("--", *QUICKLY, "suite", "--rounds=1", "-k", "load and egpt")


def typed(project: SuiteInGit, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "bisect", *arguments]
    variables = project.environment()
    return subprocess.run(command, cwd=project.folder, env=variables, capture_output=True, text=True, check=False)


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
    whole = re.fullmatch(rf"no single culprit: {FIGURES[-1]} \+([0-9.]+) % in several steps", crept.words)
    assert whole, crept.words
    assert float(whole[1]) == pytest.approx(100 * math.expm1(0.2), abs=3), "that of all steps, not of the last one"


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


def test_a_failure_that_is_not_the_commits_own_ends_the_bisection() -> None:
    draw, said = np.random.default_rng(5), list[str]()
    slower = comparing(draw, lambda commit: SLOWER * (commit >= 20), broken=[32])
    bisect(COMMITS, slower, said.append)
    assert said == ["commit 32 is skipped: session 01 of 32 ended with exit status 2. 01.txt"]

    def failing(of: str, pair: tuple[str, str]) -> Callable[[str, str], RevisionComparison]:
        def compare(a: str, b: str) -> RevisionComparison:
            if (a, b) == pair:
                error = SessionError("session 02_b failed")
                error.commit = of
                raise error
            return comparing(draw, lambda commit: SLOWER * (commit >= 20))(a, b)

        return compare

    for of, pair in (("", ("0", "32")), ("0", ("0", "32")), ("64", ("0", "64")), ("20", ("19", "20"))):
        with pytest.raises(SessionError, match="02_b failed"):
            bisect(COMMITS, failing(of, pair))


def test_only_an_answer_that_is_sure_has_exit_status_0() -> None:
    draw = np.random.default_rng(6)

    def status(levels: Callable[[int], float], broken: Sequence[int] = (), noise: float = 0.01) -> tuple[int, str]:
        found = bisect(COMMITS, comparing(draw, levels, broken, noise))
        return found.exit_status, found.words

    assert status(lambda _: 0.0)[0] == 0
    assert status(lambda commit: 0.2 * commit / 64)[0] == 0
    assert status(lambda commit: SLOWER * (commit >= 9))[0] == 1
    code, words = status(lambda _: 0.0, noise=0.2)
    assert (code, words.partition(":")[0]) == (11, "undecided between the ends")
    code, words = status(lambda commit: SLOWER * (commit >= 32), range(30, 35))
    assert code == 11
    assert words.startswith("undecided: ")


@pytest.mark.parametrize(("ends", "expected"), [((1, "tests fail in B"), 11), ((10, "nothing was measured"), 10)])
def test_ends_that_say_nothing_of_any_figure_are_not_green(ends: tuple[int, str], expected: int) -> None:
    unchanged = comparing(np.random.default_rng(7), lambda _: 0.0)
    found = bisect(COMMITS, lambda a, b: msgspec.structs.replace(unchanged(a, b), outcome=Status(*ends)))
    assert (found.exit_status, found.culprit) == (expected, None)
    assert ends[1] in found.words


def test_a_last_step_that_is_undecided_is_no_sum_of_small_ones() -> None:
    def compare(a: str, b: str) -> RevisionComparison:
        noise = 0.01 if a == "0" else 0.2
        return comparing(np.random.default_rng(8), lambda commit: SLOWER * (commit >= 20), noise=noise)(a, b)

    found = bisect(COMMITS, compare)
    assert found.exit_status == 11
    assert found.words == f"undecided: whether commit 20 alone made {FIGURES[-1]} worse"


def test_a_bisection_as_a_user_types_it_is_resumed_where_it_was(tmp_path: Path) -> None:
    project = SuiteInGit(tmp_path / "project")
    project.change('"load": 0.5', '"load": 0.75')
    project.commit("A check of the file")
    project.change("import os\n", "import os\n\nNUMBER = 1\n")
    project.commit("Harmless")

    done = typed(project, "HEAD~2", "HEAD", "--pairs=2", *PART)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "A Person, A check of the file" in done.stdout
    (folder,) = (project.folder / "results").glob("bisect_*")
    kept = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    assert f"comparisons: 2, sessions: {len(kept)}, in" in done.stdout
    again = typed(project, "--resume", str(folder))
    assert again.returncode == 1
    assert "A check of the file" in again.stdout
    assert kept == {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
    assert not project.worktrees()
    backwards = typed(project, "HEAD", "HEAD~2", *PART)
    assert backwards.returncode == 2
    assert "the good one comes first" in backwards.stderr
    assert typed(project, "HEAD").returncode == 2
    few = typed(project, "HEAD~2", "HEAD", "--pairs=1", *PART)
    assert few.returncode == 2
    assert few.stderr == "python -m harness: --pairs takes a whole number from 2 up, not 1\n"
    assert [*(project.folder / "results").glob("bisect_*")] == [folder]


def test_a_slowdown_behind_a_broken_commit_is_told_with_the_reason_and_status_11(tmp_path: Path) -> None:
    project = SuiteInGit(tmp_path / "project")
    project.change("import os\n", "import os\nimport no_such_module\n")
    project.commit("Broken")
    project.change("import no_such_module\n", "")
    project.change('"load": 0.5', '"load": 0.75')
    project.commit("Repaired, and a check of the file")
    done = typed(project, "HEAD~2", "HEAD", "--pairs=2", *PART)
    assert done.returncode == 11, done.stdout + done.stderr
    assert "commit 1 is skipped: session 02_b of " in done.stdout
    assert "ended with exit status 4" in done.stdout
    assert "time.load.egpt got worse in one of commits 1 to 2" in done.stdout
    elsewhere = typed(project, "HEAD~1", "HEAD", "--pairs=2", *PART)
    assert elsewhere.returncode == 2
    assert "ended with exit status 4" in elsewhere.stderr


@pytest.mark.parametrize("spoilt", [{"commits": []}, {"commits": ["a"]}, {"pairs": 0}])
def test_a_plan_that_was_changed_by_hand_is_refused_by_its_name(
    spoilt: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = SuiteInGit(tmp_path / "project")
    monkeypatch.chdir(project.folder)
    plan = {"format_version": 1, "commits": ["a", "b"], "arguments": [], "pairs": 2} | spoilt
    (tmp_path / "bisect.json").write_text(json.dumps(plan))
    assert main(["bisect", "--resume", str(tmp_path)]) == 2
    assert "bisect.json: is not a bisection: Expected" in capsys.readouterr().err
