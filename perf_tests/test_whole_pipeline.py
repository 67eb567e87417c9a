"""The whole way from files to an answer, every sample of the dataset once, as the old script measured it."""

from collections.abc import Callable, Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from fixtures.selection import Selection
from harness.figures.passes import pass_s
from harness.records.lines import PassRecord
from harness.session.recorder import Recorder
from harness.session.session import Session
from harness.stages import Length

# Between the stages there is nothing but the clock and a dictionary: what the parts leave out must be next to nothing.
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
    """Answers of natural length, up to the end token; the random weights of `full` have none, so theirs are fixed."""
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
    """An exact number of tokens, so that two models or two versions do the same amount of work."""
    if selection.model_set == "full":
        pytest.skip("the whole pass of the full set is of fixed length itself")
    passes = recorder.measure_whole_pass(
        pipeline, few_samples, engine=engine, kind="fixed", length=fixed_length(pipeline.key)
    )
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
    """Samples per second of the same work with files loaded ahead of the model; never mixed with the times above."""
    if not session.options.throughput:
        pytest.skip("measured where --throughput is given")
    natural = Length(session.options.max_new_tokens)
    length = fixed_length(pipeline.key) if selection.model_set == "full" else natural
    recorder.measure_throughput(pipeline, samples, engine=engine, length=length)


def assert_parts_add_up(passes: Sequence[PassRecord]) -> None:
    """The stages, added up over all samples, are the time around them: nothing is left out, nothing counted twice."""
    if not passes:  # with benchmarks disabled nothing was timed
        return
    parts, whole = sum(map(pass_s, passes)), sum(each.whole_s for each in passes)
    assert parts == pytest.approx(whole, rel=TOLERANCE), f"stages add up to {parts:.4f} s of {whole:.4f} s"
