"""Recordings of DSEC's size for the goals, and the same work by plain h5py and PyAV as reference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from PIL import Image

from fixtures.data.recording_writer import BLOSC, CHUNK, write_recording
from fixtures.preparing.sequences import PICTURES, TIMES
from fixtures.scenes.embedded import T_OFFSET_US
from fixtures.scenes.scene import Scene
from fixtures.video.writer import FRAMES_PER_SECOND
from tests import ROOT

PER_MILLISECOND = 12_800
"""DSEC's mean rate: 12.8 million events per second."""

EVENTS = 10**9
WINDOW_MS = 50
# A program that opens a recording and reads windows of 1 and 50 ms, while it samples the memory of both processes.
WATCHED = """
import json, sys, threading
from pathlib import Path
from fixtures.data.recording import opened

def own_bytes(pids):
    found = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        found += sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) * 1024
    return found

start, end = int(sys.argv[2]), int(sys.argv[3])
with opened(Path(sys.argv[1])) as recording:
    recording.read(*recording.span(start, start + 1000))
    pids = ["self", recording._process.pid]
    idle = own_bytes(pids[1:])
    before, peak, done = own_bytes(pids), [0], threading.Event()
    def watch():
        while not done.wait(0.0005):
            peak[0] = max(peak[0], own_bytes(pids))
    watcher = threading.Thread(target=watch)
    watcher.start()
    window = recording.read(*recording.span(start, end))
    peak[0] = max(peak[0], own_bytes(pids))
    done.set()
    watcher.join()
print(json.dumps([peak[0] - before, sum(column.nbytes for column in window.values()), idle]))
"""
# A plain script without the suite, without event images and checks; two run in parallel, each for every second clip.
PLAIN = """
import os, shutil, sys
from fractions import Fraction
from pathlib import Path
import av, h5py, hdf5plugin
import numpy as np
from PIL import Image

source, out, part, clip = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
times = [int(line) for line in (source / "images/timestamps.txt").read_text().split()]
pictures = sorted((source / "images/left/rectified").glob("*.png"))
with h5py.File(source / "events.h5") as file:
    events, offset = file["events"], int(file["t_offset"][()])
    index = file["ms_to_idx"][:].astype(np.int64)
    starts = list(range(times[0], times[-1] - clip + 1, clip // 2))
    for number in range(part, len(starts), 2):
        a, b = starts[number] - offset, starts[number] - offset + clip
        first, last = a // 1000, -(-b // 1000)
        first = index[first] if first < len(index) else len(events["t"])
        last = index[last] if last < len(index) else len(events["t"])
        t = events["t"][first:last]
        keep = slice(*np.searchsorted(t, (a, b)))
        window = {name: events[name][first + keep.start : first + keep.stop] for name in "xyp"}
        window["t"] = t[keep].astype(np.int64) + offset
        (out / "event_npy").mkdir(parents=True, exist_ok=True)
        np.save(out / "event_npy" / f"{number:06d}.npy", window, allow_pickle=True)
        chosen = [path for path, time in zip(pictures, times) if a <= time - offset < b]
        frames = out / "video" / f"{number:06d}"
        frames.mkdir(parents=True)
        (out / "mp4").mkdir(exist_ok=True)
        with av.open(str(out / "mp4" / f"{number:06d}.mp4"), "w") as container:
            options = {"crf": "28", "preset": "fast", "threads": "1"}
            stream = container.add_stream("libx264", rate=Fraction(20), options=options)
            stream.pix_fmt = "yuv420p"
            for path in chosen:
                os.link(path, frames / path.name)
                picture = np.asarray(Image.open(path).convert("RGB"))
                if path == chosen[0]:
                    stream.height, stream.width = picture.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
"""


def write_sparse_recording(path: Path, windows: int) -> list[int]:
    """Write a recording of EVENTS events, with data in `windows` windows only; return the windows' first ms.

    A full recording would be 4 GB, of which the goal reads 4 %. Index, offsets and chunks are those of a full one.
    """
    draw = np.random.default_rng(1)
    last = EVENTS // PER_MILLISECOND - WINDOW_MS - 3
    starts = [1 + place * (last // windows) for place in range(windows)]
    with h5py.File(path, "w") as file:
        made = {
            name: file.create_dataset(f"events/{name}", shape=(EVENTS,), dtype=kind, chunks=(CHUNK,), **BLOSC)
            for name, kind in (("x", "u2"), ("y", "u2"), ("t", "u4"), ("p", "u1"))
        }
        for start in starts:
            first, count = (start - 1) * PER_MILLISECOND, (WINDOW_MS + 3) * PER_MILLISECOND
            for name, column in _events(draw, start - 1, WINDOW_MS + 3).items():
                made[name][first : first + count] = column
        file["ms_to_idx"] = np.arange(-(-EVENTS // PER_MILLISECOND), dtype=np.uint64) * PER_MILLISECOND
        file["t_offset"] = np.int64(T_OFFSET_US)
    return starts


def _events(draw: np.random.Generator, first_ms: int, milliseconds: int) -> dict[str, np.ndarray]:
    """Normally distributed events, PER_MILLISECOND in each millisecond, at random times in it."""
    count = milliseconds * PER_MILLISECOND
    within = np.sort(draw.integers(0, 1000, (milliseconds, PER_MILLISECOND)), axis=1)
    times = within + 1000 * (first_ms + np.arange(milliseconds))[:, None]
    return {
        "x": draw.normal(320, 150, count).clip(0, 639).astype(np.uint16),
        "y": draw.normal(240, 100, count).clip(0, 479).astype(np.uint16),
        "t": times.reshape(-1).astype(np.uint32),
        "p": draw.integers(0, 2, count, dtype=np.uint8),
    }


def own_memory_of_a_window(path: Path, start_ms: int) -> tuple[int, int, int]:
    """Bytes: growth of both processes while a window is read, size of the window, and idle reader before it."""
    start = T_OFFSET_US + 1000 * start_ms
    command = [sys.executable, "-c", WATCHED, str(path), str(start), str(start + 1000 * WINDOW_MS)]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300).stdout
    grown, window, idle = json.loads(answer)
    return int(grown), int(window), int(idle)


class PlainReader:
    """Reads windows by h5py in this process, without checks."""

    def __init__(self, path: Path) -> None:
        assert hdf5plugin
        self._file = h5py.File(path, rdcc_nbytes=4 * 1024**2)

    def read(self, start_ms: int) -> dict[str, np.ndarray]:
        """Read the four columns of a window that starts and ends at whole milliseconds."""
        first, behind = (int(self._file["ms_to_idx"][each]) for each in (start_ms, start_ms + WINDOW_MS))
        window = {name: self._file["events"][name][first:behind] for name in "xytp"}
        window["t"] = window["t"].astype(np.int64) + int(self._file["t_offset"][()])
        return window


def write_sequence_of_dsecs_size(folder: Path, seconds: int) -> None:
    """Write a sequence with DSEC's mean event rate, and pictures of a scene in 1440x1080."""
    write_recording(folder / "events.h5", _events(np.random.default_rng(2), 0, 1000 * seconds), T_OFFSET_US)
    scene = Scene.random(7, 1440, 1080, float(seconds))
    (folder / PICTURES).mkdir(parents=True)
    count = seconds * FRAMES_PER_SECOND + 1
    for number in range(count):
        Image.fromarray(scene.render(number / FRAMES_PER_SECOND)).save(folder / PICTURES / f"{number:06d}.png")
    times = (T_OFFSET_US + 50_000 * number for number in range(count))
    (folder / TIMES).write_text("".join(f"{time}\n" for time in times), encoding="ascii")


def prepare_plainly(sequence: Path, out: Path, clip_us: int) -> None:
    """Run the plain script in two processes, each of which makes every second clip."""
    words = [(sys.executable, "-c", PLAIN, str(sequence), str(out), str(part), str(clip_us)) for part in (0, 1)]
    processes = [subprocess.Popen(command, cwd=ROOT) for command in words]
    assert [process.wait() for process in processes] == [0, 0]
