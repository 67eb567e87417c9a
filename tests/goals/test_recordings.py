"""DSEC recordings: a window of a large one, a dataset folder made of one, and files that were made to do harm.

Done in pieces, by ARGS="-k …" too. Hostile files that have been tried stay in results/hostile_recordings and are not
tried again; remove the folder to begin anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import pytest

from fixtures.data.events import read_events
from fixtures.data.npy import read_arrays
from fixtures.data.recording import read_window
from fixtures.data.recording_window import RecordingWindow
from fixtures.scenes.embedded_recording import T_OFFSET_US
from harness.figures.stages import times_faster
from harness.measuring.interleaved import seconds_in_turn
from harness.records.folder import write_whole
from harness.records.quantities import MIB
from tests import ROOT
from tests.fixtures.data.made_recordings import literal, rows, write
from tests.goals.goal_table import GoalRow, GoalTable
from tests.goals.recording_work import (
    EVENTS,
    WINDOW_MS,
    PlainReader,
    own_memory_of_a_window,
    prepare_plainly,
    write_sequence_of_dsecs_size,
    write_sparse_recording,
)
from tests.hostile.trials import Tried, tried

WINDOWS = 80
SECONDS, CLIP_US, TURNS = 8, 1_000_000, 3
HOSTILE, PIECE, SEED = 2000, 50, 40_000
KEPT = ROOT / "results" / "hostile_recordings"
LOOPED = 40


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """All rows of this topic; those that were not measured now stay."""
    rows_of_topic = GoalTable("recordings", in_pieces=True)
    yield rows_of_topic
    rows_of_topic.write()


def test_a_window_of_a_recording_of_a_thousand_million_events(table: GoalTable, tmp_path: Path) -> None:
    """Each window once before and once again in turn: the file is in the page cache, and no chunk in HDF5's own."""
    path = tmp_path / "events.h5"
    starts = write_sparse_recording(path, WINDOWS)
    plain = PlainReader(path)
    names = {start: T_OFFSET_US + 1000 * start for start in starts}

    def window(start: int) -> Path:
        return Path(f"{path}#{names[start]}-{names[start] + 1000 * WINDOW_MS}")

    for start in starts:
        ours, theirs = read_events(window(start)), plain.read(start)
        assert all(np.array_equal(getattr(ours, name), theirs[name]) for name in "xytp")
    mine, others = cycle(starts), cycle(starts)
    ways = [("ours", lambda: read_events(window(next(mine)))), ("plain", lambda: plain.read(next(others)))]
    found = seconds_in_turn(ways, WINDOWS)
    what = f"a window of {WINDOW_MS} ms of {EVENTS:.0e} events, the reader running, the file in the page cache"
    reference = "h5py in the same process, nothing checked"
    table.rows.append(
        GoalRow(what, 1000 * median(found["ours"]), "ms", "20 ms", WINDOWS, reference, 1000 * median(found["plain"]))
    )
    grown, size, idle = own_memory_of_a_window(path, starts[3])
    table.rows.append(
        GoalRow("memory of both processes above the window while it is read", (grown - size) / MIB, "MiB", "60", 1)
    )
    table.rows.append(GoalRow("memory of the waiting reader's own", idle / MIB, "MiB", "-", 1))


def test_a_dataset_of_a_recording(table: GoalTable, tmp_path: Path) -> None:
    """Start of the processes included; ours checks everything and draws event images, which the others do not."""
    sequence = tmp_path / "sequence"
    write_sequence_of_dsecs_size(sequence, SECONDS)
    made = {"ours": tmp_path / "ours", "plain": tmp_path / "plain"}

    def anew(name: str) -> Path:
        shutil.rmtree(made[name], ignore_errors=True)
        return made[name]

    def ours() -> None:
        words = ("prepare", f"--dsec={sequence}", "--clip=1s", "--workers=2", f"--dataset_dir={anew('ours')}")
        subprocess.run([sys.executable, "-m", "fixtures", *words], cwd=ROOT, check=True)

    ways = [("ours", ours), ("plain", lambda: prepare_plainly(sequence, anew("plain"), CLIP_US))]
    found = seconds_in_turn(ways, TURNS)
    clips = sorted((made["plain"] / "event_npy").glob("*.npy"))
    assert len(clips) == 2 * SECONDS - 1
    for path in clips:
        mine, theirs = read_arrays(made["ours"] / "event_npy/sequence" / path.name), read_arrays(path)
        assert all(np.array_equal(mine[name], theirs[name]) for name in "xytp")
    rate, reference_rate = (len(clips) / median(found[name]) for name in ("ours", "plain"))
    what = f"prepare --dsec, {len(clips)} clips of 1 s, 12.8 million events a second, 2 processes"
    reference = "two processes with h5py, np.save and PyAV, without event images"
    ratio = times_faster(found["ours"], found["plain"])
    table.rows.append(
        GoalRow(what, rate, "clips/s", "at least 1x the reference", TURNS, reference, reference_rate, ratio)
    )


def test_windows_beside_a_literal_loop(table: GoalTable, tmp_path: Path) -> None:
    """Times that come several at once and leave milliseconds out, edges at and beside events."""
    draw = np.random.default_rng(3)
    compared = otherwise = 0
    for number in range(LOOPED):
        times = np.sort(draw.choice([*range(0, 9000, 250), *draw.integers(0, 9000, 200)], 400)).tolist()
        path = write(tmp_path / f"{number}.h5", times)
        for _ in range(50):
            start, end = (T_OFFSET_US + int(each) for each in np.sort(draw.integers(-500, 10_000, 2)))
            found = rows(read_window(RecordingWindow(path, start, end + 1)))
            compared += 1
            otherwise += found != literal(times, start, end + 1)
    table.rows.append(GoalRow("windows that differ from a literal loop over t", otherwise, "windows", "none", compared))
    assert not otherwise


@pytest.mark.parametrize("piece", range(HOSTILE // PIECE))
def test_hostile_recordings(piece: int, table: GoalTable) -> None:
    """No crash, no hang, nothing run or touched elsewhere, bounded memory, always an error that names the file."""
    kept = KEPT / f"{piece}.json"
    if not kept.exists():
        found = tried(["recording .h5"], PIECE, SEED + 1000 * piece, KEPT / "violations")
        write_whole(kept, msgspec.json.encode(found))
    pieces = [msgspec.json.decode(path.read_bytes(), type=Tried) for path in sorted(KEPT.glob("*.json"))]
    inputs, violations = sum(each.inputs for each in pieces), sum(len(each.violations) for each in pieces)
    refused = sum(each.refused for each in pieces)
    row = partial(GoalRow, n=inputs)
    measured = [
        row("malformed recordings tried", inputs, "inputs", f"{HOSTILE}"),
        row("malformed recordings that ended, hung, ran, touched or hid something", violations, "inputs", "none"),
        row("malformed recordings refused by an error that names the file", refused, "inputs", "-"),
        row("malformed recordings, slowest", max(each.slowest_s for each in pieces), "s", "under 10 s"),
    ]
    names = {each.what for each in measured}
    table.rows[:] = [*(each for each in table.rows if each.what not in names), *measured]
    violated = msgspec.json.decode(kept.read_bytes(), type=Tried).violations
    assert not violated, "\n".join(dict.fromkeys(violated))
