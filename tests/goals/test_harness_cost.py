"""The harness's own cost: the time between two rounds without the stage and its input, journal lines, and import."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import IO, Any

import pytest

from harness.measuring.benchmark import Benchmark
from harness.measuring.memory import host_peak
from harness.measuring.progress import Progress
from harness.measuring.stage_measurement import StageRun
from harness.options import RoundsPlan
from harness.records.journal import Journal
from harness.stages import Length, stage_calls
from tests import ROOT
from tests.goals.goal_table import GoalTable
from tests.goals.long_stub_run import a_pass
from tests.stub_pipeline import StubPipeline, StubSample

LONG_STAGE_S = 0.1


class SleepingPipeline(StubPipeline):
    """A stub whose preprocessing sleeps for `seconds` and records when; the other stages take no time."""

    def __init__(self, seconds: float) -> None:
        """Start without records."""
        super().__init__()
        self.seconds = seconds
        self.busy: list[tuple[float, float]] = []

    def take(self, stage: str, given: Any) -> None:
        """Sleep in the stage "preprocess", and record start and end."""
        if stage == "preprocess":
            start = time.perf_counter()
            if self.seconds:
                time.sleep(self.seconds)
            self.busy.append((start, time.perf_counter()))

    def gaps_s(self) -> list[float]:
        """Return the times between two calls of the measured stage."""
        return [start - end for (_, end), (start, _) in pairwise(self.busy)]


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """All rows of this topic; written when the last test is through."""
    rows = GoalTable("harness_cost")
    yield rows
    rows.write()


def test_cost_between_two_rounds(benchmark: Any, table: GoalTable) -> None:
    """All time between two calls of a stage with a ready input is the harness's and pytest-benchmark's."""
    gaps = _gaps_s(Benchmark(benchmark), SleepingPipeline(0.0), rounds=250, progress=Progress(None))
    table.add("cost a timed round, median", 1000 * median(gaps), "ms", "under 1 ms", len(gaps))
    table.add("cost a timed round, mean", 1000 * fmean(gaps), "ms", "under 1 ms", len(gaps))


@pytest.mark.parametrize("where", ["no terminal", "a bar on a terminal"])
def test_cost_of_a_long_stage(where: str, benchmark: Any, table: GoalTable) -> None:
    """The cost as a share of a 100 ms stage; a progress bar is drawn between every other two rounds."""
    with _terminal() as terminal:
        progress = Progress(None if where == "no terminal" else terminal, "stub")
        gaps = _gaps_s(Benchmark(benchmark), SleepingPipeline(LONG_STAGE_S), rounds=10, progress=progress)
        progress.stop()
    share = 100 * fmean(gaps) / LONG_STAGE_S
    table.add(f"cost a round, of a 100 ms stage, {where}", share, "%", "under 1 %", len(gaps))


def test_cost_of_a_journal_line(tmp_path: Path, table: GoalTable) -> None:
    """The time to write one line per sample to disk, as before the next sample of a whole pass."""
    journal, seconds = Journal(tmp_path / "journal.jsonl"), []
    for number in range(200):
        start = time.perf_counter()
        journal.append(a_pass(str(number)))
        seconds.append(time.perf_counter() - start)
    journal.close()
    assert len((tmp_path / "journal.jsonl").read_bytes().splitlines()) == len(seconds)
    what = "a journal line on disk (whole pass, once a sample)"
    table.add(what, 1000 * median(seconds), "ms", "none", len(seconds))


def test_import_of_the_harness(table: GoalTable) -> None:
    """The difference of the medians of fresh interpreters with and without the import."""
    bare, full = [], []
    for _ in range(11):
        bare.append(_interpreter_s("pass"))
        full.append(_interpreter_s("import harness.session.plugin"))
    import_ms = 1000 * (median(full) - median(bare))
    pytest_ms = 1000 * (median([_interpreter_s("import pytest") for _ in range(11)]) - median(bare))
    assert import_ms > 0
    table.add("import of harness.session.plugin without pytest's own", import_ms - pytest_ms, "ms", "under 100 ms", 11)


def _gaps_s(benchmark: Benchmark, pipeline: SleepingPipeline, rounds: int, progress: Progress) -> list[float]:
    """Measure the stub, and return the seconds between one timed round's work and the next one's."""
    samples = [StubSample(str(number)) for number in range(8)]
    run = StageRun(benchmark, stage_calls(pipeline, Length(1)), "preprocess", pipeline.work, host_peak, progress)
    measured = run.measure(samples, RoundsPlan(rounds, rounds, min_time_s=0))
    assert len(measured.round_s) == rounds * len(samples)
    return pipeline.gaps_s()[len(samples) : len(samples) + len(measured.round_s) - 1]


@contextmanager
def _terminal() -> Iterator[IO[str]]:
    """Yield a pseudo-terminal; a thread reads and discards its output."""
    ours, theirs = pty.openpty()
    reader = threading.Thread(target=lambda: [None for _ in iter(lambda: _read_some(ours), b"")], daemon=True)
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        yield terminal
    reader.join(timeout=10)
    os.close(ours)


def _read_some(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end was closed
        return b""


def _interpreter_s(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)
    return time.perf_counter() - start
