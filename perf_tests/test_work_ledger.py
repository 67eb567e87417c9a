"""The ledger of work: counts of each stage's work, taken after all timed tests of a model."""

from collections.abc import Callable, Sequence

import pytest

from fixtures.pipeline import Sample, StagedPipeline
from fixtures.selection import Selection
from harness.measuring.benchmark import is_switched_off
from harness.measuring.work import ON_DEVICE
from harness.session.recorder import watch_work
from harness.session.session import Session
from harness.stages import STAGES, Length


@pytest.mark.watches
def test_work(
    request: pytest.FixtureRequest,
    session: Session,
    selection: Selection,
    pipeline: StagedPipeline,
    engine: str,
    stage_samples: Sequence[Sample],
    fixed_length: Callable[[str], Length],
) -> None:
    """Run all stages of the first sample under a profiler; stages on the host are recorded once per model."""
    if not session.options.work_ledger or is_switched_off(request.config):
        pytest.skip("work is not counted: --no_work_ledger, or benchmarks are disabled")
    stages = STAGES if engine == selection.engines[0] else ON_DEVICE
    length, test = fixed_length(pipeline.key), request.node.nodeid
    watch_work(session, test, pipeline, stage_samples[0], length=length, engine=engine, stages=stages)
