"""Stage 3: images to the embeddings that the language model takes."""

from collections.abc import Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from harness.session.recorder import Recorder
from harness.stages import Length


@pytest.mark.stage("vision")
def test_encode_vision(
    pipeline: StagedPipeline, engine: str, stage_samples: Sequence[Sample], recorder: Recorder
) -> None:
    """Run CLIP and projector, for EventGPT also the adaptor and the pooling over space and time."""
    recorder.measure_stage(pipeline, stage_samples, length=Length(1), engine=engine)
