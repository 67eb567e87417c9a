"""Stage 2: pixels and prompt to tensors on the device."""

from collections.abc import Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from harness.session.recorder import Recorder
from harness.stages import Length


@pytest.mark.stage("preprocess")
def test_preprocess(pipeline: StagedPipeline, stage_samples: Sequence[Sample], recorder: Recorder) -> None:
    """Resize, crop, normalise and copy to the device; for LLaVA-1.5 frames are first pasted into a grid."""
    recorder.measure_stage(pipeline, stage_samples, length=Length(1))
