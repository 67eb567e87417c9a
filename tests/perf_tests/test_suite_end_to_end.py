"""The suite from the command that a user types to the files that come out."""

import json
import re
import shlex
import signal

import pytest
import torch

from fixtures.model_sets.tiny import write_tiny_checkpoint
from harness.__main__ import main
from harness.figures.speculation import speculation_figures
from harness.gates.gate import Baseline, judge_session
from harness.records.fingerprint import fingerprint
from tests import ROOT
from tests.perf_tests.conftest import PLUGINS, ROOMS, SHORT_READINGS, Suite, run_with_libraries
from tests.repository.test_contract import CONTRACT

WHOLE = ("test_whole_pipeline", "test_whole_pipeline_fixed")
STAGE_TESTS = {
    "test_load[egpt]", "test_load[videollava]", "test_load[llava]", "test_load_legacy_reader[videollava]",
    "test_read_mp4[fast]", "test_draw_events", "test_load_raw_events",
    *(f"test_frame_cache[videollava-{mode}]" for mode in ("frames", "pixels")),
    *(f"test_speculative[{target}-eager]" for target in ("videollava", "llava")),
    *(f"test_preprocess[{model}]" for model in ("egpt", "videollava", "llava")),
    *(
        f"{test}[{model}-eager]"
        for test in ("test_encode_vision", "test_prefill", "test_decode", *WHOLE)
        for model in ("egpt", "videollava", "llava")
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(cache, no_limits, tmp_path_factory):
    """A run of everything, shared by the tests that only look at it."""
    suite = Suite(cache, tmp_path_factory.mktemp("whole") / "out", no_limits)
    result = suite.run("--report")
    assert result.returncode == 0, result.stdout
    return suite


def test_every_stage_of_every_model_is_in_pytest_benchmarks_file(whole):
    entries = whole.json("benchmark.json")["benchmarks"]
    assert {entry["name"] for entry in entries} == STAGE_TESTS
    assert all(entry["stats"]["data"] for entry in entries)


def test_ways_of_doing_one_thing_are_measured_in_turn(whole):
    infos = {entry["name"]: entry["extra_info"] for entry in whole.json("benchmark.json")["benchmarks"]}
    for test in ("test_read_mp4[fast]", "test_draw_events", "test_load_raw_events"):
        assert infos[test]["times_faster"] > 0
    assert {record.what for record in whole.record().side_by_side} == {
        info["what"] for info in infos.values() if "times_faster" in info
    }


def test_a_draft_drafts_for_each_target_and_changes_no_answer(whole):
    run = whole.record()
    assert {(each.target, each.sample) for each in run.speculations} == {
        (target, sample.id) for target in ("videollava", "llava") for sample in run.header.samples
    }
    assert all(each.identical and each.divergence is None for each in run.speculations)
    assert all(each.first_alone_s < each.alone_s and each.first_pair_s < each.pair_s for each in run.speculations)
    assert all(all(each.agrees["self"]) for each in run.agreements)


def test_what_a_draft_costs_is_measured_and_predicts_what_decoding_gains(whole):
    run = whole.record()
    assert [each.target for each in run.speculation_costs] == ["videollava", "llava"]
    for found in speculation_figures(run):
        assert list(found.cost_model.costs.v) == list(range(1, 33))
        assert found.cost_model.predicted > 0
        assert found.residual is not None


def test_the_legacy_file_has_every_key_for_every_sample(whole):
    records = whole.legacy()
    assert len(records) == 2
    for record in records:
        assert {"id", "split", "query", "benchmark_datetime", "event_data", "video_data"} < set(record)
        for model in ("egpt", "videollava", "llava"):
            parts = ("stage1", "stage2", "stage3", "vision", "prefill", "decode")
            assert all(isinstance(record[f"{model}_{part}_time"], float) for part in parts)
            assert record[f"{model}_stage3_time"] == pytest.approx(sum(record[f"{model}_{p}_time"] for p in parts[3:]))
            assert record[f"{model}_time"] == pytest.approx(sum(record[f"{model}_{p}_time"] for p in parts[:3]))
            assert isinstance(record[model], str)
            assert len(record[f"{model}_token_ids"]) == record[f"{model}_tokens"] <= 12
        for target in ("videollava", "llava"):
            assert 0 <= record[f"{target}_acceptance_matched"] <= record[f"{target}_acceptance_compared"]
            assert record[f"{target}_spec_acceptance_compared"] == record[f"{target}_spec_emitted"] == 11
            assert record[f"{target}_spec_accepted"] <= record[f"{target}_spec_drafted"]


def test_memory_stands_in_the_first_record_only(whole):
    first, second = whole.legacy()
    names = {f"{model}_{what}_mb" for model in ("egpt", "videollava", "llava") for what in (
        "memory_model", "memory_inference", "load_memory", "preprocess_memory", "vision_memory", "prefill_memory",
        "decode_memory",
    )}  # fmt: skip
    assert names <= set(first)
    assert not names & set(second)


def test_what_was_loaded_is_read_back_from_the_live_models(whole):
    facts = {each.model: each.facts for each in whole.record().models}
    assert [facts[model]["model_class"] for model in ("egpt", "videollava", "llava")] == [
        "EventChatForCausalLM", "VideoLlavaForConditionalGeneration", "LlavaForConditionalGeneration",
    ]  # fmt: skip
    assert all(each["attention"] == "sdpa" and each["dtype"] == "float32" for each in facts.values())


def test_fixed_passes_have_exactly_the_tokens_asked_for(whole):
    fixed = [each for each in whole.record().passes if each.kind == "fixed"]
    assert len(fixed) == 6
    assert {len(each.token_ids) for each in fixed} == {4}


def test_each_model_is_loaded_once_by_itself_and_once_for_the_pairs(whole):
    assert [each.model for each in whole.record().models] == ["egpt", "videollava", "llava"] * 2


def test_the_cold_round_fills_the_frame_cache_the_timed_rounds_take_from_it_and_trouble_is_told(suite, tmp_path):
    room = ("--frame-cache=pixels", f"--cache-dir={tmp_path}", "--cache-size=0.2MB")  # for LLaVA's one picture
    result = suite.run(*room, "--models=videollava,llava", "--stage_samples=1", "--rounds=2", "-k", "test_load")
    assert result.returncode == 0, result.stdout
    too_large, legacy, kept = suite.record().stages
    assert all(state.endswith(", cache miss") for each in (too_large, kept) for state in each.cold_states.values())
    assert all(state.endswith(", cache miss") for state in too_large.round_states)
    assert not any("cache miss" in state for state in (*legacy.cold_states.values(), *legacy.round_states))
    assert kept.round_states == ("cache hit",) * 2
    assert kept.sources[0] == "frames (png), cache hit"
    assert "load (cache hit)" in result.stdout
    assert f"advice: {tmp_path}: an entry of 305152 bytes is above the cache's limit" in result.stdout


def test_the_frame_cache_is_measured_beside_no_cache(whole):
    entries = {entry["name"]: entry["extra_info"] for entry in whole.json("benchmark.json")["benchmarks"]}
    for mode in ("frames", "pixels"):
        info = entries[f"test_frame_cache[videollava-{mode}]"]
        assert (info["way"], info["reference"]) == (f"{mode} in the cache", "no cache")
        assert info["times_faster"] > 0


def test_a_run_says_all_that_a_gate_needs(whole):
    run = whole.record()
    conditions = fingerprint(run)
    assert conditions["dataset"] == "embedded-v1-2x160x120-1s"
    assert all(conditions[f"model {model}: weights"] for model in ("egpt", "videollava", "llava"))
    ends = [each.moment for each in run.reference_work if not each.test]
    assert ends == ["start", "end"]
    watched = {each.test for each in run.reference_work if each.moment == "during" and each.resize_s}
    timed = {each.test for each in (*run.stages, *(taken for taken in run.passes if taken.kind in {"whole", "fixed"}))}
    assert watched == timed
    verdicts = judge_session(run, Baseline("itself", [run] * 5))
    assert {verdict.state for verdict in verdicts} == {"pass"}
    assert all(verdict.tests for verdict in verdicts)
    total = next(verdict for verdict in verdicts if verdict.metric == "speedup.total.llava.eager")
    assert [test.split("::")[1] for test in total.tests] == [
        f"test_whole_pipeline[{key}-eager]" for key in ("egpt", "llava")
    ]


def test_one_target_and_part_of_the_stages_give_a_smaller_result(suite):
    result = suite.run("--use_llava15", "-k", "load")
    assert result.returncode == 0, result.stdout
    assert all({"egpt_stage1_time", "llava_stage1_time"} < set(record) for record in suite.legacy())
    assert not any("videollava_stage1_time" in record or "egpt_time" in record for record in suite.legacy())


def test_disabled_benchmarks_run_every_stage_once_and_pass(suite):
    result = suite.run("--benchmark-disable", "--models=egpt")
    assert result.returncode == 0, result.stdout
    assert "15 passed, 8 skipped" in result.stdout
    assert not suite.output.exists()


TORN = {
    "egpt": ("event_image/embedded_00/000001_3.png", "event_image"),
    "videollava": ("mp4/embedded_00/000001.mp4", "mp4_data"),
}


def test_torn_files_are_blamed_on_their_sample_and_the_others_go_on(suite, dataset_folder):
    for file, _ in TORN.values():
        path = dataset_folder / file
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    where = ("--dataset_dir", str(dataset_folder), "--model-set=tiny", "--models=egpt,videollava")
    result = suite.run(*where, "-k", "test_load and not legacy")
    assert result.returncode == 1, result.stdout
    for stage in suite.record().stages:
        file, field = TORN[stage.model]
        (failure,) = stage.failures
        assert set(stage.round_samples) == {"embedded_00_000000"}
        assert failure.sample == "embedded_00_000001"
        assert field in failure.text
        assert file in failure.text
        assert failure.sentence().splitlines()[0] in result.stdout


def test_where_the_first_sample_is_torn_two_ways_are_compared_on_the_next_one(suite, dataset_folder):
    for file, _ in TORN.values():
        path = dataset_folder / file.replace("000001", "000000")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    where = ("--dataset_dir", str(dataset_folder), "--model-set=tiny", "--models=egpt,videollava")
    result = suite.run(*where, "-k", "read_mp4 or load_raw_events or frame_cache")
    assert result.returncode == 1, result.stdout
    run = suite.record()
    assert [each.conditions["sample"] for each in run.side_by_side] == ["embedded_00_000001"] * 4
    blamed = {
        each.test.partition("[")[0].rpartition(":")[2]: each.reason for each in run.outcomes if each.outcome == "failed"
    }
    assert set(blamed) == {"test_read_mp4", "test_load_raw_events", "test_frame_cache"}
    for test, reason in blamed.items():
        _, field = TORN["egpt" if test == "test_load_raw_events" else "videollava"]
        assert (
            f"sample 'embedded_00_000000' failed: SampleError: sample 'embedded_00_000000', field {field!r}" in reason
        )
    assert "Traceback" not in result.stdout


def test_a_model_that_cannot_be_loaded_fails_its_own_tests_and_the_others_go_on(suite, dataset_folder, tmp_path):
    where = ("--dataset_dir", str(dataset_folder), "--device=cpu", "--models=egpt,videollava", "-k", "stage1")
    (tmp_path / "empty").mkdir()
    write_tiny_checkpoint("egpt", tmp_path / "good")
    paths = ("--eventgpt_model_path", tmp_path / "good", "--video_llava_model_path", tmp_path / "empty")
    result = suite.run(*where, *map(str, paths))
    assert result.returncode == 1
    assert "1 passed" in result.stdout
    assert "2 errors" in result.stdout
    assert "has no config.json. A checkpoint folder holds config.json" in result.stdout
    assert "Traceback" not in result.stdout
    assert [each.model for each in suite.record().stages] == ["egpt"]


def test_the_first_model_goes_first_and_comparisons_wait_for_the_draft(suite):
    result = suite.run("--collect-only", "-q", "--models=egpt,videollava", "--first_model=videollava")
    order = [line.split("::")[1] for line in result.stdout.splitlines() if "::" in line]
    assert order.index("test_decode[videollava-eager]") < order.index("test_load[egpt]")
    assert order.index("test_whole_pipeline[egpt-eager]") < order.index("test_load_legacy_reader[videollava]")
    assert order[-2:] == ["test_whole_pipeline[videollava-eager]", "test_speculative[videollava-eager]"]


def test_audits_come_behind_what_is_measured_of_their_model(suite):
    result = suite.run("--collect-only", "-q", "--models=egpt,videollava")
    order = [line.partition("::")[::2] for line in result.stdout.splitlines() if "::" in line]
    places = [place for place, (file, _) in enumerate(order) if file.endswith("test_audits.py")]
    for six in (places[:6], places[6:]):  # of the draft and of the target
        assert six == list(range(six[0], six[0] + 6))
    assert order[places[0] - 1][1] == "test_throughput[egpt-eager]"
    of_pairs = [test for _, test in order[places[-1] + 1 :]]
    assert of_pairs == ["test_work[videollava-eager]", "test_speculative[videollava-eager]"]


@pytest.fixture(scope="module")
def ids():
    """The ids of `pytest perf_tests` with its defaults."""
    listed = run_with_libraries(["pytest", "perf_tests", *PLUGINS, "--collect-only", "-q"], ROOT, ROOMS).stdout
    return {line for line in listed.splitlines() if "::" in line}


def test_ids_of_the_suite_stay(ids):
    assert not set(CONTRACT["suite"]) - ids


def test_names_of_benchmarks_stay(ids):
    assert not {name for _, name in CONTRACT["benchmarks"]} - {each.partition("::")[2] for each in ids}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param(
            ["--model-set=full"],
            "--model-set full needs a GPU: PyTorch",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
        (["-p", "xdist.plugin", "-n", "2"], "-n (pytest-xdist) runs tests in parallel"),
        (["--benchmark-histogram"], "--benchmark-histogram needs pygal: pip install pygal pygaljs"),
    ],
)
def test_what_could_measure_nothing_is_refused_at_the_start_in_one_line(suite, arguments, problem):
    result = suite.run(*arguments)
    assert result.returncode == 4, result.stdout
    (line,) = filter(None, result.stderr.splitlines())
    assert problem in line
    assert not suite.output.exists()


KILLED_BEHIND_THE_FIRST_SAMPLE = """
import os, signal
from harness.records.journal import Journal
from harness.records.lines import PassRecord

append = Journal.append

def kill_behind_a_sample(journal, line):
    append(journal, line)
    if isinstance(line, PassRecord):
        os.kill(os.getpid(), signal.SIGKILL)

Journal.append = kill_behind_a_sample
"""


def test_a_kill_in_the_middle_of_the_whole_pass_loses_no_finished_sample(suite, tmp_path, monkeypatch):
    (tmp_path / "killed.py").write_text(KILLED_BEHIND_THE_FIRST_SAMPLE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    killed = suite.run("-p", "killed", "--models=egpt", "-k", "test_whole_pipeline")
    assert killed.returncode == -signal.SIGKILL
    finished = [each.sample for each in suite.record().passes]
    assert len(finished) == 1
    assert suite.record().end is None
    assert main(["merge", str(suite.output)]) == 0
    assert {record["id"] for record in suite.legacy() if "egpt_time" in record} == set(finished)


# --- docs/from_the_old_script.md: every new command line is run, on small models and a small dataset

DOCUMENT = (ROOT / "docs" / "from_the_old_script.md").read_text(encoding="utf-8")
ROWS = [re.findall(r"`([^`]+)`", line) for line in DOCUMENT.splitlines() if line.startswith("| `")]
COMMANDS = [new for _, new in ROWS]
# What stands in the document, and what stands for it here.
STANDS_FOR = {
    "/weights/EventGPT-7b": str(ROOT / "fixtures" / "model_sets" / "checkpoints" / "egpt"),
    "/weights/Video-LLaVA-7B-hf": str(ROOT / "fixtures" / "model_sets" / "checkpoints" / "videollava"),
    "/weights/llava-1.5-7b-hf": str(ROOT / "fixtures" / "model_sets" / "checkpoints" / "llava"),
}
SMALL = ("--device=cpu", "--max_new_tokens=4", "--fixed-tokens=2", "--stage_samples=1", "--no_report")


def typed(folder, dataset, command, *more):
    for written, real in {**STANDS_FOR, "/data/dsec": str(dataset)}.items():
        command = command.replace(written, real)
    words = shlex.split(command.removeprefix("python -m ").replace("perf_tests", str(ROOT / "perf_tests")))
    return run_with_libraries([*words, *more], folder, ROOMS, PYTHONPATH=str(ROOT))


def test_the_table_of_old_command_lines_has_what_it_promises():
    assert len(COMMANDS) == 3
    for old, new in ROWS:
        assert not [option for option in re.findall(r"--\w+", old) if option not in new]


# They differ in options alone: the one with the most of them stands for all in a hurry.
@pytest.mark.parametrize(
    "command",
    [*(pytest.param(each, marks=pytest.mark.slow) for each in COMMANDS[:-1]), COMMANDS[-1]],
    ids=("default", "part", "options"),
)
def test_each_command_line_measures_what_the_old_script_did(command, tmp_path, dataset_folder, no_limits):
    entries = (dataset_folder / "EventGPT_Instruction_Subset.json").read_text(encoding="utf-8")
    (dataset_folder / "part.json").write_text(json.dumps(json.loads(entries)[:1]), encoding="utf-8")
    pytests = (
        *PLUGINS,
        *SHORT_READINGS,
        f"--rootdir={ROOT}",
        f"--output_dir={tmp_path / 'out'}",
        f"--limits={no_limits}",
        *SMALL,
    )
    done = typed(tmp_path, dataset_folder, command, *pytests)
    assert done.returncode == 0, done.stdout + done.stderr
    found = [*tmp_path.glob("results.json"), *(tmp_path / "out").glob("*_results_n*.json")]
    records = json.loads(found[0].read_text(encoding="utf-8"))
    targets = {"videollava"} if "--use_" not in command else {
        key for key, option in (("videollava", "--use_video_llava"), ("llava", "--use_llava15")) if option in command
    }  # fmt: skip
    for key in {"egpt"} | targets:
        assert all(isinstance(record[f"{key}_stage3_time"], float) for record in records)


@pytest.mark.parametrize("tool", ["acceptance", "report"])
def test_what_looked_at_results_afterwards_has_a_command(tool, tmp_path):
    (command,) = (each for each in re.findall(r"`(python -m harness \w+ results.json)`", DOCUMENT) if tool in each)
    times = {f"{key}_stage{number}_time": 1.0 for key in ("egpt", "videollava") for number in (1, 2, 3)}
    ids = {"egpt_token_ids": [5, 6, 7], "videollava_token_ids": [5, 6, 8]}
    (tmp_path / "results.json").write_text(json.dumps([{"id": "a", **times, **ids}]))
    run = typed(tmp_path, tmp_path, command)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "results_report.html").exists() if tool == "report" else "Agreement of the answers" in run.stdout
