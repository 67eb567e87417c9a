"""Stage 4 in its two halves: prefill, bound by arithmetic, and decode, bound by memory bandwidth."""

from collections.abc import Callable, Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from harness.session.recorder import Recorder
from harness.stages import Length


@pytest.mark.stage("prefill")
def test_prefill(pipeline: StagedPipeline, engine: str, stage_samples: Sequence[Sample], recorder: Recorder) -> None:
    """Run the whole prompt once through the language model."""
    recorder.measure_stage(pipeline, stage_samples, length=Length(1), engine=engine)


@pytest.mark.stage("decode")
def test_decode(
    pipeline: StagedPipeline,
    engine: str,
    stage_samples: Sequence[Sample],
    fixed_length: Callable[[str], Length],
    recorder: Recorder,
) -> None:
    """Decode an exact number of tokens, past end tokens too, so that milliseconds per token are comparable."""
    recorder.measure_stage(pipeline, stage_samples, length=fixed_length(pipeline.key), engine=engine)
