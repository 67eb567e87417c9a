"""Result files of ours and of the old script are read back, and what cannot be true is refused by file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultFileError
from harness.legacy.reading import read_legacy, run_of_legacy_file
from tests.harness.made_runs import STARTED_AT
from tests.harness.report.made_reports import old_records


def old_file(folder: Path, content: object) -> Path:
    path = folder / "old.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_old_text_under_the_models_long_name_is_found_under_its_key(tmp_path: Path) -> None:
    path = old_file(tmp_path, [{"id": "s1", "llava-1.5-7b-hf": "a road", "llava_time": 2.5}])
    assert read_legacy(path) == [{"id": "s1", "llava": "a road", "llava_time": 2.5}]


def test_old_times_under_the_models_long_name_are_found_under_its_key(tmp_path: Path) -> None:
    path = old_file(tmp_path, [{"id": "s1", "llava-1.5-7b-hf_stage1_time": 2.5, "llava-1.5-7b_time": 1}])
    assert read_legacy(path) == [{"id": "s1", "llava_stage1_time": 2.5, "llava-1.5-7b_time": 1}]


def test_keys_that_are_not_known_are_kept(tmp_path: Path) -> None:
    record = {"id": "s1", "from_the_future": {"a": [1]}, "note": None, "egpt_time": 3}
    assert read_legacy(old_file(tmp_path, [record])) == [record]
    assert read_legacy(old_file(tmp_path, [])) == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", "[[]]", "null", '[{"id": "s1"}', "not json", '[{"id": NaN}]'])
def test_a_file_that_is_no_list_of_records_is_named(content: str, tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"old\.json: is not a legacy result file, a JSON list of records: "):
        read_legacy(old_file(tmp_path, content))


def test_bytes_that_are_no_utf_8_are_named_and_so_is_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(b'[{"id": "\xff"}]')
    with pytest.raises(ResultFileError, match=r"old\.json: is not a legacy result file"):
        read_legacy(path)
    with pytest.raises(ResultFileError, match=r"gone\.json: cannot be read \(No such file"):
        read_legacy(tmp_path / "gone.json")


@pytest.mark.parametrize("record", [{}, {"id": 3}, {"id": None}])
def test_a_record_without_an_id_is_named_by_its_place(record: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"old\.json: record 1 has no 'id' that is a text"):
        read_legacy(old_file(tmp_path, [{"id": "s1"}, record]))


@pytest.mark.parametrize("name", ["egpt_time", "egpt_stage1_time", "llava_memory_model_mb", "llava_acceptance_rate"])
@pytest.mark.parametrize("value", ["1.0", None, True, [1]])
def test_a_figure_that_is_no_number_is_named_by_file_record_and_field(name: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=rf"old\.json: record 0 \('s7'\): '{name}' must be a number, not "):
        read_legacy(old_file(tmp_path, [{"id": "s7", name: value}]))


def test_the_time_of_day_is_a_text_and_no_figure(tmp_path: Path) -> None:
    assert read_legacy(old_file(tmp_path, [{"id": "s1", "benchmark_datetime": STARTED_AT}]))


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("egpt_stage1_time", 1e308, "<= 1000000000.0"),
        ("egpt_stage3_time", 0.0, ">= 1e-12"),
        ("videollava_stage2_time", -1.0, ">= 1e-12"),
        ("egpt_memory_inference_mb", 1e308, "<= 1073741824.0"),
        ("videollava_load_memory_mb", -1, ">= 0.0"),
    ],
)
def test_a_figure_that_cannot_be_true_is_named_by_file_sample_and_field(
    name: str, value: float, bound: str, tmp_path: Path
) -> None:
    first, *others = old_records()
    path = old_file(tmp_path, [first | {name: value}, *others])
    with pytest.raises(ResultFileError) as caught:
        run_of_legacy_file(path)
    assert str(caught.value) == f"{path}: sample {first['id']!r}: {name!r} is {value!r}: Expected `float` {bound}"


def test_a_time_of_day_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"old\.json: Invalid isoformat string: 'noon'; name a run's folder"):
        run_of_legacy_file(old_file(tmp_path, [record | {"benchmark_datetime": "noon"} for record in old_records()]))
