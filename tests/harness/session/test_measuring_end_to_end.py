"""The plugin as a user meets it: a stub suite of known length, run by pytest in a process of its own."""

import os
import signal
import subprocess
import sys
from importlib import metadata

import pytest

from harness.gates.limits import MIN_LIFT_SAMPLES
from tests import ROOT
from tests.harness.stub_suite import PLUGINS, StubSuite, failed_tests, worked

# Up to 5.2, pytest-benchmark opens its file itself when it reads the options.
OPENS_ITS_FILE = metadata.version("pytest-benchmark").startswith("5.2.")


@pytest.fixture
def suite(tmp_path):
    return StubSuite(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of everything, without faults, shared by the tests that only look at it."""
    stub = StubSuite(tmp_path_factory.mktemp("whole"))
    stub.result = stub.run("-s")
    assert stub.result.returncode == 0, stub.result.stdout
    return stub


def test_rounds_are_exactly_as_long_as_the_stage(whole):
    load, decode = (stage for stage in whole.record().stages if stage.model == "egpt")
    assert load.round_s == (0.5,) * 12
    assert decode.round_s == (2.0,) * 12
    assert decode.tokens == {"s0": 6, "s1": 6, "s2": 6}


@pytest.mark.parametrize("marker", ["audit", "watches"])
def test_a_failed_audit_speaks_against_the_run(suite, marker):
    with (suite.folder / "suite" / "test_stub.py").open("a") as file:
        file.write(f"@pytest.mark.{marker}\ndef test_work():\n    pytest.fail('it cheats', pytrace=False)\n")
        file.write("@pytest.mark.audit\ndef test_other_work():\n    pytest.skip('nothing to see')\n")
    result = suite.run("-k", "work or load and egpt")
    assert result.returncode == 1
    (outcome,) = (each for each in suite.record().outcomes if each.outcome != "deselected")
    assert (outcome.test, outcome.reason) == ("suite/test_stub.py::test_work", "call: it cheats")


def test_rounds_go_round_robin_over_the_samples(whole):
    assert whole.record().stages[0].round_samples == ("s0", "s1", "s2") * 4


def test_what_is_imported_is_out_of_the_garbage_collectors_sight(suite):
    (suite.folder / "suite" / "test_stub.py").write_text(
        "import gc, sys, pytest\n@pytest.mark.stage('load')\ndef test_objects(pipeline, recorder):\n"
        "    imported = vars(sys.modules['harness.session.plugin'])\n"
        "    assert not any(each is imported for each in gc.get_objects())\n"
    )
    assert "2 passed" in suite.run().stdout


def test_loading_a_model_is_recorded_once_each(whole):
    loads = [(each.model, each.load_s, each.memory_bytes) for each in whole.record().models]
    assert loads == [("egpt", 8.0, 2 * 1024 * 1024), ("videollava", 8.0, 2 * 1024 * 1024)]


def test_all_files_come_out_and_are_named_at_the_end(whole):
    names = {path.name for path in (whole.folder / "out").iterdir()}
    assert {"journal.jsonl", "run.json", "benchmark.json"} < names
    assert len(names) == 4
    assert all(name in whole.result.stdout for name in names)
    assert whole.json("run.json")["end"]["exit_status"] == 0


def test_the_legacy_file_holds_the_known_times(whole):
    first = whole.legacy()[0]
    assert [record["id"] for record in whole.legacy()] == ["s0", "s1", "s2"]
    assert first["egpt_time"] == 3.875
    assert first["videollava_stage3_time"] == 4 * 3.125
    assert (first["videollava_acceptance_matched"], first["videollava_acceptance_compared"]) == (2, 3)


def test_pytest_benchmarks_file_has_every_test_with_its_rounds(whole):
    entries = {entry["name"]: entry for entry in whole.json("benchmark.json")["benchmarks"]}
    assert len(entries) == 6
    assert entries["test_load[egpt]"]["stats"]["data"] == [0.5] * 12
    assert entries["test_load[egpt]"]["extra_info"]["samples"][:3] == ["s0", "s1", "s2"]
    assert entries["test_decode[videollava-eager]"]["extra_info"]["ms_per_token"] == 8000 / 5  # six tokens, five steps
    assert entries["test_whole[egpt-eager]"]["group"] == "whole"


def test_pytest_benchmarks_file_has_what_other_tools_read(whole):
    """docs/ci.md names them."""
    content = whole.json("benchmark.json")
    assert {"machine_info", "commit_info", "benchmarks"} <= content.keys()
    assert set(content["machine_info"]["cpu"]) == {"brand_raw", "count", "arch_string_raw"}  # py-cpuinfo was not asked
    for entry in content["benchmarks"]:
        assert "::" in entry["fullname"]
        assert all(entry["stats"][name] >= 0 for name in ("ops", "mean", "stddev", "rounds", "median", "iqr"))


def test_a_named_benchmark_json_goes_there_and_a_later_run_is_compared_with_it(suite):
    if OPENS_ITS_FILE:
        (suite.folder / "new").mkdir()
    assert suite.run("-k", "load", "--benchmark-json=new/mine.json").returncode == 0
    assert (suite.folder / "new" / "mine.json").exists()
    assert not (suite.folder / "out" / "benchmark.json").exists()
    again = suite.run("-k", "load", "--benchmark-compare=new/mine.json", output="again")
    assert again.returncode == 0
    assert "Comparing against benchmarks from" in again.stdout + again.stderr
    assert "machine_info is different" not in again.stdout + again.stderr


def test_a_sample_that_fails_is_recorded_the_others_are_measured_and_the_test_fails_after_them(suite):
    result = suite.run("-k", "load and egpt", STUB_FAIL="load:s1")
    (load,) = suite.record().stages
    assert result.returncode == 1
    assert load.round_samples == ("s0", "s2") * 4
    assert [(each.sample, each.stage, each.type) for each in load.failures] == [("s1", "load", "ValueError")]
    assert "1 of 3 samples failed: s1" in result.stdout
    assert "load of sample 's1' failed: ValueError: load of s1 cannot be done" in result.stdout
    assert len(suite.json("benchmark.json")["benchmarks"][0]["stats"]["data"]) == 8


def test_a_failure_of_an_earlier_stage_is_blamed_on_that_stage(suite):
    suite.run("-k", "decode and egpt", STUB_FAIL="vision:s2")
    (decode,) = suite.record().stages
    assert [(each.sample, each.stage) for each in decode.failures] == [("s2", "vision")]


def test_a_round_that_fails_later_is_left_out_of_the_statistics_and_nothing_else_is_lost(suite):
    result = suite.run("-k", "load and egpt", STUB_FAIL="load:s1:3")
    (load,) = suite.record().stages
    assert result.returncode == 1
    assert load.round_samples.count("s1") == 1  # the cold round came through, and the first timed one
    assert load.round_samples.count("s0") == 4
    assert suite.json("benchmark.json")["benchmarks"][0]["stats"]["data"] == [0.5] * len(load.round_s)


def test_where_every_sample_fails_there_is_no_figure_and_a_failed_test(suite):
    result = suite.run("-k", "load and egpt", STUB_FAIL="load:s0 load:s1 load:s2")
    assert result.returncode == 1
    assert suite.record().stages[0].round_s == ()
    assert not (suite.folder / "out" / "benchmark.json").exists() or suite.json("benchmark.json")["benchmarks"] == []
    assert "INTERNALERROR" not in result.stdout


def test_a_sample_that_fails_in_the_whole_pass_keeps_the_times_of_the_stages_before(suite):
    result = suite.run("-k", "whole and egpt", STUB_FAIL="prefill:s1")
    failed = next(each for each in suite.record().passes if each.sample == "s1")
    assert result.returncode == 1
    assert failed.stage_s == {"load": 0.5, "preprocess": 0.25, "vision": 0.125}
    assert suite.legacy()[1]["egpt_error"] == "ValueError: prefill of s1 cannot be done"
    assert suite.legacy()[2]["egpt_time"] == 3.875
    assert len(suite.json("benchmark.json")["benchmarks"][0]["stats"]["data"]) == 2


def test_rounds_in_different_states_are_kept_apart(suite):
    result = suite.run("-k", "load and egpt", STUB_STATES="cold cold hit")
    (load,) = suite.record().stages
    assert load.cold_states == {"s0": "cold", "s1": "cold", "s2": "cold"}
    assert load.round_states == ("cold",) * 3 + ("hit",) * 9
    assert load.sources == ("nothing (stub), cold", "nothing (stub), hit")
    (entry,) = suite.json("benchmark.json")["benchmarks"]
    assert len(entry["stats"]["data"]) == len(entry["extra_info"]["samples"]) == 9
    assert entry["extra_info"]["state"] == "hit"
    assert all(words in result.stdout for words in ("load (cold)", "load (hit)"))


def test_stages_after_the_first_and_old_records_have_no_states(whole):
    assert all(record.round_states == () and record.cold_states == {} for record in whole.record().stages)


def test_a_whole_pass_says_in_which_state_each_file_was(suite):
    result = suite.run("-k", "whole and egpt", STUB_STATES="cold hit")
    assert [(each.sample, each.source, each.state) for each in suite.record().passes if each.kind == "whole"] == [
        ("s0", "nothing (stub), hit", "hit"),
        ("s1", "nothing (stub), cold", "cold"),
        ("s2", "nothing (stub), cold", "cold"),
    ]
    assert (
        "load of egpt by state of the file, which the totals mix: 500.0 ms hit (n = 1), 500.0 ms cold (n = 2)."
        in " ".join(result.stdout.split())
    )


def test_part_of_the_suite_gives_a_smaller_legacy_file(suite):
    assert suite.run("-k", "load").returncode == 0
    first = suite.legacy()[0]
    assert first["egpt_stage1_time"] == 0.5
    assert first["videollava_stage1_time"] == 2.0
    assert "egpt_time" not in first


TESTS_BY_LIMIT = {
    "eager.median_ms.egpt.load=499": "test_load[egpt]",
    "eager.host_memory_mib.egpt.decode=1": "test_decode[egpt-eager]",
    "eager.speedup.videollava.stage1=4.1": "test_load[videollava]",
    "eager.speedup.videollava.stage3=4.1": "test_whole[videollava-eager]",
    "eager.speedup.videollava.total=4.1": "test_whole[videollava-eager]",
}


def test_each_broken_limit_fails_the_test_that_measured_it(suite):
    result = suite.run(STUB_LIMITS=" ".join(TESTS_BY_LIMIT))
    assert result.returncode == 1
    assert failed_tests(result) == set(TESTS_BY_LIMIT.values())
    verdicts = suite.record().verdicts
    broken = {f"{each.limit}={each.bound:g}": each.test.split("::")[1] for each in verdicts if each.state == "broken"}
    assert broken == TESTS_BY_LIMIT
    assert all(each.sentence in result.stdout for each in verdicts)


@pytest.mark.parametrize("limit", ["eager.median_ms.egpt.load=499", "eager.speedup.videollava.total=4.1"])
def test_a_broken_limit_fails_no_other_test(suite, limit):
    result = suite.run(STUB_LIMITS=limit)
    assert (result.returncode, failed_tests(result)) == (1, {TESTS_BY_LIMIT[limit]})


def test_a_terminal_without_utf_8_is_shown_all_lines(suite):
    variables = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    for words in (("pytest", *PLUGINS, "suite", "--output-dir=é", "--rounds=4"), ("harness", "merge", "é")):
        command = [sys.executable, "-m", *words]
        result = subprocess.run(command, cwd=suite.folder, env=os.environ | variables, capture_output=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert b"\\n" not in result.stdout
        assert [line for line in result.stdout.splitlines() if b"?" in line and len(line) < 200]


def test_a_plugin_that_repeats_a_test_mends_no_broken_limit(suite):
    words = ("-k", "load and egpt", "-p", "pytest_rerunfailures", "--reruns=2")
    result = suite.run(*words, STUB_LIMITS="eager.median_ms.egpt.load=1")
    assert result.returncode == 1, result.stdout
    assert " 2 rerun" in result.stdout
    record = suite.record()
    assert ([each.state for each in record.verdicts], record.end.exit_status) == (["broken"], 1)


def test_limits_that_hold_are_printed_and_break_nothing(suite):
    limits = "eager.median_ms.egpt.load=500 eager.speedup.videollava.total=4"
    result = suite.run(STUB_LIMITS=limits)
    assert result.returncode == 0
    assert [verdict.state for verdict in suite.record().verdicts] == ["pass"] * 2
    assert "2 of 2 limits checked, 0 broken" in result.stdout.splitlines()
    sentences = [verdict.sentence for verdict in suite.record().verdicts]
    assert "load of egpt was limited to 500 ms and was 500 ms (median of 12)" in sentences


SPECULATIVE = """
import pytest
from harness.measuring import clock
from tests.harness.measuring.test_speculation import StubPair

@pytest.mark.stage("speculative")
def test_speculative(samples, model_slot, recorder):
    pair = StubPair()
    clock.use_reader(lambda: pair.now)
    recorder.measure_speculation(pair, samples, target="videollava", engine="eager")
"""


@pytest.mark.parametrize(("bound", "state"), [("1", "pass"), ("1.01", "broken")])
def test_acceptance_and_lift_are_judged_by_the_test_that_drafted(suite, bound, state):
    (suite.folder / "suite" / "test_pair.py").write_text(SPECULATIVE)
    conftest = suite.folder / "suite" / "conftest.py"  # of fewer samples than eight, the lift says nothing
    enough = f"range({MIN_LIFT_SAMPLES})"
    conftest.write_text(conftest.read_text().replace("range(3)", enough))
    limits = [f"eager.{kind}.videollava" for kind in ("acceptance", "vision_lift")]
    result = suite.run(tests=("suite/test_pair.py",), STUB_LIMITS=" ".join(f"{each}={bound}" for each in limits))
    assert result.returncode == (0 if state == "pass" else 1), result.stdout
    verdicts = suite.record().verdicts
    assert [(each.limit, each.state) for each in verdicts] == [(each, state) for each in limits]
    assert all((each.sentence in result.stdout) == (state == "broken") for each in verdicts)
    assert {record["videollava_spec_acceptance_rate"] for record in suite.legacy()} == {1.0}


def test_a_limit_without_its_figure_is_not_run_and_changes_no_status(suite):
    result = suite.run("-k", "load", STUB_LIMITS="eager.speedup.videollava.total=9")
    assert result.returncode == 0
    assert [verdict.state for verdict in suite.record().verdicts] == ["not run"]
    assert "0 of 1 limits checked, 0 broken; 1 not measured" in result.stdout.splitlines()


def test_disabled_benchmarks_run_every_stage_once_and_write_nothing(suite):
    result = suite.run("--benchmark-disable", "-s")
    assert result.returncode == 0, result.stdout
    assert worked(result, "egpt", "load") == ["s0"] * 3
    assert not (suite.folder / "out").exists()


def test_a_failing_stage_fails_its_test_with_benchmarks_disabled_too(suite):
    result = suite.run("--benchmark-disable", "-k", "load and egpt", STUB_FAIL="load:s0")
    assert result.returncode == 1
    assert "load of sample 's0' failed" in result.stdout


def test_nothing_recorded_is_exit_status_10(suite):
    result = suite.run("-k", "nowhere")
    assert result.returncode == 10


def test_benchmarks_that_are_skipped_are_exit_status_10(suite):
    assert suite.run("--benchmark-skip").returncode == 10


def test_collecting_only_is_no_failure(suite):
    assert suite.run("--collect-only").returncode == 0


def test_a_wrong_option_is_a_usage_error(suite):
    result = suite.run("--rounds=none")
    assert result.returncode == 4
    assert "--rounds takes a whole number from 1 up, not 'none'" in result.stderr


def test_a_kill_in_the_whole_pass_leaves_every_finished_sample_and_merge_finds_them(suite):
    result = suite.run("-k", "whole", STUB_KILL="videollava:decode:s1:1")
    assert result.returncode == -signal.SIGKILL
    passes = [(each.model, each.sample) for each in suite.record().passes if each.kind == "whole"]
    assert passes == [("egpt", "s0"), ("egpt", "s1"), ("egpt", "s2"), ("videollava", "s0")]
    merged = suite.python("harness", "merge", "out")
    assert merged.returncode == 0, merged.stderr
    assert suite.legacy()[0]["videollava_time"] == 4 * 3.875
    assert "videollava_time" not in suite.legacy()[1]
    assert suite.legacy()[2]["egpt_time"] == 3.875


def test_an_option_without_effect_on_stage_tests_is_advised_against(suite):
    result = suite.run("-k", "load", "--benchmark-min-rounds=9", "--benchmark-cprofile=tottime")
    assert "advice: --benchmark-min-rounds has no effect on stage tests" in result.stdout
    assert "advice: --benchmark-cprofile has no effect on stage tests" in result.stdout
    assert "--rounds" in result.stdout


def test_a_folder_that_holds_a_run_already_is_refused(suite):
    suite.run("-k", "load")
    again = suite.run("-k", "load")
    assert again.returncode == 4
    assert "is not empty" in again.stderr


@pytest.mark.parametrize("plugins", [(), ("-p", "pytest_rerunfailures")], ids=["alone", "beside a plugin that repeats"])
def test_a_test_that_fails_lets_go_of_its_model_before_the_next_one_is_loaded(suite, plugins):
    (suite.folder / "suite" / "test_stub.py").write_text(
        "def test_was_alone_when_it_was_loaded(pipeline):\n"
        "    assert pipeline.others_alive == 0\n"
        "def test_fails_for_the_first(pipeline):\n"
        "    assert pipeline.key != 'egpt'\n"
    )
    result = suite.run(*plugins)
    assert failed_tests(result) == {"test_fails_for_the_first[egpt]"}
    assert "1 failed, 3 passed" in result.stdout


def test_tests_spread_over_processes_measure_nothing_and_are_exit_status_10(suite):
    result = suite.run("-p", "xdist.plugin", "-n", "2")
    assert result.returncode == 10, result.stdout
    assert "no figure was recorded" in result.stdout
    assert not (suite.folder / "out").exists()


def test_a_parameter_called_stage_makes_no_test_a_recording_one(suite):
    (suite.folder / "suite" / "test_stub.py").write_text(
        "import pytest\n@pytest.mark.parametrize('word', ['stage'])\ndef test_words(word):\n    assert word\n"
    )
    result = suite.run("-p", "xdist.plugin", "-n", "2")
    assert result.returncode == 0, result.stdout
    assert "1 passed" in result.stdout


def test_a_file_that_cannot_be_written_at_the_end_is_named_and_fails_the_run(suite):
    result = suite.run("-k", "load and egpt", "--output_json", "n" * 300)
    assert result.returncode == 1
    assert "INTERNALERROR" not in result.stdout + result.stderr
    assert "nnn: cannot be written" in result.stdout
    assert len(suite.record().stages) == 1


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--output_json=suite/test_stub.py/result.json", "test_stub.py is not a writable folder; choose another"),
        ("--output_json=suite", "suite: is a folder; --output_json names a file"),
        ("--output_json=out/journal.jsonl", "out/journal.jsonl: the run uses this file itself; name another"),
        (f"--benchmark-json={'n' * 300}/a.json", "File name too long"),
        (
            "--benchmark-json=suite",
            "Is a directory" if OPENS_ITS_FILE else "suite: is a folder; --benchmark-json names",
        ),
        ("--query=\udcff", r"'--query=\udcff' is not in UTF-8: write it so"),
        ("--gamma=1001", "--gamma takes a whole number of 1 to 1000, not '1001'"),
    ],
)
def test_what_no_run_could_write_down_is_a_usage_error(suite, option, problem):
    result = suite.run("-k", "load and egpt", option)
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert problem in result.stderr
    assert not list(suite.folder.glob("out/*"))
