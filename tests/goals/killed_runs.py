"""Runs that are killed at a random moment, and the checks of the resumed runs."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from harness.legacy.writing import legacy_records
from harness.records.journal import JOURNAL_NAME, rank_file_name, read_journal
from harness.records.lines import JournalLine, PassRecord
from harness.records.merging import end_of
from tests import ROOT

SAMPLES = 200
# The whole pass of one small model over small clips with few tokens, so that many kills take little time.
SUITE = (
    *("perf_tests", "-q", "-p", "no:cacheprovider", "-p", "pytest_benchmark.plugin"),
    *("-k", "test_whole_pipeline and not fixed", "--models=egpt"),
    *(f"--embedded={SAMPLES}:64x48:0.4", "--max_new_tokens=8"),
)
ONE_PROCESS = (sys.executable, "-m", "pytest")
TWO_RANKS = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=3"),
    *("-m", "pytest"),
)
COMPARED = ("id", "egpt", "egpt_token_ids", "egpt_tokens", "query", "split", "event_data")
MAX_S = 240.0


class Trial(msgspec.Struct, frozen=True):
    """The result of one kill: the samples on disk at the kill, and the problems of the resumed run."""

    number: int
    samples_before: int
    wrong: tuple[str, ...]


Answers = list[dict[str, Any]]


def undisturbed(folder: Path, command: tuple[str, ...]) -> Answers:
    """Return the answers of a run without a kill, which an earlier piece may have left in `folder`."""
    if not (folder / JOURNAL_NAME).exists() or read_journal(folder / JOURNAL_NAME).end is None:
        shutil.rmtree(folder, ignore_errors=True)
        status = _start(command, f"--output-dir={folder}").wait(MAX_S)
        assert status == 0, f"{folder}: the run without a kill ended with status {status}"
    return _answers(folder)


def kill_one_process(folder: Path, number: int, beside: Answers) -> Trial | None:
    """Kill a run at a random moment and resume it; None where it ended before the kill."""
    shutil.rmtree(folder, ignore_errors=True)
    process = _start(ONE_PROCESS, f"--output-dir={folder}")
    _wait_for_a_moment(folder, random.Random(number), process, processes=1)
    process.kill()
    process.wait(MAX_S)
    before = _whole_lines(folder)
    if read_journal(folder / JOURNAL_NAME).end is not None:
        return None
    status = _start(ONE_PROCESS, f"--resume={folder}").wait(MAX_S)
    wrong = [] if status == 0 else [f"going on ended with status {status}"]
    return Trial(number, len(_passes(before)), (*wrong, *_complaints(folder, before, beside)))


def kill_one_rank(folder: Path, number: int, beside: Answers) -> Trial | None:
    """Kill one of two ranks at a random moment; torchrun restarts it. None where the rank ended before the kill."""
    shutil.rmtree(folder, ignore_errors=True)
    process, draw = _start(TWO_RANKS, f"--output-dir={folder}"), random.Random(number)
    _wait_for_a_moment(folder, draw, process, processes=2)
    victim = draw.randrange(2)
    before = _whole_lines(folder)
    if end_of([msgspec.json.decode(line, type=JournalLine) for line in before[rank_file_name(victim)]]):
        process.wait(MAX_S)
        return None
    with suppress(ProcessLookupError):
        os.kill(_pids(folder)[victim], signal.SIGKILL)
    status = process.wait(MAX_S)
    if status == 0 and not any(each.restart for each in read_journal(folder / JOURNAL_NAME).attempts):
        return None  # the rank had ended before the kill
    wrong = [] if status == 0 else [f"torchrun ended with status {status}"]
    merge = [sys.executable, "-m", "harness", "merge", str(folder)]
    status = subprocess.run(merge, cwd=ROOT, capture_output=True, check=False).returncode
    wrong += [] if status == 0 else [f"merge ended with status {status}"]
    return Trial(number, len(_passes(before)), (*wrong, *_complaints(folder, before, beside)))


def _start(command: tuple[str, ...], *more: str) -> subprocess.Popen[bytes]:
    # Without plugin autoload, which would slow every start.
    variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    null = subprocess.DEVNULL
    return subprocess.Popen([*command, *SUITE, *more], cwd=ROOT, env=variables, stdout=null, stderr=null)


def _wait_for_a_moment(folder: Path, draw: random.Random, process: subprocess.Popen[bytes], processes: int) -> None:
    """Wait until a random number of samples is on disk, then for a part of the next sample."""
    samples = draw.randrange(SAMPLES)
    _wait_for(lambda: len(_pids(folder)) == processes, process)
    _wait_for(lambda: _count_of_passes(folder, processes) >= samples, process)
    time.sleep(draw.uniform(0, 0.06))


def _wait_for(there: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + MAX_S
    while not there():
        assert process.poll() is None, "the run ended before the moment came"
        assert time.monotonic() < end, "the run does not come to the moment"
        time.sleep(0.02)


def _count_of_passes(folder: Path, processes: int) -> int:
    return sum((folder / rank_file_name(rank)).read_bytes().count(b'"kind":"whole"') for rank in range(processes))


def _pids(folder: Path) -> list[int]:
    """The ids of the processes that currently work on a run, by the journals."""
    if not _whole_lines(folder).get(JOURNAL_NAME):
        return []
    record = read_journal(folder / JOURNAL_NAME)
    latest = {each.rank: each.environment["pid"] for each in record.attempts}
    return [pid for _, pid in sorted(({0: record.header.environment["pid"]} | latest).items())]


def _whole_lines(folder: Path) -> dict[str, list[bytes]]:
    """File name -> complete lines of each journal on disk; an incomplete last line is left out."""
    found = {}
    for name in map(rank_file_name, range(2)):
        path = folder / name
        found[name] = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return found


def _passes(lines: dict[str, list[bytes]]) -> list[PassRecord]:
    decoded = (msgspec.json.decode(line) for of_file in lines.values() for line in of_file)
    return [
        msgspec.convert(line, PassRecord) for line in decoded if line["record"] == "pass" and line["kind"] == "whole"
    ]


def _complaints(folder: Path, before: dict[str, list[bytes]], beside: Answers) -> Iterator[str]:
    """Yield what was lost, measured twice, or differs from the undisturbed run."""
    after = _whole_lines(folder)
    if any(after[name][: len(lines)] != lines for name, lines in before.items()):
        yield "a line that was on disk at the kill is missing"
    measured = Counter(each.sample for each in _passes(after))
    if twice := [sample for sample, times in measured.items() if times > 1]:
        yield f"measured twice: {', '.join(twice)}"
    if len(measured) != SAMPLES:
        yield f"{len(measured)} samples of {SAMPLES} were measured"
    if _answers(folder) != beside:
        yield "the legacy file has other ids, texts or token ids, or another order"


def _answers(folder: Path) -> Answers:
    (path,) = folder.glob("*_results_n*.json")
    records = msgspec.json.decode(path.read_bytes())
    assert len(records) == len(legacy_records(read_journal(folder / JOURNAL_NAME)))
    return [{key: record.get(key) for key in COMPARED} for record in records]
