"""The pass whose files are loaded ahead: what it records, and what it leaves alone."""

import pytest

from harness.figures.passes import comparisons, passes, samples_per_second, throughput
from harness.legacy.writing import legacy_records
from tests.harness.made_runs import failed_pass, full_run, header, whole_pass
from tests.harness.stub_suite import StubSuite

TEST = """
import pytest
from harness.stages import Length

@pytest.mark.stage("throughput")
def test_throughput(pipeline, engine, samples, recorder):
    recorder.measure_throughput(pipeline, samples, engine=engine, length=Length(100))
"""
FAULTS = "load:s0:2 prefill:s1"  # the first sample's second load: its first is the one that warms up


@pytest.fixture
def suite(tmp_path):
    stub = StubSuite(tmp_path)
    (tmp_path / "suite" / "test_stub.py").write_text(TEST)
    return stub


def test_every_sample_is_recorded_and_failures_are_as_everywhere_else(suite):
    result = suite.run("-k", "egpt", STUB_FAIL=FAULTS)
    assert result.returncode == 1
    assert "load of sample 's0' failed: ValueError: load of s0 cannot be done" in result.stdout
    assert "2 of 3 samples failed: s0, s1" in result.stdout
    found = {each.sample: (each.kind, each.failure and each.failure.stage) for each in suite.record().passes}
    assert found == {"s0": ("throughput", "load"), "s1": ("throughput", "prefill"), "s2": ("throughput", None)}
    answered = suite.record().passes[2]
    assert (answered.token_ids, answered.stage_s, answered.source) == ((5, 6, 7), {}, "nothing (stub)")
    (entry,) = suite.json("benchmark.json")["benchmarks"]
    assert entry["stats"]["rounds"] == 1
    rate = samples_per_second(suite.record().passes)
    assert entry["extra_info"]["samples_per_second"] == rate == 1 / entry["stats"]["total"]
    assert "Throughput" in result.stdout.splitlines()


def test_a_pass_in_which_all_fails_has_no_figure(suite):
    result = suite.run("-k", "egpt", STUB_FAIL="load:s0 load:s1 load:s2")
    assert result.returncode == 1
    assert "INTERNALERROR" not in result.stdout
    assert "Throughput" not in result.stdout.splitlines()
    assert suite.json("benchmark.json")["benchmarks"] == []


def test_disabled_benchmarks_take_one_sample_through(suite):
    result = suite.run("--benchmark-disable", "-k", "egpt", "-s")
    assert result.returncode == 0, result.stdout
    assert result.stderr.count("worked egpt decode") == 1
    assert not (suite.folder / "out").exists()


def ahead(model, sample, seconds):
    return whole_pass(model, sample, kind="throughput", stage_s={}, whole_s=seconds)


def test_samples_that_failed_take_time_and_do_not_count():
    failed = failed_pass("egpt", "s3", kind="throughput", stage_s={}, whole_s=1.0)
    run = full_run(passes=(ahead("egpt", "s1", 2.0), ahead("egpt", "s2", 1.0), failed))
    assert throughput(run, "egpt", "eager") == 0.5
    assert throughput(run, "egpt", "graph") is None
    assert throughput(run, "llava", "eager") is None


def test_it_is_mixed_with_no_other_figure():
    run = full_run()
    more = full_run(
        header=header(("s1", "s2", "s3"), models=run.header.models, targets=run.header.targets,
                      options={"gamma": 5, "loader_workers": 2}),
        passes=(*run.passes, *(ahead(model, sample, 9.0) for model in run.header.models for sample in ("s1", "s2"))),
    )  # fmt: skip
    assert comparisons(more) == comparisons(run)
    assert legacy_records(more) == legacy_records(run)
    for model in run.header.models:
        assert passes(more, "whole", model, "eager") == passes(run, "whole", model, "eager")
