"""How often `python -m harness ab` finds injected work, and how often it raises false alarms, on the CPU.

Comparisons stay in results/trust_ab/ and are not measured again, so the topic can be run in pieces (ARGS="-k …").
Remove that folder to start again. On a shared machine use one core: `taskset -c 1 make measured TOPIC=trust_ab`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ab import results
from harness.ab.plan import MAX_PAIRS
from harness.records.folder import write_json
from tests import ROOT
from tests.goals.goal_table import GoalRow, GoalTable
from tests.goals.injected_work import SHARE

KEPT = ROOT / "results" / "trust_ab"
COMPARISONS = 7
STAGES = ("vision", "prefill", "decode")
PLUGIN = "tests.goals.injected_work"  # loaded on side B only; reads the share from the environment
SESSION = "perf_tests --models egpt --stage-samples 2 --rounds 10 --measurement_time 0.5"
GOALS = {0.2: "all", 0.1: "at least 17 of 20", 0.0: "none"}


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """The rows of all finished comparisons, written after the last test."""
    goals = GoalTable("trust_ab")
    yield goals
    for share, goal in GOALS.items():
        goals.rows += _rows(share, goal)
    if goals.rows:
        goals.write()


@pytest.mark.parametrize("number", range(1, COMPARISONS + 1))
@pytest.mark.parametrize("share", GOALS)
def test_injected_work(share: float, number: int, table: GoalTable) -> None:
    """One comparison of the working tree with itself, with more work on side B."""
    folder = KEPT / f"{100 * share:.0f}_percent_{number}"
    if not (folder / results.FILE_NAME).exists():
        write_json(folder / results.FILE_NAME, _compared(share))
    assert results.read(folder).figures, table.topic


def _compared(share: float) -> results.RevisionComparison:
    asked = f"{SESSION} -k '{' or '.join(STAGES)}'"
    command = [sys.executable, "-m", "harness", "ab", f"--b-args=-p {PLUGIN}", "--", *shlex.split(asked)]
    environment = {**os.environ, SHARE: str(share)}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    sys.stdout.write(done.stdout)
    folder = re.search(rf"^files: (.*)/{re.escape(results.FILE_NAME)}", done.stdout, re.MULTILINE)
    assert folder, f"the comparison ended with {done.returncode} before its table"
    return results.read(Path(folder[1]))


def _rows(share: float, goal: str) -> Iterator[GoalRow]:
    comparisons = [results.read(folder) for folder in sorted(KEPT.glob(f"{100 * share:.0f}_percent_*"))]
    said = [
        figure.verdict
        for comparison in comparisons
        for figure in comparison.figures
        if figure.metric.kind == "time" and figure.metric.unit == "s"
    ]
    if not said:
        return
    what = f"stages called regressed, {share:+.0%} of injected work"
    yield GoalRow(what, said.count("regressed"), "stages", goal, len(said))
    if share == 0:
        concluded = len(said) - said.count("undecided")
        yield GoalRow("stages of equal sides with an answer", concluded, "stages", "none", len(said))
    pairs = sum(comparison.pairs for comparison in comparisons) / len(comparisons)
    goal = f"at most {MAX_PAIRS}"
    yield GoalRow(f"pairs of sessions a comparison, {share:+.0%}", pairs, "pairs", goal, len(comparisons))
