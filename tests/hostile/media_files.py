"""A small dataset of sound files, and how the suite reads each of them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from fixtures.cache.array_store import ArrayStore
from fixtures.cache.clip_files import content_key, png_clip
from fixtures.data import events, media
from fixtures.data.dataset import JSON_NAME, Dataset, dataset_identity
from fixtures.errors import FixtureError, SampleError
from fixtures.pipeline import Sample
from fixtures.preparing.command import PrepareRequest, prepare
from fixtures.video import frames
from fixtures.video.readers.packets import slices_per_picture
from harness.records.lines import PlannedSample
from tests.fixtures.data import made_recordings
from tests.fixtures.video.made_clips import Clip, write_clip

COUNT = 4


def make_dataset(folder: Path) -> list[Path]:
    """Two samples with a file of each kind; the JSON is what is damaged."""
    entries = []
    for name in ("a", "b"):
        entries.append(
            {
                "id": f"{name}_0",
                "split": "test",
                "event_data": f"{name}/0.npy",
                "event_image": [f"{name}/0_{part}.png" for part in range(events.PICTURES)],
                "video_data": f"{name}/0",
                "mp4_data": f"{name}/0.mp4",
                "conversations": [{"from": "human", "value": "<event>\nWhat?"}, {"from": "gpt", "value": "A car."}],
            }
        )
        for kind in ("event_npy", "event_image", "mp4", f"video/{name}/0"):
            (folder / kind / name).mkdir(parents=True, exist_ok=True)
        write_events(folder / "event_npy" / name / "0.npy")
        (folder / "mp4" / name / "0.mp4").write_bytes(b"looked at by nobody")
        for number in range(COUNT):
            (folder / f"video/{name}/0" / f"{number}.png").write_bytes(b"looked at by nobody")
    (folder / JSON_NAME).write_text(json.dumps(entries, indent=1), encoding="utf-8")
    return [folder / JSON_NAME]


def read_dataset(folder: Path) -> Iterator[Exception]:
    """Completing the dataset, then what a run does before it loads the first model, and finding each sample's files."""
    for outcome in prepare(PrepareRequest(folder, event_images=events.PICTURES, workers=1)):
        if outcome.state == "failed":
            yield FixtureError(outcome.problem)
    dataset = Dataset.open(folder)
    dataset_identity(dataset)
    for sample in dataset.samples:
        msgspec.json.encode(_planned(sample))
        for find in (media.event_file, media.event_image_files, media.mp4_file, _frame_files):
            try:
                find(sample)
            except SampleError as error:
                yield error


def _planned(sample: Sample) -> PlannedSample:
    return PlannedSample(
        sample.id, sample.split, "", sample.raw_event_data, sample.raw_video_data, reference=sample.answer
    )


def _frame_files(sample: Sample) -> object:
    return frames.frame_files(sample, COUNT)


def write_events(path: Path, **changes: np.ndarray) -> None:
    """Save fifty events as a dict."""
    places = np.arange(50)
    content = {
        "x": (places * 7 % 64).astype(np.uint16),
        "y": (places * 5 % 48).astype(np.uint16),
        "t": places * 100,
        "p": (places % 2).astype(np.uint8),
    }
    np.save(path, content | changes, allow_pickle=True)


def make_events(folder: Path) -> list[Path]:
    """A saved dict, as event files are, one by protocol 2 with more beside the arrays, and a structured array."""
    write_events(folder / "e.npy")
    table = np.zeros(20, dtype=[("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "u1")])
    np.save(folder / "table.npy", table)
    wrapped = np.array(np.load(folder / "e.npy", allow_pickle=True).item() | {"beside": [{"a": (1, {2})}, None, "b"]})
    (folder / "beside.npy").write_bytes(pickle.dumps(wrapped, protocol=2))
    return [folder / "e.npy", folder / "beside.npy", folder / "table.npy"]


def make_archives(folder: Path) -> list[Path]:
    """Archives of arrays, and a compressed one of a structured array."""
    write_events(folder / "e.npy")
    arrays = np.load(folder / "e.npy", allow_pickle=True).item()
    np.savez(folder / "plain.npz", **arrays)
    np.savez_compressed(folder / "packed.npz", **arrays)
    table = np.zeros(20, dtype=[("p", "?"), ("t", "u4"), ("x", "u2"), ("y", "u2")])
    np.savez_compressed(folder / "table.npz", event_data=table)
    return sorted(folder.glob("*.npz"))


def read_events(folder: Path) -> Iterator[Exception]:
    """EventGPT's stage 1 from raw events."""
    for path in sorted(folder.glob("*.np[yz]")):
        events.draw_event_images(events.read_events(path))
    yield from ()


def make_recording(folder: Path) -> list[Path]:
    """A recording as the embedded dataset can be written."""
    return [made_recordings.write(folder / "events.h5", range(made_recordings.COUNT))]


def read_recording(folder: Path) -> Iterator[Exception]:
    """EventGPT's stage 1 from windows of a recording."""
    for window in made_recordings.WINDOWS:
        events.draw_event_images(events.read_events(folder / f"events.h5#{window}"))
    yield from ()


def make_frames(folder: Path) -> list[Path]:
    """Frames of a clip."""
    from PIL import Image

    for number, picture in enumerate(Clip(frames=COUNT).pictures()):
        Image.fromarray(picture).save(folder / f"{number}.png")
    return sorted(folder.glob("*.png"))[:2]


def read_frames(folder: Path) -> Iterator[Exception]:
    """LLaVA's stage 1."""
    sample = _sample(video_folder=folder)
    png_clip(sample, COUNT).read()
    yield from ()


def make_clip(folder: Path) -> list[Path]:
    """A clip as the suite writes them, and one with its index in front."""
    return [
        write_clip(folder / "c.mp4", Clip(frames=12, gop=6)),
        write_clip(folder / "front.mp4", Clip(frames=12, gop=6, moved=True)),
    ]


def read_clip(folder: Path) -> Iterator[Exception]:
    """Video-LLaVA's stage 1 by both readers, and what else is asked of its file."""
    for path in sorted(folder.glob("*.mp4")):
        content_key([path], [])
        for ask in (
            lambda path=path: frames.read_frames(path, COUNT, reader="fast"),
            lambda path=path: frames.read_frames(path, COUNT, reader="legacy"),
            lambda path=path: slices_per_picture(path),
        ):
            try:
                ask()
            except FixtureError as error:
                yield error


def make_cache(folder: Path) -> list[Path]:
    """A frame cache with one entry."""
    store = ArrayStore(folder / "cache", 10**6)
    store.put("k", np.arange(600, dtype=np.uint8).reshape(10, 20, 3), {"source": "mp4", "indices": [0, 1]})
    return [folder / "cache" / "k.array"]


def read_cache(folder: Path) -> Iterator[Exception]:
    """A look into the cache, which says what is wrong and does without."""
    store = ArrayStore(folder / "cache", 10**6)
    store.get("k")
    yield from (FixtureError(trouble) for trouble in store.warnings)


def _sample(**fields: object) -> Sample:
    absent = dict.fromkeys(("event_data", "video_folder", "mp4", "query", "answer", "raw_event_data", "raw_video_data"))
    return Sample(id="s", split="", event_images=(), **absent | fields)
