"""How often each stage of a stub suite runs, on which samples, and for how long an answer."""

import pytest

from harness.figures.metrics import session_metrics
from harness.stages import STAGES
from tests.harness.stub_suite import StubSuite, worked

FIXED_PASS = """
import pytest
from harness.stages import Length

@pytest.mark.stage("whole")
def test_whole(pipeline, engine, samples, recorder):
    recorder.measure_whole_pass(pipeline, samples, engine=engine, kind="whole", length=Length(20, fixed=True))
"""


@pytest.fixture
def suite(tmp_path):
    return StubSuite(tmp_path)


def test_a_stage_runs_in_cold_then_timed_then_memory_rounds_and_no_others(suite):
    result = suite.run("-k", "load and egpt", "-s")
    assert worked(result, "egpt", "load") == [*["s0", "s1", "s2"] * (1 + 4), "s0"]
    (load,) = suite.record().stages
    assert load.cold_s == {"s0": 0.5, "s1": 0.5, "s2": 0.5}
    assert list(load.memory) == ["s0"]  # on a CPU it is that of the process
    assert len(load.round_s) == 12


def test_every_stage_of_the_first_sample_is_watched_and_told_without_a_profiler_too(suite):
    result = suite.run("-k", "work and egpt", "-s", "--work_ledger")
    assert worked(result, "egpt", "decode") == ["s0"] * 4, (
        "three times before, so that nothing is made for the first time"
    )
    found = suite.record().works
    assert [each.stage for each in found] == list(STAGES)
    assert {each.engine for each in found[:2]} == {None}
    decode = found[-1]
    assert (decode.test, decode.model, decode.engine) == ("suite/test_stub.py::test_work[egpt-eager]", "egpt", "eager")
    assert (decode.sample, decode.counts, decode.profiler) == ("s0", {"files": 0, "read_bytes": 0, "tokens": 8}, "")
    assert "PyTorch is not loaded" in decode.reason
    assert decode.versions["numpy"]


def test_a_stage_that_fails_when_it_is_watched_fails_no_test_and_says_why(suite):
    result = suite.run("-k", "(load or work) and egpt", "--work_ledger", STUB_FAIL="preprocess:s0:4")
    assert result.returncode == 0, result.stdout
    load, failed = suite.record().works
    assert (load.stage, load.counts["files"]) == ("load", 0)
    assert (failed.stage, failed.sample, failed.counts, failed.profiler) == ("preprocess", "s0", {}, "")
    assert failed.reason == "preprocess of sample 's0' failed: ValueError: preprocess of s0 cannot be done"


# Of three samples: cold rounds, timed ones, a memory round. A decode of egpt takes 2 s, of videollava 8 s.
@pytest.mark.parametrize(
    ("model", "stage", "arguments", "timed"),
    [
        ("egpt", "load", (), 5),
        ("egpt", "decode", (), 3),
        ("videollava", "load", (), 3),
        ("videollava", "decode", (), 3),
        ("videollava", "decode", ("--rounds=4",), 4),
        ("videollava", "decode", ("--rounds=1",), 1),
        ("egpt", "decode", ("--gate",), 20),
    ],
)
def test_a_stage_that_takes_long_gets_fewer_rounds_unless_their_number_is_given(suite, model, stage, arguments, timed):
    result = suite.run("-k", f"{stage} and {model}", "-s", *arguments, rounds=())
    assert worked(result, model, stage) == [*["s0", "s1", "s2"] * (1 + timed), "s0"]
    (record,) = suite.record().stages
    assert record.round_samples == ("s0", "s1", "s2") * timed
    (entry,) = suite.json("benchmark.json")["benchmarks"]
    assert len(entry["stats"]["data"]) == 3 * timed


@pytest.mark.parametrize(("samples", "timed"), [(7, 3), (8, 2), (9, 2)])
def test_sixteen_rounds_of_all_samples_are_enough_where_each_has_two(suite, samples, timed):
    """Three of 0.04 s a sample of seven, since two are fourteen."""
    stub = suite.folder / "suite" / "conftest.py"
    stub.write_text(stub.read_text().replace("range(3)", f"range({samples})"))
    suite.run("-k", "load and egpt", rounds=(), STUB_SLOWER="egpt:load:0.08")
    assert len(suite.record().stages[0].round_s) == samples * timed


@pytest.mark.parametrize(("factor", "timed"), [("1.99", 4), ("2.01", 3)])
def test_rounds_are_long_from_three_seconds_a_sample_on(suite, factor, timed):
    """By three rounds of load, which takes half a second times the factor."""
    suite.run("-k", "load and egpt", rounds=(), STUB_SLOWER=f"egpt:load:{factor}")
    assert len(suite.record().stages[0].round_s) == 3 * timed


@pytest.mark.parametrize(("seconds", "timed"), [("0.1", 2), ("2.9", 6), ("3.1", 7), ("90", 20)])
def test_short_rounds_fill_the_time_that_is_asked_for_up_to_ten_times_as_many(suite, seconds, timed):
    """A round of load takes half a second; a gate counts those that were planned."""
    suite.run("-k", "load and egpt", f"--measurement_time={seconds}", rounds=("--rounds=2",))
    run = suite.record()
    assert run.stages[0].round_samples == ("s0", "s1", "s2") * timed
    assert session_metrics(run)["time.load.egpt"].rounds == 3 * 2


def test_rounds_that_are_soon_over_have_reference_work_between_them_as_well(suite):
    """Twenty rounds of 0.01 s a sample are the most; of 2.91 s a hundredth is 0.029 s: a reading before each third."""
    suite.run("-k", "load and egpt", "--measurement_time=0.97", rounds=("--rounds=2",), STUB_SLOWER="egpt:load:0.02")
    run = suite.record()
    (during,) = [each for each in run.reference_work if each.test]
    assert (len(run.stages[0].round_s), len(during.read_s)) == (60, 20)


@pytest.mark.parametrize(
    ("states", "rounds", "repeated"),
    [
        ("cold warm warm cold warm", 63, True),  # a cold round of each sample in 60: five percent
        ("cold warm cold cold warm", 60, False),
        ("cold warm cold cold cold warm", 60, False),
    ],
)
def test_a_few_rounds_that_find_the_file_in_another_state_are_measured_again(suite, states, rounds, repeated):
    result = suite.run("-k", "load and egpt", rounds=("--rounds=20",), STUB_STATES=states)
    (load,) = suite.record().stages
    warm = load.round_states.count("warm")
    assert (len(load.round_s), warm) == (rounds, 60 if repeated else 60 - 3 * (states.count("cold") - 1))
    (entry,) = suite.json("benchmark.json")["benchmarks"]
    assert len(entry["stats"]["data"]) == warm
    advice = "advice: load of egpt: 3 of 63 rounds found the file in another state (cold, not warm); they are left out"
    assert (advice in result.stdout) == repeated
    assert [load.round_samples[:60].count(sample) for sample in ("s0", "s1", "s2")] == [20] * 3
    assert load.round_samples[60:] == (("s0", "s1", "s2") if repeated else ())


def test_a_round_that_stays_in_another_state_is_repeated_so_often_and_no_more(suite):
    """From the 60th round on everything is cold: three of them are taken, and none that is warm comes of it."""
    states = " ".join(["cold", *["warm"] * 19, "cold"])
    suite.run("-k", "load and egpt", rounds=("--rounds=20",), STUB_STATES=states)
    assert suite.record().stages[0].round_states == ("warm",) * 57 + ("cold",) * 6


def test_every_timed_decode_gets_a_fresh_prefill(suite):
    result = suite.run("-k", "decode and egpt", "-s")
    assert result.returncode == 0
    assert len(worked(result, "egpt", "prefill")) == len(worked(result, "egpt", "decode")) == 16


def test_the_whole_pass_takes_each_sample_once_after_the_warm_up_and_on_a_cpu_no_other_pass(suite):
    result = suite.run("-k", "whole and egpt", "-s", "--warmup_steps=2")
    passes = suite.record().passes
    assert worked(result, "egpt", "load") == ["s0", "s1", "s0", "s1", "s2"]
    assert [(each.sample, each.kind) for each in passes] == [("s0", "whole"), ("s1", "whole"), ("s2", "whole")]
    assert {each.whole_s for each in passes} == {3.875}
    assert passes[0].stage_s == {"load": 0.5, "preprocess": 0.25, "vision": 0.125, "prefill": 1.0, "decode": 2.0}


def test_answers_of_the_warm_up_are_short(suite):
    """Under the stub's fixed length every decode is as long as it is asked for."""
    (suite.folder / "suite" / "test_stub.py").write_text(FIXED_PASS)
    result = suite.run("-k", "egpt", "-s", "--warmup_steps=2")
    asked = [line.split()[2] for line in result.stderr.splitlines() if line.startswith("tokens egpt ")]
    assert worked(result, "egpt", "decode") == ["s0", "s1", "s0", "s1", "s2"]
    assert asked == ["8", "8", "20", "20", "20"]
    assert {len(each.token_ids) for each in suite.record().passes} == {20}
