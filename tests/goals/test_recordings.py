"""DSEC recordings: reading a window of a large one, preparing a dataset from one, and hostile files.

Can be run in parts, by ARGS="-k …". Results for hostile files stay in results/hostile_files and are not repeated:
remove the folder to start again.
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

from fixtures.data.events import EventStream, draw_event_images, read_events
from fixtures.data.media import RecordingWindow
from fixtures.data.npy import read_arrays
from fixtures.data.recording import read_window
from fixtures.scenes.embedded import T_OFFSET_US
from fixtures.system.devices import keep_freed_memory
from harness.figures.stages import times_faster
from harness.measuring.rounds import seconds_in_turn
from harness.records.folder import write_whole
from harness.records.quantities import MIB
from tests import ROOT
from tests.fixtures.data.made_recordings import literal, rows, write
from tests.goals.goal_table import GoalRow, GoalTable
from tests.goals.recording_work import (
    EVENTS,
    PER_MILLISECOND,
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
HOSTILE, SEED = 2000, 40_000
KEPT = ROOT / "results" / "hostile_files"
FORMS = {
    "recording .h5": ("recordings", 50),
    "event .npz": (".npz archives", 500),
    "five-stage result": ("five-stage result files", 500),
}
"""Kind of file -> its name in rows, and the number of trials in one test."""
LOOPED = 40
IMAGES, DRAWN = (5, 100), 15


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """The rows of this topic; rows that this run does not measure stay."""
    rows_of_topic = GoalTable("recordings", in_pieces=True)
    yield rows_of_topic
    rows_of_topic.write()


def test_a_window_of_a_recording_of_a_thousand_million_events(table: GoalTable, tmp_path: Path) -> None:
    """Each window is read once before the timed reads: from the page cache, but not from HDF5's chunk cache."""
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
    """Times include process start; only our command checks everything and draws event images."""
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
    """Windows of events with equal times and empty milliseconds, with edges at and between events."""
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


@pytest.mark.parametrize(("clip_s", "goal"), [(1, "-"), (5, "under 10")])
def test_drawing_more_images_of_one_clip(clip_s: int, goal: str, table: GoalTable) -> None:
    """The same events as 5 and as 100 images of one size; filling 95 more images takes time in any case."""
    count = 1000 * clip_s * PER_MILLISECOND
    draw = np.random.default_rng(5)
    x, y = (draw.normal(side / 2, side / 4, count).clip(0, side - 1).astype(np.uint16) for side in (640, 480))
    clip = EventStream(x, y, x, draw.integers(0, 2, count, dtype=np.uint8))
    keep_freed_memory()
    ways = [(str(images), partial(draw_event_images, clip, images)) for images in IMAGES]
    assert {picture.shape for _, way in ways for picture in way()} == {(480, 640, 3)}
    found = seconds_in_turn(ways, DRAWN)
    few, many = (found[str(images)] for images in IMAGES)
    what = f"growth of drawing from {IMAGES[0]} to {IMAGES[1]} images of a clip of {clip_s} s, {count} events"
    growth = 100 * (times_faster(few, many) - 1)
    table.rows.append(GoalRow(what, growth, "%", goal, DRAWN))


@pytest.mark.parametrize(
    ("kind", "piece"), [(kind, piece) for kind, (_, count) in FORMS.items() for piece in range(HOSTILE // count)]
)
def test_hostile_files(kind: str, piece: int, table: GoalTable) -> None:
    """No crash, no hang, no code run, no other file touched, bounded memory, and an error that names the file."""
    folder, (files, count) = KEPT / kind.replace(" ", "_"), FORMS[kind]
    kept = folder / f"{piece}.json"
    if not kept.exists():
        found = tried([kind], count, SEED + 1000 * piece, folder / "violations")
        write_whole(kept, msgspec.json.encode(found))
    pieces = [msgspec.json.decode(path.read_bytes(), type=Tried) for path in sorted(folder.glob("*.json"))]
    inputs, violations = sum(each.inputs for each in pieces), sum(len(each.violations) for each in pieces)
    refused = sum(each.refused for each in pieces)
    row = partial(GoalRow, n=inputs)
    measured = [
        row(f"malformed {files} tried", inputs, "inputs", f"{HOSTILE}"),
        row(f"malformed {files} that ended, hung, ran, touched or hid something", violations, "inputs", "none"),
        row(f"malformed {files} refused by an error that names the file", refused, "inputs", "-"),
        row(f"malformed {files}, slowest", max(each.slowest_s for each in pieces), "s", "under 10 s"),
        row(f"malformed {files}, most memory", max(each.peak_bytes for each in pieces) / MIB, "MiB", "under 1024"),
    ]
    table.replace(measured)
    violated = msgspec.json.decode(kept.read_bytes(), type=Tried).violations
    assert not violated, "\n".join(dict.fromkeys(violated))
