"""The cost and benefit of the frame cache."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from fixtures.cache.clip_files import load_clip, mp4_clip
from fixtures.cache.frame_cache import open_frame_cache
from fixtures.data.dataset import JSON_NAME, Dataset
from fixtures.model_sets.loading import ModelSettings, pipeline_loaders
from fixtures.models.settings import PipelineSettings
from fixtures.models.staged import StagedBase
from fixtures.pipeline import Sample, StagedPipeline
from fixtures.preparing.cache_jobs import CacheRequest
from fixtures.preparing.command import PrepareRequest, prepare
from fixtures.system.devices import use_threads_for
from fixtures.video.frames import read_mp4
from harness.measuring.rounds import seconds_in_turn
from tests.goals.goal_table import GoalRow

FRAMES = 8
ROUNDS, LEGACY_ROUNDS = 60, 5


def cache_rows(sample: Sample, folder: Path) -> list[GoalRow]:
    """Rows for frame hits against a copy of their bytes, and for pixel hits against stages 1 and 2 of the old script.

    `sample` has a clip of 1440x1080 and 5 s; `folder` is empty. Asserts that hits give the exact pixels.
    """
    return [*_frame_rows(sample, folder / "frames"), *_pixel_rows(sample, folder / "pixels")]


def _frame_rows(sample: Sample, folder: Path) -> list[GoalRow]:
    cache = open_frame_cache("frames", folder, None)
    pipeline = _videollava(ModelSettings())

    def hit() -> tuple[NDArray[np.uint8], ...]:
        return cache.load(mp4_clip(sample, FRAMES, "fast"), pipeline.resizer).images

    def copy() -> NDArray[np.uint8]:
        return np.stack(frames)

    def hit_and_copy() -> NDArray[np.uint8]:
        return np.stack(hit())

    frames = tuple(np.stack(hit()))
    assert np.array_equal(hit(), frames)
    hit_s = median(seconds_in_turn([("hit", hit)], ROUNDS)["hit"])
    both = seconds_in_turn([("copy", copy), ("hit and copy", hit_and_copy)], ROUNDS)
    copy_s, hit_and_copy_s = median(both["copy"]), median(both["hit and copy"])
    what = f"frame-cache hit, 8 frames of {frames[0].shape[1]}x{frames[0].shape[0]}"
    copying = "copying those bytes to fresh memory"
    return [
        GoalRow(f"{what}, memory-mapped", 1000 * hit_s, "ms", "under 0.5 ms", ROUNDS, copying, 1000 * copy_s),
        GoalRow(
            f"{what}, copied", 1000 * hit_and_copy_s, "ms", "within 1.3x of the copy", ROUNDS, copying, 1000 * copy_s
        ),
    ]


def _pixel_rows(sample: Sample, folder: Path) -> list[GoalRow]:
    cache = open_frame_cache("pixels", folder, None)
    plain = _videollava(ModelSettings())
    pipeline = _videollava(ModelSettings(pipeline=PipelineSettings(frame_cache=cache)))
    old = _videollava(ModelSettings(processor="pil"))

    def by_cache() -> torch.Tensor:
        return pipeline.preprocess(pipeline.load(sample)).pixel_values

    def legacy() -> torch.Tensor:
        return old.preprocess(load_clip(mp4_clip(sample, FRAMES, "legacy"))).pixel_values

    use_threads_for("tiny", "cpu")
    wanted = plain.preprocess(plain.load(sample)).pixel_values
    assert torch.equal(by_cache(), wanted)
    assert torch.equal(by_cache(), wanted)
    legacy_s = median(seconds_in_turn([("legacy", legacy)], LEGACY_ROUNDS)["legacy"])
    hit_s = median(seconds_in_turn([("hit", by_cache)], ROUNDS)["hit"])
    what = "stages 1 + 2 on a pixel-cache hit"
    goal = "under 1.5 ms, at least 300x legacy on the 5 s clip"
    return [GoalRow(what, 1000 * hit_s, "ms", goal, ROUNDS, "legacy reader and PIL processor", 1000 * legacy_s)]


def _videollava(settings: ModelSettings) -> StagedBase:
    pipeline: StagedPipeline = pipeline_loaders(settings, ["videollava"])["videollava"]()
    assert isinstance(pipeline, StagedBase)
    return pipeline


def dataset_of_clips(clip: Path, folder: Path, samples: int) -> Path:
    """Write a dataset of `samples` samples to `folder`, each with its own copy of the clip."""
    entries = []
    for number in range(samples):
        path = folder / "mp4" / "copies" / f"{number:06d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, path)
        entries.append({"id": f"copy_{number:06d}", "mp4_data": f"copies/{path.name}"})
    (folder / JSON_NAME).write_text(json.dumps(entries), encoding="utf-8")
    return folder


def preparing_frames(folder: Path, cache: Path, workers: int) -> tuple[float, float, int]:
    """Seconds of `prepare --cache frames`, seconds of one process reading by the legacy reader, and the clips.

    The first includes process start, and writing every frame with its checksum.
    """
    samples = Dataset.open(folder).samples
    start = time.perf_counter()
    outcomes = prepare(PrepareRequest(folder, workers=workers, cache=CacheRequest("frames", cache, max_frames=FRAMES)))
    ours_s = time.perf_counter() - start
    assert [outcome.state for outcome in outcomes] == ["made"] * len(samples)
    start = time.perf_counter()
    for sample in samples:
        read_mp4(sample, FRAMES, reader="legacy")
    return ours_s, time.perf_counter() - start, len(samples)
