"""Stage 4 in its two halves, which are bound by different things: arithmetic, and memory bandwidth."""

from collections.abc import Callable, Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from harness.session.recorder import Recorder
from harness.stages import Length


@pytest.mark.stage("prefill")
def test_prefill(pipeline: StagedPipeline, engine: str, stage_samples: Sequence[Sample], recorder: Recorder) -> None:
    """The whole prompt once through the language model."""
    recorder.measure_stage(pipeline, stage_samples, length=Length(1), engine=engine)


@pytest.mark.stage("decode")
def test_decode(
    pipeline: StagedPipeline,
    engine: str,
    stage_samples: Sequence[Sample],
    fixed_length: Callable[[str], Length],
    recorder: Recorder,
) -> None:
    """An exact number of tokens, end token or not, so that milliseconds a token can be compared."""
    recorder.measure_stage(pipeline, stage_samples, length=fixed_length(pipeline.key), engine=engine)
