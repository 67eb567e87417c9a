"""A run of many samples through a pipeline that does nothing, so its time and memory are the harness's own."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from harness.measuring.rounds import seconds_in_turn
from harness.options import Options
from harness.records.journal import Journal
from harness.records.lines import PassRecord, Plan, PlannedSample, timestamp
from harness.session.session import Session
from harness.stages import STAGES
from tests.stub_pipeline import StubPipeline, StubSample

SAMPLES = 11_000
THOUSAND = 1_000


class WatchedPipeline(StubPipeline):
    """Records the start of each sample, by wall and processor time, and the resident memory at every tenth."""

    def __init__(self) -> None:
        """Start without records."""
        super().__init__()
        self.began: list[float] = []
        self.busy: list[float] = []
        self.resident: list[int] = []
        self._process = psutil.Process()

    def take(self, stage: str, given: Any) -> None:
        """Record times at the stage "load", and the memory at every tenth sample."""
        if stage == "load":
            self.began.append(time.perf_counter())
            self.busy.append(time.process_time())
            if len(self.began) % 10 == 0:
                self.resident.append(self._process.memory_info().rss)


def steps(moments: list[float]) -> list[float]:
    """Return the differences of neighbouring moments."""
    return [after - before for before, after in pairwise(moments)]


def samples() -> list[StubSample]:
    """Return all samples."""
    return [StubSample(f"sample_{number:05}") for number in range(SAMPLES)]


def session_in(folder: Path, *, is_resumed: bool) -> Session:
    """Return a started session: a new run in `folder`, or the resumed run there."""
    session = Session(Options(warmup_steps=0), folder, measures=True, terminal=None, is_resumed=is_resumed)
    session.begin(
        Plan(
            model_set="stub",
            device="cpu",
            engines=("eager",),
            models=("egpt",),
            draft="egpt",
            targets=(),
            dataset="stub.json",
            samples=tuple(PlannedSample(each.id, "test", "What?", f"{each.id}.npy", each.id) for each in samples()),
            limits={},
        )
    )
    return session


def a_pass(sample: str) -> PassRecord:
    """Return the record of a sample's whole pass, with an answer of the published length."""
    return PassRecord(
        sample=sample,
        model="stub",
        engine="eager",
        kind="whole",
        stage_s=dict.fromkeys(STAGES, 0.1),
        whole_s=0.5,
        source="nothing",
        text="word " * 60,
        token_ids=tuple(range(102)),
        stopped_by="eos",
        finished_at=timestamp(),
    )


def seconds_of_lines(folder: Path) -> tuple[list[float], list[float]]:
    """Seconds per line of a journal of SAMPLES lines, and of journals of at most a thousand lines, written in turn.

    Both write to the same disk at the same time, so their difference is the cost of the file's length.
    """
    folder.mkdir(parents=True)
    long, short = Journal(folder / "long.jsonl"), Journal(folder / "short_0.jsonl")
    line, begun = a_pass("sample"), 0

    def to_short() -> None:
        nonlocal short, begun
        begun += 1
        if begun % THOUSAND == 0:
            short.close()
            short = Journal(folder / f"short_{begun}.jsonl")
        short.append(line)

    seconds = seconds_in_turn([("long", lambda: long.append(line)), ("short", to_short)], SAMPLES)
    long.close()
    short.close()
    return seconds["long"], seconds["short"]
