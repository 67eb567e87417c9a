"""The error rates of the history's alarms and of bisections, simulated with fixed seeds, and the time of a large page.

On the CPU alone, about two minutes: `make measured TOPIC=history`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from harness.__main__ import main
from harness.ab.bisection import bisect
from tests.goals.goal_table import GoalTable
from tests.harness.ab.simulated_bisections import comparing
from tests.harness.history import simulated_histories as simulated
from tests.harness.history.made_histories import factors, session
from tests.harness.made_files import write_baseline

YEAR = 365
SEED = 20261130
ELSEWHERE = "the best open one, read after each session"


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """The rows of all tests of this file."""
    goals = GoalTable("history", in_pieces=True)
    yield goals
    if goals.rows:
        goals.write()


def test_false_alarms(table: GoalTable) -> None:
    noises = {
        "independent, 1 %": (simulated.independent, 0.32),
        "AR(0.6)": (simulated.alike, 4.05),
        "5 % spikes": (simulated.with_spikes, 1.72),
    }
    for what, (noise, elsewhere) in noises.items():
        found = simulated.alarms_per_100_sessions(noise(np.random.default_rng(SEED), (2000, YEAR)))
        row = (f"alarms per 100 unchanged sessions and figure, {what}", found, "alarms", "at most 0.05", 2000 * YEAR)
        table.add(*row, ELSEWHERE, elsewhere)
    for stays in (0.5, 0.9, 0.97):
        found = simulated.alarms_per_100_sessions(
            *simulated.under_two_clocks(np.random.default_rng(SEED), (600, YEAR), stays)
        )
        what = f"alarms per 100 unchanged sessions and figure, two states 3 % apart, read, kept with {stays}"
        table.add(what, found, "alarms", "at most 0.05", 600 * YEAR, ELSEWHERE, 4.37)
    named, sessions, figures = simulated.alarms_in_recorded_sessions()
    table.add("alarms in recorded unchanged sessions", named, "alarms", "none", sessions * figures)


def test_what_is_found(table: GoalTable) -> None:
    for change, within in ((0.05, 3), (-0.05, 3), (0.02, 8)):
        found = 100 * simulated.share_found(change, within, runs=20_000, seed=SEED)
        what = f"{change:+.0%} behind 30 sessions of 1 % noise, found within {within}"
        table.add(what, found, "% of cases", "at least 95 %", 20_000)
    for apart in (1, 2, 5, 10):
        found = 100 * simulated.share_of_creep_found(apart, runs=5000, seed=SEED)
        what = f"steps of 1 % at 0.3 % noise, {apart} sessions apart, named before the fourth"
        table.add(what, found, "% of cases", "at least 95 %", 5000)


def test_bisections(table: GoalTable) -> None:
    commits = [str(number) for number in range(65)]
    draw = np.random.default_rng(SEED)
    culprits = [int(each) for each in draw.permutation(np.arange(1, 65))[:20]]
    found = []
    for at in culprits:

        def slower(commit: int, at: int = at) -> float:
            return math.log(1.05) * (commit >= at)

        found.append(bisect(commits, comparing(draw, slower)))
    right = sum(each.culprit == at for each, at in zip(found, culprits, strict=True))
    table.add("bisections of 64 commits with +5 % that name the culprit", right, "bisections", "20 of 20", 20)
    most = max(each.comparisons for each in found)
    table.add("comparisons of a bisection of 64 commits, at most", most, "comparisons", "at most 8", 20)
    mean = np.mean([each.sessions for each in found])
    table.add("sessions of a bisection of 64 commits, mean", float(mean), "sessions", "reported", 20)
    nobody = sum(bisect(commits, comparing(draw, lambda _: 0.0)).culprit is None for _ in range(20))
    table.add("bisections of 64 equal commits that name nobody", nobody, "bisections", "20 of 20", 20)


def test_a_large_page(table: GoalTable, tmp_path: Path) -> None:
    """1,000 sessions in the form of `make bench`: eight samples with five rounds each."""
    draw, models = np.random.default_rng(SEED), [f"model{number}" for number in range(9)]
    runs = []
    for number in range(1000):
        run = session(number, factors(draw, 0.006), models)
        rounds = {"round_samples": tuple(f"s{each % 8}" for each in range(40))}
        seconds = [tuple((each.round_s[0] * np.exp(draw.normal(0, 0.002, 40))).tolist()) for each in run.stages]
        pairs = zip(run.stages, seconds, strict=True)
        stages = tuple(msgspec.structs.replace(each, round_s=values, **rounds) for each, values in pairs)
        runs.append(msgspec.structs.replace(run, stages=stages))
    write_baseline(tmp_path / "baselines" / "tiny-cpu", *runs)
    start, cpu = time.monotonic(), time.process_time()
    assert main(["history", str(tmp_path / "baselines"), "--output-dir", str(tmp_path / "out")]) == 0
    took, worked = time.monotonic() - start, time.process_time() - cpu
    figures = (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count("<svg")
    table.add(f"page of 1,000 sessions of {figures} figures", took, "s", "at most 10 s on two cores", 1)
    table.add(f"page of 1,000 sessions of {figures} figures, processor time", worked, "s", "reported", 1)
    size = (tmp_path / "out" / "report.html").stat().st_size / 1e6
    table.add(f"page of 1,000 sessions of {figures} figures, size", size, "MB", "below 3 MB", 1)
