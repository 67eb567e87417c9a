"""Stages 1 and 2 without the frame cache, with frames out of it, and with resized pixels out of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.clip_files import load_clip, mp4_clip
from fixtures.dataset import Sample
from fixtures.frame_cache import FRAME_CACHES, open_frame_cache
from fixtures.pipeline import RawClip, StagedPipeline
from fixtures.staged import StagedBase
from harness.recorder import Recorder
from harness.session import Session
from harness.stages import Length

SAMPLES = 2


@pytest.fixture(scope="module")
def medians_s() -> dict[str, float]:
    """Of the modes measured so far: the ratio to the first one, "off", is what a user wants to know."""
    return {}


@pytest.mark.stage("load")
@pytest.mark.models("videollava")
@pytest.mark.parametrize("mode", FRAME_CACHES)
def test_frame_cache(
    pipeline: StagedPipeline,
    mode: str,
    stage_samples: Sequence[Sample],
    recorder: Recorder,
    session: Session,
    medians_s: dict[str, float],
    tmp_path: Path,
) -> None:
    """A cache of its own, filled by the cold round: what stage 1 leaves to stage 2 differs, so both are in the time."""
    assert isinstance(pipeline, StagedBase)
    options, samples = session.options, stage_samples[:SAMPLES]
    cache = open_frame_cache(mode, tmp_path, options.cache_size)

    def load(sample: Any) -> RawClip:
        return cache.load(mp4_clip(sample, options.max_frames, options.video_reader), pipeline)

    def load_and_preprocess(sample: Any) -> RawClip:
        clip = load(sample)
        pipeline.preprocess(clip)
        return clip

    variant = f"1+2, {mode}"
    recorder.measure_stage(pipeline, samples, length=Length(1), variant=variant, replacement=load_and_preprocess)
    recorder.benchmark.extra_info["frame_cache"] = mode
    for sample in samples:
        plain = load_clip(mp4_clip(sample, options.max_frames, options.video_reader))
        assert torch.equal(pipeline.pixels(load(sample)), pipeline.pixels(plain)), f"{mode}: other pixels"
    if recorder.benchmark.enabled:
        medians_s[mode] = recorder.benchmark.stats.stats.median
        if "off" in medians_s:
            recorder.benchmark.extra_info["speedup_over_off"] = medians_s["off"] / medians_s[mode]
