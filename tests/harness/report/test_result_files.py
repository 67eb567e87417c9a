"""Any result is read as a run: ours of every kind, and what the old script left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ResultFileError
from harness.figures.passes import comparisons, pass_s
from harness.gates.baselines import SessionRecord
from harness.legacy.writing import legacy_records
from harness.records.fingerprint import fingerprint
from harness.records.folder import write_json
from harness.records.lines import RunRecord
from harness.report.files import read_result
from harness.session.derived_files import derive_files
from harness.stages import STAGES, UNDIVIDED
from tests.harness.made_files import write_run
from tests.harness.made_runs import full_run, header, host_peak, stage_test, whole_pass
from tests.harness.report.made_reports import old_file, old_records


def test_a_folder_its_journal_and_run_json_are_one_and_the_same_run(tmp_path: Path) -> None:
    run = full_run()
    write_run(tmp_path, run)
    derive_files(tmp_path, run)
    assert read_result(tmp_path) == read_result(tmp_path / "journal.jsonl") == read_result(tmp_path / "run.json") == run


def test_our_legacy_file_keeps_the_parts_of_stage_3(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    write_json(path, legacy_records(full_run()), indent=2)
    found = read_result(path)
    assert found is not None
    whole = [each for each in found.passes if each.failure is None]
    assert {tuple(each.stage_s) for each in whole} == {STAGES}
    assert [comparison.total.factor for comparison in comparisons(found)] == pytest.approx(
        [comparison.total.factor for comparison in comparisons(full_run())]
    )
    assert sum(each.failure is not None for each in found.passes) == 3


def test_a_legacy_file_is_read_back_whatever_its_models_are_called(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    models = ("videollava", "egpt", "llava-1.5")
    passes = tuple(whole_pass(model, "s1") for model in models)
    stages = (stage_test("llava-1.5", "load", {"s1": [1.0]}, memory={"s1": host_peak(7)}),)
    written = RunRecord(header=header(("s1",), models=models, targets=models[1:]), passes=passes, stages=stages)
    write_json(path, legacy_records(written), indent=2)
    found = read_result(path)
    assert found is not None
    assert (found.header.models, found.header.draft) == (("egpt", "videollava", "llava-1.5"), "egpt")
    assert [each.stage_s for each in found.passes if each.model == "llava-1.5"] == [passes[2].stage_s]


def test_an_old_file_has_stage_3_in_one_and_loses_no_time(tmp_path: Path) -> None:
    found = read_result(old_file(tmp_path))
    assert found is not None
    assert {tuple(each.stage_s) for each in found.passes} == {("load", "preprocess", UNDIVIDED)}
    expected = [record[f"{model}_time"] for model in ("egpt", "videollava") for record in old_records()]
    assert [pass_s(each) for each in found.passes] == pytest.approx(expected)


def test_a_session_of_a_baseline_is_the_run_in_it(tmp_path: Path) -> None:
    run = full_run()
    session = SessionRecord(fingerprint(run), run)
    path = tmp_path / "0001_20260304.json"
    path.write_bytes(msgspec.json.encode({"benchmarks": [], "event_vlm_perf": session}))
    assert read_result(path) == run


def test_a_file_of_answers_alone_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"results": [{"egpt_tokens": [5, 6], "vl_tokens": [5, 7]}]}))
    assert read_result(path) is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"header": ' + "[" * 100_000, "is not JSON"),
        ([{"id": "a", "egpt": "text only"}], "no sample has the times of all three stages"),
        ([], "the list is empty: it holds no record"),
        ([{"id": "a", "egpt_time": 2.0, "videollava_time": 4.0}], "no sample has the times of all three stages"),
        ({"results": []}, "'results' is empty, and there are no 'errors'"),
        ({"header": {"format_version": 1}}, "is not what a run writes"),
        ({"event_vlm_perf": {}}, "is not what a run writes"),
    ],
)
def test_what_is_no_result_is_named_with_a_way_out(tmp_path: Path, content: Any, complaint: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ResultFileError, match=complaint) as caught:
        read_result(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"cannot be read \(No such file or directory\); name a run's folder"):
        read_result(tmp_path / "gone.json")


def test_a_run_record_is_what_comes_out(tmp_path: Path) -> None:
    assert isinstance(read_result(old_file(tmp_path)), RunRecord)
