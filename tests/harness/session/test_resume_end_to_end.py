"""Going on with a run, as a user does: the stub suite killed, interrupted and resumed, in processes of its own."""

import json
import shutil
import signal

import pytest

from harness.records.journal import Journal
from tests.harness.stub_suite import StubSuite, worked

KILLED = "videollava:decode:s1:1"


@pytest.fixture
def suite(tmp_path):
    return StubSuite(tmp_path)


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory):
    stub = StubSuite(tmp_path_factory.mktemp("killed"))
    assert stub.run("-k", "whole", STUB_KILL=KILLED).returncode == -signal.SIGKILL
    return stub.folder / "out"


@pytest.fixture
def killed(suite, killed_once):
    """A run that was killed in the second sample of its second model."""
    shutil.copytree(killed_once, suite.folder / "out")
    return suite


def lines(suite, kind, output="out"):
    """The lines of a kind as the journal has them, before anything is made of them."""
    text = (suite.folder / output / "journal.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, text) if line["record"] == kind]


def passes(suite):
    return [(line["model"], line["kind"], line["sample"]) for line in lines(suite, "pass")]


def without_times(records):
    kept = ("id", "egpt", "videollava", "egpt_token_ids", "videollava_token_ids", "egpt_error", "videollava_error",
            "videollava_acceptance_matched")  # fmt: skip
    return [{key: record[key] for key in kept if key in record} for record in records]


def test_a_killed_run_goes_on_where_it_was_and_comes_to_the_same_answers(suite, killed_once):
    assert suite.run("-k", "whole", output="undisturbed").returncode == 0
    shutil.copytree(killed_once, suite.folder / "out")
    result = suite.resume("-k", "whole", "-s")
    assert result.returncode == 0, result.stdout
    assert worked(result, "egpt", "load") == []
    assert worked(result, "videollava", "load") == ["s0", "s1", "s2"]  # warm-up, then the rest
    assert len(passes(suite)) == len(set(passes(suite))) == 6
    assert without_times(suite.legacy()) == without_times(suite.legacy("undisturbed"))
    assert suite.legacy()[0]["videollava_time"] == 4 * 3.875
    assert suite.record().end.exit_status == 0
    assert suite.record().header.started_at == suite.legacy()[0]["benchmark_datetime"]


def test_stage_tests_are_measured_anew_and_the_later_measurement_holds(suite):
    suite.run(STUB_KILL=KILLED)
    before = len(lines(suite, "stage"))
    assert before >= 2  # those of the draft; whether the target's first is there too depends on pytest's order of tests
    assert suite.resume(STUB_SLOWER="egpt:load:2").returncode == 0
    found = {stage.test.partition("::")[2]: stage.round_s for stage in suite.record().stages}
    assert [len(found), len(suite.record().stages)] == [4, 4]
    assert found["test_load[egpt]"] == (1.0,) * 12
    assert len(lines(suite, "stage")) == before + 4


def test_a_torn_last_line_is_cut_off_and_its_sample_taken_again(killed):
    journal = killed.folder / "out" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    result = killed.resume("-k", "whole", "-s")
    assert result.returncode == 0, result.stdout
    assert worked(result, "videollava", "decode")[:4] == ["s0", "s0", "s1", "s2"]
    assert len(passes(killed)) == len(set(passes(killed))) == 6


def test_the_newest_run_is_the_one_that_is_gone_on_with_unless_another_is_named(suite):
    first = suite.run("-k", "whole", output="results/one", STUB_KILL=KILLED)
    assert first.returncode == -signal.SIGKILL
    assert suite.resume("-k", "whole", output="latest").returncode == 0
    assert suite.record("results/one").end is not None


def test_a_finished_run_is_not_gone_on_with(suite):
    suite.run("-k", "whole")
    before = (suite.folder / "out" / "journal.jsonl").read_bytes()
    result = suite.resume("-k", "whole")
    assert result.returncode == 4
    assert "this run has come to its end" in result.stderr
    assert (suite.folder / "out" / "journal.jsonl").read_bytes() == before


def test_other_work_is_refused_by_name_and_nothing_is_written(killed):
    before = (killed.folder / "out" / "journal.jsonl").read_bytes()
    result = killed.resume("-k", "whole", "--max_new_tokens=2")
    assert result.returncode == 4
    assert "option max_new_tokens was 512, is 2" in result.stdout
    assert (killed.folder / "out" / "journal.jsonl").read_bytes() == before


def test_a_limit_that_was_changed_is_other_work_too(killed):
    result = killed.resume("-k", "whole", STUB_LIMITS="eager.speedup.videollava.total=3")
    assert result.returncode == 4
    assert "limit eager.speedup.videollava.total is 3.0, was not known" in result.stdout


def test_other_weights_are_refused_when_the_model_is_loaded(killed):
    stub = killed.folder / "suite" / "conftest.py"
    stub.write_text(stub.read_text() + "\n\nModelOfKnownSpeed.facts = lambda self: StubFacts('OtherPipeline')\n")
    result = killed.resume("-k", "whole")
    assert result.returncode == 2
    assert "model egpt: model_class was StubPipeline, is OtherPipeline" in result.stdout
    assert len(passes(killed)) == 4


def test_samples_that_failed_stay_failed_unless_they_are_to_be_taken_again(suite):
    faults = {"STUB_FAIL": "prefill:s1"}
    suite.run("-k", "whole", STUB_KILL="videollava:decode:s2:1", **faults)
    result = suite.resume("-k", "whole", "-s")
    assert result.returncode == 1
    assert worked(result, "egpt", "load") == []
    assert "prefill of s1 cannot be done" in result.stdout
    assert suite.legacy()[1]["egpt_error"] == "ValueError: prefill of s1 cannot be done"


def test_samples_that_failed_are_taken_again_when_asked_for(suite):
    suite.run("-k", "whole", STUB_KILL="videollava:decode:s2:1", STUB_FAIL="prefill:s1")
    result = suite.resume("-k", "whole", "-s", "--retry_failed")
    assert result.returncode == 0, result.stdout
    assert worked(result, "egpt", "load") == ["s0", "s1"]  # warm-up, then the pass
    assert "egpt_error" not in suite.legacy()[1]
    assert "samples failed" not in result.stdout


def test_retrying_without_resuming_is_a_usage_error(suite):
    result = suite.run("--retry-failed")
    assert result.returncode == 4
    assert "--retry_failed goes with --resume" in result.stderr


def test_a_resumed_run_is_no_session_for_a_gate_and_none_for_a_baseline(killed):
    refused = killed.resume("-k", "whole", "--gate")
    assert refused.returncode == 4
    assert "--gate needs one process" in refused.stderr
    assert killed.resume("-k", "whole").returncode == 0
    added = killed.python("harness", "baseline", "add", "out")
    assert added.returncode == 2
    assert "the run was resumed" in added.stderr


def test_a_run_at_work_is_refused_to_a_second_one_which_is_told_who_has_it(killed):
    held = Journal(killed.folder / "out" / "journal.jsonl", reopen=True)
    try:
        result = killed.resume("-k", "whole")
    finally:
        held.close()
    assert result.returncode == 4
    pid = lines(killed, "header")[0]["environment"]["pid"]
    assert f"process {pid} is writing this run since {killed.record().header.started_at}" in result.stdout
    assert killed.resume("-k", "whole").returncode == 0


def interrupted(suite, number, *arguments):
    """Send a signal in the middle of the first sample of the target."""
    return suite.run("-k", "whole", "-s", *arguments, STUB_SIGNAL=f"videollava:vision:s1:1:{int(number)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_sample_derives_the_files_and_says_how_to_go_on(suite, number):
    result = interrupted(suite, number)
    assert result.returncode == 2
    assert passes(suite)[-1] == ("videollava", "whole", "s1")
    assert [record["id"] for record in suite.legacy() if "videollava_time" in record] == ["s0", "s1"]
    assert f"ended by {number.name}" in result.stdout
    assert ("you stopped the run" in suite.record().end.reason) == (number == signal.SIGINT)
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("advice: to resume: ")]
    assert "--output-dir" not in line
    command = line.removeprefix("advice: to resume: ").split()
    assert command[:2] == ["python", "-m"]
    again = suite.python(*command[2:])
    assert again.returncode == 0, again.stdout
    assert len(passes(suite)) == len(set(passes(suite))) == 6


def test_a_throughput_pass_goes_on_too(suite):
    (suite.folder / "suite" / "test_stub.py").write_text(
        "import pytest\nfrom harness.stages import Length\n"
        "@pytest.mark.stage('throughput')\n"
        "def test_throughput(pipeline, engine, samples, recorder):\n"
        "    recorder.measure_throughput(pipeline, samples, engine=engine, length=Length(100))\n"
    )
    assert suite.run("-k", "egpt", "--warmup_steps=0", STUB_KILL="egpt:decode:s1:1").returncode == -signal.SIGKILL
    assert passes(suite) == [("egpt", "throughput", "s0")]
    result = suite.resume("-k", "egpt", "--warmup_steps=0", "-s")
    assert result.returncode == 0, result.stdout
    assert worked(result, "egpt", "decode") == ["s1", "s2"]
    assert passes(suite) == [("egpt", "throughput", f"s{number}") for number in range(3)]
