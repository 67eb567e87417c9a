from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.passes import comparisons, passes
from harness.legacy.formats import read_any_json
from harness.legacy.writing import legacy_file_name, legacy_records
from harness.records.folder import write_json
from harness.records.lines import Failure, PassRecord, RunRecord
from harness.records.quantities import MemoryPeak
from harness.session.derived_files import derive_files
from tests.harness.made_runs import (
    QUERY,
    STARTED_AT,
    failed_pass,
    full_run,
    header,
    headline_run,
    host_peak,
    loaded,
    pass_records,
    stage_test,
    whole_pass,
)

MODELS = ("egpt", "videollava", "llava")
OF_A_SAMPLE = {"id", "split", "query", "benchmark_datetime", "event_data", "video_data"}
OF_A_MODEL = {
    "",
    "_time",
    "_stage1_time",
    "_stage2_time",
    "_stage3_time",
    "_token_ids",
    "_vision_time",
    "_prefill_time",
    "_decode_time",
    "_tokens",
}
OF_A_TARGET = {"_acceptance_rate", "_acceptance_matched", "_acceptance_compared"}
OF_THE_FIRST = {
    "_memory_model_mb",
    "_memory_inference_mb",
    "_load_memory_mb",
    "_preprocess_memory_mb",
    "_vision_memory_mb",
    "_prefill_memory_mb",
    "_decode_memory_mb",
}


def written(run: RunRecord, folder: Path) -> Any:
    """The records as any reader of JSON gets them."""
    path = folder / "result.json"
    write_json(path, legacy_records(run), indent=2)
    return json.loads(path.read_text(encoding="utf-8"))


def run_of(*records: PassRecord, samples: tuple[str, ...] = ("s1", "s2"), **fields: Any) -> RunRecord:
    return RunRecord(header=fields.pop("header", header(samples)), passes=records, **fields)


def test_every_key_is_there_for_every_sample_that_came_through(tmp_path: Path) -> None:
    records = written(full_run(), tmp_path)
    assert [record["id"] for record in records] == ["s1", "s2", "s3"]
    for record in records[:2]:
        assert record.keys() >= OF_A_SAMPLE
        assert record.keys() >= {model + key for model in MODELS for key in OF_A_MODEL}
        assert record.keys() >= {model + key for model in MODELS[1:] for key in OF_A_TARGET}


def test_keys_of_the_dataset_stand_before_those_of_the_model_that_reads_them(tmp_path: Path) -> None:
    keys = list(written(full_run(), tmp_path)[0])
    assert keys[:7] == ["id", "split", "query", "benchmark_datetime", "event_data", "egpt", "egpt_time"]
    assert keys.index("video_data") < keys.index("videollava") < keys.index("llava")


def test_values_are_those_of_the_pass(tmp_path: Path) -> None:
    run = run_of(
        whole_pass("egpt", "s1", (0.5, 0.25, 1, 2, 4), text="a car", token_ids=(7, 8), whole_s=99.0),
        whole_pass("videollava", "s1", (1, 1, 1, 1, 1), token_ids=(7, 9, 9)),
    )
    (record,) = written(run, tmp_path)
    assert record == {
        "id": "s1",
        "split": "test",
        "query": QUERY,
        "benchmark_datetime": STARTED_AT,
        "event_data": "s1/events.npy",
        "egpt": "a car",
        "egpt_time": 7.75,
        "egpt_stage1_time": 0.5,
        "egpt_stage2_time": 0.25,
        "egpt_stage3_time": 7.0,
        "egpt_vision_time": 1.0,
        "egpt_prefill_time": 2.0,
        "egpt_decode_time": 4.0,
        "egpt_tokens": 2,
        "egpt_token_ids": [7, 8],
        "egpt_source": "event images",
        "video_data": "s1/frames",
        "videollava": "videollava says",
        "videollava_time": 5.0,
        "videollava_stage1_time": 1.0,
        "videollava_stage2_time": 1.0,
        "videollava_stage3_time": 3.0,
        "videollava_vision_time": 1.0,
        "videollava_prefill_time": 1.0,
        "videollava_decode_time": 1.0,
        "videollava_tokens": 3,
        "videollava_token_ids": [7, 9, 9],
        "videollava_source": "mp4 (legacy reader)",
        "videollava_acceptance_rate": 0.5,
        "videollava_acceptance_matched": 1,
        "videollava_acceptance_compared": 2,
    }


@given(st.lists(pass_records(st.sampled_from(["s1", "s2"]), st.sampled_from(MODELS)), min_size=1, max_size=6))
def test_stages_add_up_to_the_total_and_the_three_parts_to_stage_3(records: list[PassRecord]) -> None:
    for record in legacy_records(run_of(*records, header=header(("s1", "s2"), models=MODELS))):
        for model in MODELS:
            if f"{model}_time" in record:
                stages = sum(record[f"{model}_stage{number}_time"] for number in (1, 2, 3))
                parts = sum(record[f"{model}_{part}_time"] for part in ("vision", "prefill", "decode"))
                assert record[f"{model}_time"] == pytest.approx(stages, rel=1e-12)
                assert record[f"{model}_stage3_time"] == pytest.approx(parts, rel=1e-12)


def summary_of_the_old_script(records: list[dict[str, Any]], target: str, gamma: int) -> dict[str, float]:
    """Its own formulas, over a result file and nothing else."""
    both = [r for r in records if "egpt_time" in r and f"{target}_time" in r]
    averages = {
        f"{model}_{key}": sum(r[f"{model}_{key}"] for r in both) / len(both)
        for model in ("egpt", target)
        for key in ("time", "stage1_time", "stage2_time", "stage3_time")
    }
    c = averages["egpt_time"] / averages[f"{target}_time"]
    rates, matched, compared = [], 0, 0
    for r in both:
        draft, verified = r["egpt_token_ids"], r[f"{target}_token_ids"]
        shorter = min(len(draft), len(verified))
        same = sum(1 for i in range(shorter) if draft[i] == verified[i])
        rates.append(same / shorter if shorter > 0 else 0.0)
        matched += same
        compared += shorter
    a = matched / compared
    expected = (1 - a ** (gamma + 1)) / (1 - a) if a < 1 else gamma + 1
    return averages | {
        "c": c,
        "acceptance": sum(rates) / len(rates),
        "weighted": a,
        "theoretical": expected / (c * gamma + 1),
    }


@pytest.mark.parametrize("target", ["videollava", "llava"])
def test_the_old_summary_over_the_file_gives_our_figures(target: str, tmp_path: Path) -> None:
    answers = {"egpt": [(1, 2, 3), (4, 5)], "videollava": [(1, 9, 3, 4), (5, 5)], "llava": [(1,), (4, 6, 6)]}
    slowness = {"egpt": 0.37, "videollava": 1.91, "llava": 0.83}
    run = run_of(
        *(
            whole_pass(model, f"s{n}", tuple(slowness[model] * n / part for part in (1, 7, 3, 11, 2)), token_ids=tokens)
            for model in MODELS
            for n, tokens in enumerate(answers[model], start=1)
        ),
        failed_pass("egpt", "s3"),
        whole_pass("llava", "s3"),
        header=header(("s1", "s2", "s3"), models=MODELS, targets=MODELS[1:]),
    )
    old = summary_of_the_old_script(written(run, tmp_path), target, gamma=5)
    (ours,) = [each for each in comparisons(run) if each.target == target]
    expected = {
        "egpt_time": ours.total.draft_mean_s,
        f"{target}_time": ours.total.target_mean_s,
        "c": ours.cost_ratio,
        "acceptance": ours.agreement_per_sample,
        "weighted": ours.agreement_token_weighted,
        "theoretical": ours.theoretical_speedup,
    }
    for stage in (1, 2, 3):
        expected[f"egpt_stage{stage}_time"] = ours.stages[stage].draft_mean_s
        expected[f"{target}_stage{stage}_time"] = ours.stages[stage].target_mean_s
    assert old == pytest.approx(expected, rel=1e-9, abs=0)
    assert 0 < ours.agreement_token_weighted < 1


def test_the_old_summary_over_the_published_means_gives_the_published_speedup(tmp_path: Path) -> None:
    old = summary_of_the_old_script(written(headline_run(), tmp_path), "videollava", gamma=5)
    assert round(old["videollava_time"] / old["egpt_time"], 1) == 5.1
    assert round(old["videollava_stage1_time"] / old["egpt_stage1_time"], 1) == 8.1


@given(st.lists(pass_records(st.sampled_from(["s1", "s2"]), st.sampled_from(MODELS)), min_size=1, max_size=6))
def test_a_file_that_was_written_is_read_back_equal(records: list[PassRecord]) -> None:
    expected = legacy_records(run_of(*records, header=header(("s1", "s2"), models=MODELS, targets=MODELS[1:])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        write_json(path, expected, indent=2)
        assert read_any_json(path) == expected
        assert json.loads(path.read_text(encoding="utf-8")) == expected


def test_records_are_in_the_order_of_the_dataset_whatever_the_order_of_measurement() -> None:
    run = run_of(*(whole_pass("egpt", sample) for sample in ("s3", "s1", "s2")), samples=("s1", "s2", "s3"))
    assert [record["id"] for record in legacy_records(run)] == ["s1", "s2", "s3"]


def test_a_sample_of_which_nothing_is_known_has_no_record() -> None:
    assert [record["id"] for record in legacy_records(run_of(whole_pass("egpt", "s2")))] == ["s2"]
    assert legacy_records(run_of()) == []


def test_a_failed_sample_says_why_and_has_no_times() -> None:
    run = run_of(whole_pass("egpt", "s1"), failed_pass("egpt", "s2", text="no frames"), whole_pass("videollava", "s2"))
    first, second = legacy_records(run)
    assert "egpt_error" not in first
    assert second["egpt_error"] == "SampleError: no frames"
    assert "egpt_time" not in second
    assert "egpt" not in second
    assert second["videollava_time"] == 5.0
    assert "videollava_acceptance_rate" not in second


def test_where_every_sample_of_the_whole_pass_failed_stage_tests_do_not_stand_in_for_it() -> None:
    run = run_of(failed_pass("egpt", "s1"), stages=(stage_test("egpt", "load", {"s1": [1.0]}),))
    (record,) = legacy_records(run)
    assert record["egpt_error"] == "SampleError: no such file"
    assert "egpt_stage1_time" not in record


def test_a_sample_that_failed_once_and_came_through_later_has_no_error() -> None:
    (record,) = legacy_records(run_of(failed_pass("egpt", "s1"), whole_pass("egpt", "s1")))
    assert record["egpt_time"] == 5.0
    assert "egpt_error" not in record


class TestWithoutAWholePass:
    def test_the_stage_tests_that_ran_give_their_keys_and_no_others(self) -> None:
        run = run_of(stages=(stage_test("egpt", "load", {"s1": [3.0, 1.0, 2.0], "s2": [5.0]}),))
        first, second = legacy_records(run)
        assert (first["egpt_stage1_time"], second["egpt_stage1_time"]) == (2.0, 5.0)
        assert {key for key in first if key.startswith("egpt")} == {"egpt_stage1_time"}

    def test_stage_3_is_there_when_all_of_its_parts_are(self) -> None:
        parts = [stage_test("egpt", stage, {"s1": [seconds]}) for stage, seconds in (("vision", 1), ("prefill", 2))]
        (record,) = legacy_records(run_of(stages=tuple(parts)))
        assert (record["egpt_vision_time"], record["egpt_prefill_time"]) == (1.0, 2.0)
        assert "egpt_stage3_time" not in record
        (record,) = legacy_records(run_of(stages=(*parts, stage_test("egpt", "decode", {"s1": [4.0]}))))
        assert record["egpt_stage3_time"] == 7.0
        assert "egpt_time" not in record

    def test_another_reader_of_the_same_stage_is_left_out(self) -> None:
        stages = (
            stage_test("videollava", "load", {"s1": [1.0]}),
            stage_test("videollava", "load", {"s1": [50.0]}, variant="legacy reader"),
        )
        (record,) = legacy_records(run_of(stages=stages))
        assert record["videollava_stage1_time"] == 1.0

    def test_of_two_engines_the_first_counts(self) -> None:
        stages = tuple(
            stage_test("egpt", "decode", {"s1": [seconds]}, engine=engine)
            for engine, seconds in (("eager", 8.0), ("graph", 1.0))
        )
        (record,) = legacy_records(run_of(stages=stages, header=header(engines=("eager", "graph"))))
        assert record["egpt_decode_time"] == 8.0

    def test_a_sample_that_failed_in_one_stage_keeps_its_other_times_and_says_why(self) -> None:
        failure = Failure("s1", "decode", "ValueError", "no end")
        stages = (
            stage_test("egpt", "load", {"s1": [1.0]}),
            stage_test("egpt", "decode", {"s2": [1.0]}, failures=(failure,)),
        )
        first, second = legacy_records(run_of(stages=stages))
        assert (first["egpt_stage1_time"], first["egpt_error"]) == (1.0, "ValueError: no end")
        assert "egpt_error" not in second


def test_only_whole_passes_of_the_first_engine_are_in_the_file() -> None:
    run = run_of(
        whole_pass("egpt", text="natural"),
        whole_pass("egpt", text="fixed", kind="fixed"),
        whole_pass("egpt", (), kind="unsynchronised"),  # type: ignore[arg-type]
        whole_pass("egpt", text="graph", engine="graph"),
        header=header(engines=("eager", "graph")),
    )
    (record,) = legacy_records(run)
    assert record["egpt"] == "natural"


def test_memory_is_in_the_first_record_only() -> None:
    first, *others = legacy_records(full_run())
    assert first.keys() >= {model + key for model in MODELS for key in OF_THE_FIRST}
    assert not [key for record in others for key in record if key.endswith("_mb")]


def test_memory_is_in_mib_and_the_highest_of_its_samples_and_stages() -> None:
    first = legacy_records(full_run())[0]
    assert first["egpt_memory_model_mb"] == 100
    assert (first["egpt_load_memory_mb"], first["egpt_decode_memory_mb"]) == (101, 505)
    assert first["egpt_memory_inference_mb"] == 505


def test_memory_on_a_gpu_is_what_was_allocated_there() -> None:
    peak = MemoryPeak(host_bytes=900 << 20, device_allocated_bytes=30 << 20, device_reserved_bytes=64 << 20)
    stages = (stage_test("egpt", "load", {"s1": [1.0]}, memory={"s1": peak}),)
    run = run_of(whole_pass("egpt"), stages=stages, models=(loaded("egpt"),), header=header(device="cuda:0"))
    (record,) = legacy_records(run)
    assert (record["egpt_load_memory_mb"], record["egpt_memory_inference_mb"]) == (30, 30)


def test_memory_that_could_not_be_measured_has_no_key() -> None:
    stages = (stage_test("egpt", "load", {"s1": [1.0]}, memory={"s1": MemoryPeak()}),)
    (record,) = legacy_records(run_of(whole_pass("egpt"), stages=stages, models=(loaded("egpt"),)))
    assert {key for key in record if key.endswith("_mb")} == {"egpt_memory_model_mb"}
    assert host_peak(1).host_bytes == 1 << 20


def test_every_text_survives_and_the_file_is_utf_8_indented_by_two(tmp_path: Path) -> None:
    text = 'Ein "Auto" \\ 一辆车 🚗\n\tund \x00 \x7f '
    path = derive_files(tmp_path, run_of(whole_pass("egpt", text=text)))
    assert path is not None
    content = path.read_bytes()
    assert json.loads(content)[0]["egpt"] == text
    assert "一辆车 🚗".encode() in content
    lines = content.decode("utf-8").split("\n")
    assert (lines[0], lines[1], lines[2][:9]) == ("[", "  {", '    "id":')
    assert (lines[-2], lines[-1]) == ("]", "")


def test_file_is_named_by_dataset_number_of_records_and_start() -> None:
    name = legacy_file_name(full_run(), 600)
    assert name == "EventGPT_Instruction_Subset_results_n600_20260304_050607.json"


def test_whole_passes_and_records_are_the_same_samples() -> None:
    run = full_run()
    counted = Counter(sample for model in MODELS for sample in passes(run, "whole", model, "eager"))
    assert {record["id"] for record in legacy_records(run) if "egpt_time" in record} == set(counted)
