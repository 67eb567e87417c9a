"""Gates as a user meets them: baselines recorded and sessions judged by processes of their own, on the stub suite."""

import re
import shlex
import shutil
import signal

import pytest

from harness.__main__ import main
from harness.gates.baselines import read_sessions
from tests.harness.stub_suite import PLUGINS, StubSuite

SESSIONS = 10
PAST_LIMIT = "egpt:load:1.2"


class GatedSuite(StubSuite):
    """The stub suite with a baseline; every run of it takes two rounds a sample."""

    def __init__(self, folder):
        super().__init__(folder)
        self.outputs = 0

    def new_output(self):
        self.outputs += 1
        return f"out{self.outputs}"

    def gate(self, *arguments, **environment):
        """Run the command; what came of it gets `states` by metric and the run's record."""
        output = self.new_output()
        words = [*PLUGINS, "suite", "-s", f"--output-dir={output}", "--rounds=2", *arguments]
        return self._judged(self.python("harness", "gate", "--", *words, **environment), output)

    def flag(self, *arguments, **environment):
        """Run pytest alone, with --gate."""
        output = self.new_output()
        return self._judged(self.run("--gate", "--rounds=2", *arguments, output=output, **environment), output)

    def _judged(self, result, output):
        result.output = output
        result.record = self.record(output) if (self.folder / output).exists() else None
        result.states = {each.metric: each.state for each in result.record.gates} if result.record else {}
        return result


def copies(folder, count):
    """Let one recorded session stand for many: the stub's clock is exact."""
    (first,) = folder.glob("baselines/*/0001_*.json")
    for number in range(2, count + 1):
        shutil.copy(first, first.with_name(f"{number:04}_20260101.json"))
    return first.parent


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A suite with one recorded session."""
    suite = GatedSuite(tmp_path_factory.mktemp("recorded"))
    suite.result = suite.python("harness", "baseline", "record", "--sessions=1", "--", *PLUGINS, "suite", "--rounds=2")
    assert suite.result.returncode == 0, suite.result.stdout + suite.result.stderr
    return suite


@pytest.fixture(scope="module")
def gated(recorded, tmp_path_factory):
    """A suite with a baseline of ten sessions, for runs that change none of its files."""
    folder = tmp_path_factory.mktemp("gated")
    suite = GatedSuite(folder)
    shutil.copytree(recorded.folder / "baselines", folder / "baselines")
    suite.baseline = copies(folder, SESSIONS)
    return suite


@pytest.fixture
def own(gated, tmp_path):
    """The same for a run that changes the suite's files."""
    suite = GatedSuite(tmp_path)
    shutil.copytree(gated.folder / "baselines", tmp_path / "baselines")
    return suite


@pytest.fixture(scope="module")
def slower(gated):
    return gated.gate("--benchmark-only", "-p", "no:terminal", STUB_SLOWER=PAST_LIMIT)


# --- the verdicts


def test_an_unchanged_program_passes_in_every_figure(gated):
    result = gated.gate()
    assert result.returncode == 0, result.stdout
    assert set(result.states.values()) == {"pass"}
    assert {"time.load.egpt", "ms_per_token.egpt.eager", "memory.decode.egpt.eager", "speedup.stage1.videollava"} < set(
        result.states
    )
    assert "would have found" in result.stdout
    assert not (gated.folder / result.output / "confirm").exists()


def test_a_baseline_of_too_few_sessions_is_told_before_anything_is_measured(recorded, gated):
    result = recorded.gate("--co")
    assert result.stdout.splitlines()[0].endswith(
        "baselines has 1 session of a machine like this one, and a gate needs 5, better 10: 4 missing."
    )
    way_out = shlex.split(result.stdout.splitlines()[1].partition(" become a session: ")[2])
    assert way_out[4:] == [f"--baselines={recorded.folder}/baselines", "add", f"{recorded.folder}/{result.output}"]
    assert "gate needs" not in gated.gate("--co").stdout


def test_what_is_slower_in_both_sessions_is_red(gated, slower):
    assert slower.returncode == 1, slower.stdout
    regressed = {metric for metric, state in slower.states.items() if state == "regressed"}
    assert regressed == {"time.load.egpt", "speedup.stage1.videollava"}
    assert slower.record.end.exit_status == gated.json("run.json", slower.output)["end"]["exit_status"] == 1


def test_the_verdict_is_in_the_run_file_and_in_what_is_printed_without_a_terminal_too(gated, slower):
    gates = {each["metric"]: each for each in gated.json("run.json", slower.output)["gates"]}
    assert gates["time.load.egpt"]["state"] == "regressed"
    assert "600 ms, baseline 500 ms (+20.0 %; limit +10.0 %" in gates["time.load.egpt"]["sentence"]
    assert "REGRESSED        time.load.egpt: 600 ms" in slower.stdout


def test_each_verdict_is_printed_once(gated):
    result = gated.gate(STUB_SLOWER=PAST_LIMIT)
    assert result.returncode == 1, result.stdout
    # A regressed figure's sentence has both sessions.
    assert result.stdout.count("time.load.egpt: ") == result.stdout.count("speedup.stage1.videollava: ") == 1


def test_only_what_was_flagged_and_what_its_ratios_need_is_measured_again(gated, slower):
    again = gated.record(f"{slower.output}/confirm")
    assert [(each.stage, each.model) for each in again.stages] == [("load", "egpt"), ("load", "videollava")]
    assert not again.passes


def test_the_confirming_session_is_watched_where_the_first_one_was(gated):
    result = gated.gate("--work_ledger", STUB_SLOWER=PAST_LIMIT)
    assert result.returncode == 1, result.stdout
    first, again = (gated.record(output).works for output in (result.output, f"{result.output}/confirm"))
    assert {each.model for each in first} == {"egpt", "videollava"}
    assert {each.test for each in again} == {each.test for each in first if each.model == "egpt"}


def test_the_tests_that_a_regression_belongs_to_fail_in_the_confirming_session(gated, slower):
    failed = {
        each.test: each.reason for each in gated.record(f"{slower.output}/confirm").outcomes if each.outcome == "failed"
    }
    assert {test.split("::")[1] for test in failed} == {"test_load[egpt]", "test_load[videollava]"}
    assert gated.record(slower.output).outcomes == ()


def test_what_is_slower_only_once_passes_and_says_so(gated):
    result = gated.gate(STUB_SLOWER=PAST_LIMIT, STUB_SLOWER_AGAIN="egpt:load:1.05")
    assert result.returncode == 0, result.stdout
    assert result.states["time.load.egpt"] == result.states["speedup.stage1.videollava"] == "pass"
    (sentence,) = (each.sentence for each in result.record.gates if each.metric == "time.load.egpt")
    assert sentence.startswith("600 ms, baseline 500 ms")
    assert "; again: 525 ms" in sentence
    assert "; again: " in result.stdout, "of that, or of the speedup: both are as near to their limits"


def test_what_is_worse_than_a_release_too_is_decided_and_told_once(own):
    shutil.copytree(own.folder / "baselines", own.folder / "v1.2")
    result = own.gate("--release=v1.2", STUB_SLOWER=PAST_LIMIT)
    assert result.returncode == 1, result.stdout
    assert result.states["time.load.egpt"] == result.states["time.load.egpt since v1.2"] == "regressed"
    assert result.record.header.options["release"] == "v1.2"
    assert "since v1.2" not in result.stdout


def test_worse_answers_alone_are_red_with_both_captions_in_the_report(gated):
    result = gated.gate("--report", STUB_ANSWER="8")
    assert result.returncode == 1, result.stdout
    regressed = {metric for metric, state in result.states.items() if state == "regressed"}
    assert regressed == {"quality.as_before.egpt.eager"}
    captions = "now: '5 6 8', in the baseline: '5 6 7'"
    assert captions in (gated.folder / result.output / "report.md").read_text()
    assert captions in result.stdout


def test_pytest_alone_only_flags(gated):
    result = gated.flag(STUB_SLOWER="videollava:decode:1.06")
    assert result.returncode == 11, result.stdout
    assert {metric for metric, state in result.states.items() if state == "flagged"} == {
        "time.decode.videollava.eager", "ms_per_token.videollava.eager",
    }  # fmt: skip
    assert "8 passed" in result.stdout


def test_what_got_faster_is_improved_and_a_speedup_that_fell_for_it_names_the_side(gated):
    result = gated.flag(STUB_SLOWER="videollava:*:0.5")
    assert result.returncode == 0, result.stdout
    assert result.states["time.decode.videollava.eager"] == "improved"
    assert result.states["speedup.total.videollava.eager"] == "improved"
    assert any("only videollava got faster (-50.0 %)" in each.sentence for each in result.record.gates)


def test_a_machine_that_is_slower_itself_makes_the_times_invalid_and_not_red(gated):
    result = gated.gate(STUB_SLOWER=PAST_LIMIT, STUB_MACHINE="1.2")
    assert result.returncode == 11, result.stdout
    verdicts = result.stdout[result.stdout.index("\ngates\n") :]
    assert re.search(
        r"INVALID +the baseline has no session at such a machine speed.*\n +time.load.egpt: 600 ms, baseline ", verdicts
    )
    assert all(verdicts.count(f" {metric}: ") == 1 for metric, state in result.states.items() if state == "invalid")
    of_speed = {metric for metric in result.states if metric.startswith(("time.", "ms_per_token.", "speedup."))}
    assert {metric for metric, state in result.states.items() if state == "invalid"} == of_speed
    assert {state for metric, state in result.states.items() if metric not in of_speed} == {"pass"}
    assert "at such a machine speed: the cached read during" in result.stdout


def test_a_machine_that_was_slower_during_one_test_makes_its_figures_invalid_and_no_others(gated):
    result = gated.gate(STUB_SLOWER="videollava:load:1.2", STUB_MACHINE="1.2:test_load[videollava]")
    assert result.returncode == 11, result.stdout
    invalid = {metric for metric, state in result.states.items() if state == "invalid"}
    assert invalid == {"time.load.videollava", "speedup.stage1.videollava"}
    assert "test_load[videollava] took +20.0 %" in result.stdout
    assert not (gated.folder / result.output / "confirm").exists(), "nothing is flagged that could be measured again"


def test_other_conditions_have_no_baseline_and_are_told_in_words(gated):
    result = gated.flag("--max_new_tokens=7")
    assert result.returncode == 12, result.stdout
    assert "option max_new_tokens was 512, is 7" in result.stdout
    assert "python -m harness baseline record" in result.stdout


# --- fail closed: the holes of pytest-benchmark's own comparison, and others


def test_with_the_users_own_k_the_rest_is_not_run(gated):
    result = gated.flag("-k", "load")
    assert result.returncode == 10, result.stdout
    assert result.states["time.load.egpt"] == "pass"
    assert result.states["time.decode.egpt.eager"] == "not run"
    assert "test_decode[egpt-eager] was deselected (by the command line)" in result.stdout


def test_a_figure_that_the_run_lacks_and_one_that_the_baseline_lacks_are_both_told(own):
    file = own.folder / "suite" / "test_stub.py"
    file.write_text(
        file.read_text().replace(
            '@pytest.mark.stage("decode")\ndef test_decode', '@pytest.mark.stage("prefill")\ndef test_prefill'
        )
    )
    result = own.flag()
    assert result.returncode == 10, result.stdout
    assert result.states["time.decode.egpt.eager"] == "not run"
    assert "no longer exists" in result.stdout
    assert result.states["time.prefill.egpt.eager"] == "missing baseline"


def test_a_test_that_is_skipped_for_want_of_a_gpu_is_not_run(own):
    file = own.folder / "suite" / "test_stub.py"
    file.write_text(
        file.read_text().replace("def test_decode", '@pytest.mark.skip(reason="needs a GPU")\ndef test_decode')
    )
    result = own.flag()
    assert result.returncode == 10, result.stdout
    assert "test_decode[egpt-eager] was skipped (needs a GPU)" in result.stdout


def test_a_suite_that_is_skipped_as_a_whole_does_not_pass(own):
    file = own.folder / "suite" / "test_stub.py"
    file.write_text('import pytest\npytestmark = pytest.mark.skip(reason="needs a GPU")\n' + file.read_text())
    result = own.gate()
    assert result.returncode == 10, result.stdout
    assert "gate: exit status 10: no figure was recorded" in result.stdout


def test_a_test_that_fails_is_red_and_its_figures_are_taken_for_nothing(gated):
    result = gated.flag(STUB_FAIL="load:s1")
    assert result.returncode == 1
    assert result.states["time.load.egpt"] == "invalid"
    assert "measured in 4 rounds, the baseline in 6" in result.stdout
    added = gated.python("harness", "baseline", "add", result.output)
    assert added.returncode == 2
    assert "cannot be part of a baseline: suite/test_stub.py::test_load[egpt] failed" in added.stderr


def test_a_session_that_is_killed_is_red(gated):
    result = gated.gate(STUB_KILL="videollava:decode:s1:1")
    assert result.returncode == 1
    assert "was cut short" in result.stdout


def test_a_session_that_is_stopped_is_not_judged_and_advises_no_resumption_that_a_gate_refuses(gated):
    result = gated.gate(STUB_SIGNAL=f"videollava:decode:s1:1:{signal.SIGTERM.value}")
    assert result.returncode == 2, result.stdout
    assert "gate: exit status 2: pytest ended the session, nothing was judged" in result.stdout
    assert result.record.end.exit_status == 2
    assert not [each for each in result.record.end.advice if "--resume" in each]


def test_tests_spread_over_processes_do_not_pass(gated):
    result = gated.flag("-p", "xdist.plugin", "-n", "1")
    assert result.returncode == 10, result.stdout
    assert "no figure was recorded" in result.stdout


@pytest.mark.parametrize("forbidding", ["--benchmark-disable", "--collect-only"])
def test_what_forbids_measuring_is_refused(gated, forbidding):
    result = gated.flag(forbidding)
    assert result.returncode == 4
    assert "--gate needs measurements" in result.stderr


def test_a_wrong_option_is_pytests_own_usage_error(gated):
    result = gated.gate("--no-such-option")
    assert result.returncode == 4
    assert "nothing was judged" in result.stdout


# --- baselines


def test_pytest_benchmark_displays_a_session_beside_a_run(gated):
    name = gated.baseline.name
    arguments = ["-k", "load", "--benchmark-storage=file://baselines", f"--benchmark-compare={name}/0001"]
    result = gated.run(*arguments, output=gated.new_output())
    assert result.returncode == 0, result.stdout
    assert f"Comparing against benchmarks from: {name}/0001" in result.stdout + result.stderr
    assert re.search(r"test_load\[egpt\] \(.*0001_\w+\)", result.stdout)
    assert "machine_info is different" not in result.stdout + result.stderr


def test_a_recorded_session_has_a_readable_name_a_number_and_its_conditions(recorded):
    (session,) = read_sessions(recorded.folder / "baselines")
    assert re.fullmatch(r"stub-cpu-.+-cores-[0-9a-f]{8}/0001", session.name)
    assert session.record.arguments[-2:] == ("suite", "--rounds=2")
    assert session.record.run.end.exit_status == 0
    assert "session 1 of 1: baselines/stub-cpu-" in recorded.result.stdout


def test_recording_goes_on_where_it_was_and_then_has_nothing_to_do(recorded, tmp_path):
    suite = GatedSuite(tmp_path)
    shutil.copytree(recorded.folder / "baselines", tmp_path / "kept")
    arguments = ["--", *PLUGINS, "suite", "--rounds=2"]
    more = suite.python("harness", "baseline", "--baselines=kept", "record", "--sessions=2", *arguments)
    first, lacking = more.stdout.splitlines()
    assert first.startswith("session 2 of 2"), more.stderr
    assert lacking.startswith(
        "2 sessions of a machine like this one, and a gate needs 5, better 10: 3 missing; continue with "
    )
    assert "baseline --baselines kept record --sessions 10 -- -p pytest_benchmark.plugin suite --rounds=2" in lacking
    for before, behind in (["--baselines=kept"], []), ([], ["--baselines=kept"]):
        again = suite.python("harness", "baseline", *before, "record", "--sessions=2", *arguments, *behind)
        assert "has 2 sessions already" in again.stdout
    assert not (tmp_path / "baselines").exists()


def test_sessions_of_other_conditions_do_not_count_for_a_baseline(recorded, tmp_path):
    suite = GatedSuite(tmp_path)
    shutil.copytree(recorded.folder / "baselines", tmp_path / "baselines")
    (one,) = tmp_path.glob("baselines/*/0001_*.json")
    other = tmp_path / "baselines" / "a-model-of-other-weights" / one.name
    other.parent.mkdir()
    other.write_text(one.read_text().replace('"model egpt: weights": null', '"model egpt: weights": "others"'))
    arguments = ["--sessions=2", "--", *PLUGINS, "suite", "--rounds=2"]
    assert suite.python("harness", "baseline", "record", *arguments).stdout.startswith("session 2 of 2")
    assert [len([*each.iterdir()]) for each in sorted((tmp_path / "baselines").iterdir())] == [1, 2]


def test_sessions_that_would_share_a_folder_are_refused_before_the_first_one(recorded, capsys, monkeypatch):
    monkeypatch.chdir(recorded.folder)
    assert main(["baseline", "record", "--sessions=2", "--", "suite", "--output-dir=shared"]) == 2
    assert "2 sessions need a folder each: leave --output-dir out" in capsys.readouterr().err


def test_a_session_that_fails_is_no_part_of_a_baseline(own):
    result = own.python(
        "harness", "baseline", "record", "--sessions=11", "--", *PLUGINS, "suite", "--rounds=2", STUB_FAIL="load:s1"
    )
    assert result.returncode == 2
    assert "ended with status 1 and was not added to a baseline: see" in result.stderr
    assert len(read_sessions(own.folder / "baselines")) == SESSIONS


def test_sessions_are_added_replaced_and_retired_and_what_changes_is_said(own, capsys, monkeypatch):
    def baseline(*words):
        status = main(["baseline", *words])
        return status, capsys.readouterr()

    monkeypatch.chdir(own.folder)
    own.run("--rounds=2", output="slow", STUB_SLOWER=PAST_LIMIT)
    name = next((own.folder / "baselines").iterdir()).name
    _, added = baseline("add", "slow")
    assert "10 -> 11 sessions" in added.out, added.err
    assert "time.load.egpt: 500 ms -> 508" in added.out
    assert "11 -> 10 sessions" in baseline("retire", f"{name}/0011")[1].out
    _, replaced = baseline("replace", f"{name}/0001", "slow")
    assert "10 -> 10 sessions" in replaced.out, replaced.err
    _, retired = baseline("retire", f"{name}/0001", f"{name}/0001")
    assert "10 -> 9 sessions" in retired.out, retired.err
    _, listed = baseline("list")
    assert (f"{name} (9 sessions)" in listed.out, f"{name}/0001" in listed.out) == (True, False)
    status, missing = baseline("retire", f"{name}/0001")
    assert (status, "has no session" in missing.err) == (2, True)
