"""Stages 1 and 2 against the first benchmark script and against torchcodec: readers, cache, events, processing."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import pytest

from fixtures.data.dataset import Dataset
from fixtures.model_sets.loading import ModelSettings, pipeline_loaders
from fixtures.models.staged import StagedBase
from fixtures.scenes.embedded import EmbeddedSpec, ensure_embedded
from fixtures.scenes.scene import Scene
from fixtures.system.devices import use_threads_for
from fixtures.video.frames import read_frames, uniform_indices
from fixtures.video.readers import fast, plain, torchcodec
from fixtures.video.readers.container import opened
from fixtures.video.readers.packets import coded_packets, read_index, slices_per_picture
from fixtures.video.writer import FRAMES_PER_SECOND, write_mp4
from harness.figures.stages import times_faster
from harness.measuring.rounds import Variant, seconds_in_turn
from harness.records.quantities import MIB
from tests import ROOT
from tests.goals.data_path_cache import cache_rows, dataset_of_clips, preparing_frames
from tests.goals.event_work import (
    Beside,
    dataset_of_streams,
    drawing,
    first_two_stages,
    own_memory_of_drawing,
    preparing_event_images,
)
from tests.goals.goal_table import GoalRow, GoalTable
from tests.goals.stage2 import LIBRARY, TIMES_FASTER, stage2_ways

COUNT = 8
SIZES = {"1440x1080": (1440, 1080), "640x480": (640, 480)}
SECONDS = (1, 5, 20)
TURNS = {1: 25, 5: 15, 20: 7}
AGAINST_LEGACY = {"1440x1080": {1: 2.2, 5: 2.4, 20: 2.7}, "640x480": {1: 2.0, 5: 2.0, 20: 2.3}}
PEER_THREADS = (1, 2, 4)
# A program of its own, so that no memory of earlier reads is reused; it first reads a small clip to load libraries.
WATCHED = """
import sys
from pathlib import Path
import psutil
from fixtures.video.frames import read_frames
from harness.measuring.memory import host_peak

small, path, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
read_frames(small, 1)
before = psutil.Process().memory_info().rss
print(host_peak(lambda: read_frames(path, count)).host_bytes - before)
"""


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """All rows of this topic; written when the last test is through."""
    rows = GoalTable("data_path")
    yield rows
    rows.write()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """(size, seconds) -> an MP4 file of a moving scene like those of the embedded dataset."""
    folder = tmp_path_factory.mktemp("clips")
    made = {}
    for size, (width, height) in SIZES.items():
        for seconds in SECONDS:
            scene = Scene.random(7, width, height, seconds)
            frames = [scene.render(number / FRAMES_PER_SECOND) for number in range(seconds * FRAMES_PER_SECOND)]
            path = made[size, seconds] = folder / f"{size}_{seconds}s.mp4"
            write_mp4(path, frames)
            assert slices_per_picture(path) == 1
    return made


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seconds", SECONDS)
def test_fast_reader_beside_the_old_one(
    size: str, seconds: int, clips: dict[tuple[str, int], Path], table: GoalTable
) -> None:
    """The fast reader gives equal frames; the row says how many times faster it is."""
    path = clips[size, seconds]
    batches = {reader: read_frames(path, COUNT, reader=reader) for reader in ("legacy", "fast")}
    assert np.array_equal(batches["fast"].frames, batches["legacy"].frames)
    assert batches["fast"].fallback is None
    ways = [(reader, partial(read_frames, path, COUNT, reader=reader)) for reader in batches]
    found = seconds_in_turn(ways, TURNS[seconds])
    name = f"fast reader against legacy, {size}, {seconds * FRAMES_PER_SECOND} frames"
    goal = f"at least {AGAINST_LEGACY[size][seconds]}x"
    table.rows.append(_ratio_row(name, goal, "legacy reader", found["fast"], found["legacy"]))


def test_fast_reader_beside_torchcodec_at_its_best(clips: dict[tuple[str, int], Path], table: GoalTable) -> None:
    """Torchcodec alone, without our checks, on the best number of threads for each clip."""
    reason = torchcodec.missing()
    if reason:
        pytest.skip(reason)
    factors = []
    for (size, seconds), path in clips.items():
        assert np.array_equal(_by_torchcodec(path, 1), read_frames(path, COUNT).frames)
        peers: list[Variant] = [(str(threads), partial(_by_torchcodec, path, threads)) for threads in PEER_THREADS]
        found = seconds_in_turn([*peers, ("fast", partial(read_frames, path, COUNT))], TURNS[seconds])
        best = min((threads for threads, _ in peers), key=lambda threads: median(found[threads]))
        name = f"fast reader against torchcodec, {size}, {seconds * FRAMES_PER_SECOND} frames"
        row = _ratio_row(name, "at least 1.45x", f"torchcodec on {best} threads", found["fast"], found[best])
        table.rows.append(row)
        factors.append(times_faster(found["fast"], found[best]))
    mean = math.exp(math.fsum(map(math.log, factors)) / len(factors))
    goal = "at least 1.55x"
    table.add("fast reader against torchcodec, geometric mean of the six", mean, "x", goal, len(factors))


@pytest.mark.parametrize("size", SIZES)
def test_fast_reader_beside_merely_decoding(size: str, clips: dict[tuple[str, int], Path], table: GoalTable) -> None:
    """The cost of finding the packets, converting to RGB and copying, beyond decoding the needed packets."""
    path = clips[size, 20]
    with opened(path, try_decoding=False) as container:
        index = read_index(container, coded_packets(container))
    plan = index.plan(set(map(int, uniform_indices(len(index.pts), COUNT))))

    def merely_decode() -> None:
        with plain.opened_with_threads(path, try_decoding=False) as container:
            for _ in fast.shown(container, plan, coded_packets(container)):
                pass

    found = seconds_in_turn([("fast", partial(read_frames, path, COUNT)), ("decoding", merely_decode)], 15)
    name = f"fast reader, of merely decoding the needed packets, {size}, 400 frames"
    ours, theirs = found["fast"], found["decoding"]
    longer = 1 / times_faster(ours, theirs)
    goal, reference = "at most 1.12x as long", "decoding alone"
    table.add(name, 1000 * median(ours), "ms", goal, 15, reference, 1000 * median(theirs), longer)


@pytest.mark.parametrize("size", SIZES)
def test_memory_while_reading(size: str, clips: dict[tuple[str, int], Path], table: GoalTable) -> None:
    """The growth of a fresh process's resident memory while 8 of 400 frames are read, in sizes of a frame."""
    width, height = SIZES[size]
    command = [sys.executable, "-c", WATCHED, str(clips["640x480", 1]), str(clips[size, 20]), str(COUNT)]
    grown = int(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=120).stdout)
    name = f"memory while reading, above the start, {size}, 400 frames"
    table.add(name, grown / (width * height * 3), "frames' bytes", "under 12 frames", 1)


def test_frame_cache(table: GoalTable, tmp_path: Path) -> None:
    """Frame hits against a copy of their bytes, and pixel hits against stages 1 and 2 of the old script."""
    folder = ensure_embedded(EmbeddedSpec(1, *SIZES["1440x1080"], 5.0), tmp_path)
    table.rows.extend(cache_rows(Dataset.open(folder).samples[0], tmp_path / "cache"))


def test_stage_2_beside_the_library(table: GoalTable) -> None:
    """Each of our processors against transformers' PIL processor, on the same frames."""
    use_threads_for("tiny", "cpu")
    found = seconds_in_turn(stage2_ways(), 41)
    for processor, goal in TIMES_FASTER.items():
        name = f"stage 2, --processor {processor}, 8 frames of 1440x1080 to 224"
        table.rows.append(_ratio_row(name, f"at least {goal}x", LIBRARY, found[processor], found[LIBRARY]))


@pytest.mark.parametrize(("events", "goal"), [(10**5, "at least 40x"), (10**7, "at least 100x")])
def test_drawing_events_beside_the_loop(events: int, goal: str, table: GoalTable) -> None:
    """Our drawing against the published loop over single events, with equal pixels."""
    table.rows.append(_beside_row(f"drawing {events} events into 5 pictures", goal, "literal loop", drawing(events)))


def test_memory_of_drawing_very_many_events(table: GoalTable, tmp_path: Path) -> None:
    """A process of its own reads and draws 10^8 events."""
    grown, pictures = own_memory_of_drawing(10**8, tmp_path)
    name = "memory of reading and drawing 10^8 events, own pages above the start"
    table.add(name, grown / MIB, "MiB", "bounded", 1, "the pictures, MiB", pictures / MIB)


def test_raw_events_beside_event_images(table: GoalTable, tmp_path: Path) -> None:
    """EventGPT's stages 1 and 2, files included."""
    use_threads_for("tiny", "cpu")
    samples = Dataset.open(ensure_embedded(EmbeddedSpec(), tmp_path)).samples
    pipeline = cast("StagedBase", pipeline_loaders(ModelSettings(), ["egpt"])["egpt"]())
    row = _beside_row("EventGPT stages 1 + 2 from raw events", "faster", "5 PNGs", first_two_stages(pipeline, samples))
    table.rows.append(row)


def test_preparing_event_images(table: GoalTable, tmp_path: Path) -> None:
    """`prepare --event-images` of 600 samples on two processes, against the published loop alone."""
    source = Dataset.open(ensure_embedded(EmbeddedSpec(), tmp_path))
    folder = dataset_of_streams(source, tmp_path / "many", 600)
    found = preparing_event_images(folder, workers=2)
    what = "prepare, event images of 600 samples on 2 processes"
    table.rows.append(_beside_row(what, "at least 30x", "the loop, drawing alone", found))


def test_preparing_frames(clips: dict[tuple[str, int], Path], table: GoalTable, tmp_path: Path) -> None:
    """`prepare --cache frames` of 60 clips on two processes, against one process with the legacy reader."""
    folder = dataset_of_clips(clips["1440x1080", 5], tmp_path / "many", 60)
    ours_s, legacy_s, n = preparing_frames(folder, tmp_path / "cache", workers=2)
    what, reference = f"prepare, frames of {n} clips of 1440x1080 and 5 s on 2 processes", "one legacy process, reading"
    table.add(what, 1000 * ours_s, "ms", "at least 2.2x", 1, reference, 1000 * legacy_s, legacy_s / ours_s)


def _beside_row(what: str, goal: str, reference: str, found: Beside) -> GoalRow:
    return GoalRow(what, 1000 * found.ours_s, "ms", goal, found.n, reference, 1000 * found.yardstick_s, found.factor)


def _by_torchcodec(path: Path, threads: int) -> Any:
    decoders: Any = import_module("torchcodec.decoders")
    decoder = decoders.VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=threads)
    indices = uniform_indices(decoder.metadata.num_frames, COUNT)
    return decoder.get_frames_at(indices=indices.tolist()).data.numpy()


def _ratio_row(what: str, goal: str, reference: str, ours: list[float], theirs: list[float]) -> GoalRow:
    """A row with both medians, and the median over the turns of the ratio."""
    factor = times_faster(ours, theirs)
    return GoalRow(what, 1000 * median(ours), "ms", goal, len(ours), reference, 1000 * median(theirs), factor)
