"""The whole pipeline from files to an answer, once for every sample of the dataset, as the old script measured it."""

from collections.abc import Callable, Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from fixtures.selection import Selection
from harness.figures.passes import median_stage_share
from harness.records.lines import PassRecord
from harness.session.recorder import Recorder
from harness.session.session import Session
from harness.stages import Length

# Largest relative difference of the stages' sum from the total: between stages are only the clock and a dictionary.
TOLERANCE = 0.02


@pytest.mark.stage("whole")
@pytest.mark.compares_with_draft
def test_whole_pipeline(
    pipeline: StagedPipeline,
    engine: str,
    samples: Sequence[Sample],
    stage_samples: Sequence[Sample],
    selection: Selection,
    session: Session,
    fixed_length: Callable[[str], Length],
    recorder: Recorder,
) -> None:
    """Answer up to the end token; in the set full, whose random weights give none, with a fixed length."""
    natural = Length(session.options.max_new_tokens)
    passes = recorder.measure_whole_pass(
        pipeline,
        samples,
        engine=engine,
        kind="whole",
        length=fixed_length(pipeline.key) if selection.model_set == "full" else natural,
        also_unsynchronised=stage_samples,
    )
    assert_parts_add_up(passes)


@pytest.mark.stage("whole")
def test_whole_pipeline_fixed(
    pipeline: StagedPipeline,
    engine: str,
    few_samples: Sequence[Sample],
    selection: Selection,
    fixed_length: Callable[[str], Length],
    recorder: Recorder,
) -> None:
    """Answer with an exact number of tokens, so that two models or two versions do the same amount of work."""
    if selection.model_set == "full":
        pytest.skip("in the set full, the whole pass already has a fixed length")
    length = fixed_length(pipeline.key)
    passes = recorder.measure_whole_pass(pipeline, few_samples, engine=engine, kind="fixed", length=length)
    assert_parts_add_up(passes)


@pytest.mark.stage("throughput")
def test_throughput(
    pipeline: StagedPipeline,
    engine: str,
    samples: Sequence[Sample],
    selection: Selection,
    session: Session,
    fixed_length: Callable[[str], Length],
    recorder: Recorder,
) -> None:
    """Measure samples per second with files loaded ahead of the model, apart from the times of the whole pass."""
    if not session.options.throughput:
        pytest.skip("needs --throughput")
    natural = Length(session.options.max_new_tokens)
    length = fixed_length(pipeline.key) if selection.model_set == "full" else natural
    recorder.measure_throughput(pipeline, samples, engine=engine, length=length)


def assert_parts_add_up(passes: Sequence[PassRecord]) -> None:
    """Assert that the stages add up to the time of their pass within TOLERANCE, in the median of the passes."""
    if passes:  # with benchmarks disabled nothing was timed
        share = median_stage_share(passes)
        assert share == pytest.approx(1, rel=TOLERANCE), f"stages add up to {100 * share:.1f} % of a pass's time"
