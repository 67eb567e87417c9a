"""The tests of the stub suite: the same calls as the real one."""

import pytest

from harness.figures.passes import pass_s
from harness.session.recorder import watch_work
from harness.stages import STAGES, Length

SIX = Length(6, fixed=True)


@pytest.mark.stage("load")
def test_load(pipeline, samples, recorder):
    recorder.measure_stage(pipeline, samples, length=SIX)


@pytest.mark.stage("decode")
def test_decode(pipeline, engine, samples, recorder):
    recorder.measure_stage(pipeline, samples, length=SIX, engine=engine)


@pytest.mark.stage("whole")
def test_whole(pipeline, engine, samples, recorder):
    passes = recorder.measure_whole_pass(
        pipeline, samples, engine=engine, kind="whole", length=Length(100), also_unsynchronised=samples[:2]
    )
    assert all(pass_s(each) == pytest.approx(each.whole_s) for each in passes)


def test_work(request, session, pipeline, engine, samples):
    if session.options.work_ledger:
        length, test = Length(100, fixed=True), request.node.nodeid
        watch_work(session, test, pipeline, samples[0], length=length, engine=engine, stages=STAGES)
