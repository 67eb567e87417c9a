"""Stages 1 and 2 with the frame cache, versus the same without it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from fixtures.cache.clip_files import load_clip, mp4_clip
from fixtures.cache.frame_cache import FRAME_CACHES, open_frame_cache
from fixtures.models.staged import StagedBase
from fixtures.pipeline import Sample, StagedPipeline
from harness.measuring.rounds import Interleaved
from harness.session.recorder import Recorder
from harness.session.session import Session


@pytest.mark.stage("frame cache")
@pytest.mark.reads("mp4")
@pytest.mark.parametrize("mode", [name for name in FRAME_CACHES if name != "off"])
def test_frame_cache(
    pipeline: StagedPipeline,
    mode: str,
    stage_samples: Sequence[Sample],
    recorder: Recorder,
    session: Session,
    tmp_path: Path,
) -> None:
    """Use a new cache, filled before the first pair; both stages are timed, since caches move work between them."""
    assert isinstance(pipeline, StagedBase)
    options = session.options
    cache = open_frame_cache(mode, tmp_path, options.cache_size)

    def prepare(sample: Sample) -> Interleaved:
        def cached() -> torch.Tensor:
            return pipeline.pixels(
                cache.load(mp4_clip(sample, options.max_frames, options.video_reader), pipeline.resizer)
            )

        def plain() -> torch.Tensor:
            return pipeline.pixels(load_clip(mp4_clip(sample, options.max_frames, options.video_reader)))

        cached()
        same = torch.equal(cached(), plain())
        what = f"stages 1 and 2, {options.max_frames} frames of an MP4"
        complaint = "" if same else f"the cache of {mode} gives other pixels"
        return Interleaved(what, (f"{mode} in the cache", cached), ("no cache", plain), complaint=complaint)

    recorder.measure_side_by_side(stage_samples, prepare)
