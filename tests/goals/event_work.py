"""Work for the goals on events: random streams, datasets of many samples, and timings against references."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from fixtures.data.dataset import JSON_NAME, Dataset
from fixtures.data.events import PICTURES, EventStream, draw_event_images, read_events
from fixtures.models.staged import StagedBase
from fixtures.pipeline import Sample
from fixtures.preparing.command import PrepareRequest, prepare
from fixtures.scenes.embedded import save_events
from harness.measuring import clock
from perf_tests.literal_drawing import draw_one_by_one
from tests import ROOT

WIDTH, HEIGHT = 640, 480
# A program that reads and draws a file while it samples its anonymous memory (no pages of mapped files).
WATCHED = """
import json, sys, threading
from pathlib import Path
from fixtures.data.events import draw_event_images, read_events

def own_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) * 1024

before, peak, done = own_bytes(), [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], own_bytes())

watcher = threading.Thread(target=watch)
watcher.start()
pictures = draw_event_images(read_events(Path(sys.argv[1])))
done.set()
watcher.join()
print(json.dumps([peak[0] - before, sum(picture.nbytes for picture in pictures)]))
"""


@dataclass(frozen=True, slots=True)
class Beside:
    """Seconds of our code and of a reference for the same work; `n` is the number of our timings."""

    ours_s: float
    yardstick_s: float
    n: int

    @property
    def factor(self) -> float:
        """How many times faster our code is than the reference."""
        return self.yardstick_s / self.ours_s


def random_stream(events: int) -> EventStream:
    """Uniformly random events on 640x480 pixels: the worst case for the processor's caches."""
    draw = np.random.default_rng(events).integers
    x, y = draw(0, WIDTH, events, dtype=np.uint16), draw(0, HEIGHT, events, dtype=np.uint16)
    return EventStream(x, y, np.arange(events, dtype=np.int64), draw(0, 2, events, dtype=np.uint8))


def drawing(events: int, rounds: int = 5) -> Beside:
    """Draw a random stream as five event images, against the published loop (run once); asserts equal pixels."""
    stream = random_stream(events)
    seconds = [clock.seconds_of(lambda: draw_event_images(stream)) for _ in range(rounds)]
    start = time.perf_counter()
    expected = draw_one_by_one(stream, PICTURES)
    loop_s = time.perf_counter() - start
    assert all(map(np.array_equal, draw_event_images(stream), expected))
    return Beside(median(seconds), loop_s, rounds)


def own_memory_of_drawing(events: int, folder: Path) -> tuple[int, int]:
    """The growth in bytes of a process that reads and draws `events` events, and the bytes of its event images."""
    path = folder / "events.npy"
    save_events(path, random_stream(events))
    try:
        command = [sys.executable, "-c", WATCHED, str(path)]
        answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout
    finally:
        path.unlink()
    grown, pictures = json.loads(answer)
    return int(grown), int(pictures)


def dataset_of_streams(source: Dataset, folder: Path, samples: int) -> Path:
    """Write a dataset of `samples` samples to `folder`, each with only the events of a sample of `source`."""
    entries = []
    for number in range(samples):
        name = f"copies/{number:06d}.npy"
        path = folder / "event_npy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        original = source.samples[number % len(source.samples)].event_data
        assert original is not None
        os.link(original, path)
        entries.append({"id": f"copy_{number:06d}", "event_data": name})
    (folder / JSON_NAME).write_text(json.dumps(entries), encoding="utf-8")
    return folder


def preparing_event_images(folder: Path, workers: int) -> Beside:
    """`prepare --event-images` on `dataset_of_streams`, process start included, against the published loop.

    The loop is timed on the first eight samples, and its time is extrapolated to all samples.
    """
    samples = Dataset.open(folder).samples
    start = time.perf_counter()
    outcomes = prepare(PrepareRequest(folder, event_images=PICTURES, workers=workers))
    ours_s = time.perf_counter() - start
    assert [outcome.state for outcome in outcomes] == ["made"] * len(samples)
    looped = [sample.event_data for sample in samples[:8] if sample.event_data]
    loop_s = sum(clock.seconds_of(partial(_loop_over, path)) for path in looped)
    return Beside(ours_s, loop_s / len(looped) * len(samples), 1)


def first_two_stages(pipeline: StagedBase, samples: Sequence[Sample], rounds: int = 5) -> Beside:
    """EventGPT's stages 1 and 2 from raw events, against event image files: medians per sample."""
    ways = {}
    for use_event_image in (False, True):
        way = copy.copy(pipeline)
        way.settings = replace(pipeline.settings, use_event_image=use_event_image)
        ways[use_event_image] = way
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for round_number in range(rounds + 1):
        for sample in samples:
            for use_event_image, way in ways.items():
                took = clock.seconds_of(partial(_two_stages, way, sample))
                if round_number:  # the first round is cold
                    seconds[use_event_image].append(took)
    return Beside(median(seconds[False]), median(seconds[True]), len(seconds[False]))


def _loop_over(path: Path) -> None:
    draw_one_by_one(read_events(path), PICTURES)


def _two_stages(pipeline: StagedBase, sample: Sample) -> None:
    pipeline.preprocess(pipeline.load(sample))
