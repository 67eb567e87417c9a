"""Stage 1: files to pixels."""

from collections.abc import Sequence
from typing import Any

import pytest

from fixtures.cache.clip_files import load_clip, mp4_clip
from fixtures.pipeline import RawClip, Sample, StagedPipeline
from harness.figures.stages import LEGACY_READER
from harness.session.recorder import Recorder
from harness.session.session import Session
from harness.stages import Length

ANY_LENGTH = Length(1)


@pytest.mark.stage("load")
@pytest.mark.compares_with_draft
def test_load(pipeline: StagedPipeline, stage_samples: Sequence[Sample], recorder: Recorder) -> None:
    """Load event images for EventGPT, an MP4 by --video_reader for Video-LLaVA, PNG frames for LLaVA-1.5."""
    recorder.measure_stage(pipeline, stage_samples, length=ANY_LENGTH)


@pytest.mark.stage("load")
@pytest.mark.compares_with_draft
@pytest.mark.reads("mp4")
def test_load_legacy_reader(
    pipeline: StagedPipeline, stage_samples: Sequence[Sample], recorder: Recorder, session: Session
) -> None:
    """Load the same MP4 files as the old script did: the gated stage-1 speedup is measured by this reader."""

    def load(sample: Any) -> RawClip:
        return load_clip(mp4_clip(sample, session.options.max_frames, "legacy"))

    recorder.measure_stage(pipeline, stage_samples, length=ANY_LENGTH, variant=LEGACY_READER, replacement=load)
