"""Stage 2: pixels and prompt to tensors on the device."""

from collections.abc import Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from harness.session.recorder import Recorder
from harness.stages import Length


@pytest.mark.stage("preprocess")
def test_preprocess(pipeline: StagedPipeline, stage_samples: Sequence[Sample], recorder: Recorder) -> None:
    """Resize, crop, normalise; for LLaVA-1.5 the grid is pasted first; then the copy to the device."""
    recorder.measure_stage(pipeline, stage_samples, length=Length(1))
