"""Result files of the old scripts are read back; what cannot be true is left out by sample and field."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ResultFileError
from harness.figures.agreement import positionwise
from harness.figures.passes import comparisons, pass_figures, pass_s
from harness.figures.stages import peak_bytes
from harness.legacy.reading import BELOW_ZERO, INFERENCE, NO_TIME, run_of_old_file
from harness.records.lines import RunRecord
from harness.records.quantities import MIB
from tests.harness.legacy.five_stage_files import AMOUNT, five_stages
from tests.harness.made_runs import STARTED_AT
from tests.harness.report.made_reports import old_records


def old_file(folder: Path, content: object) -> Path:
    path = folder / "old.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(folder: Path, content: object) -> RunRecord:
    found = run_of_old_file(old_file(folder, content))
    assert found is not None
    return found


def changed(place: int, **fields: Any) -> list[dict[str, Any]]:
    """The old records, one of them with other fields."""
    return [record | (fields if number == place else {}) for number, record in enumerate(old_records())]


def notes(run: RunRecord) -> str:
    return "\n".join(run.notes)


def failed(run: RunRecord) -> list[tuple[str, str, str, str]]:
    return [(each.model, each.sample, each.failure.type, each.failure.text) for each in run.passes if each.failure]


def renamed(old: str, new: str, suffixes: Sequence[str]) -> list[dict[str, Any]]:
    keys = {f"{old}{suffix}": f"{new}{suffix}" for suffix in suffixes}
    return [{keys.get(key, key): value for key, value in record.items()} for record in old_records()]


SUFFIXES = ("", "_time", "_stage1_time", "_stage2_time", "_stage3_time", "_token_ids", "_memory_inference_mb")


@pytest.mark.parametrize("spelled", ["text", "times"])
def test_the_models_long_name_is_read_in_all_its_keys(spelled: str, tmp_path: Path) -> None:
    expected = read(tmp_path, renamed("videollava", "llava", SUFFIXES))
    records = renamed("videollava", "llava-1.5-7b-hf", SUFFIXES)
    if spelled == "text":
        records = [
            {"llava" + key[15:] if key[15:] and key.startswith("llava-1.5") else key: each for key, each in one.items()}
            for one in records
        ]
    found = read(tmp_path, records)
    assert found.header.models == ("egpt", "llava")
    assert (found.passes, found.stages, found.notes) == (expected.passes, expected.stages, expected.notes)


def test_keys_that_are_not_known_are_named(tmp_path: Path) -> None:
    found = read(tmp_path, changed(3, from_the_future={"a": [1]}, note=None))
    assert "Not understood and left out: from_the_future.a, note (1 record)." in found.notes
    assert read(tmp_path, old_records()).notes == ()


@pytest.mark.parametrize("content", ["{}", "[1]", "[[]]", "null", "3", '"text"', '{"results": {}}'])
def test_a_file_that_is_no_list_of_records_is_named(content: str, tmp_path: Path) -> None:
    with pytest.raises(
        ResultFileError, match=r"old\.json: is not a legacy result file: it must hold a list of records"
    ):
        run_of_old_file(old_file(tmp_path, content))


@pytest.mark.parametrize("content", [b"", b'[{"id": "s1"}', b"not json", b'[{"id": "\xff"}]', b'[{"id": "\\ud800"}]'])
def test_what_is_no_json_is_named_and_so_is_a_missing_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(content)
    with pytest.raises(ResultFileError, match=r"old\.json: is not JSON: "):
        run_of_old_file(path)
    with pytest.raises(ResultFileError, match=r"gone\.json: cannot be read \(No such file"):
        run_of_old_file(tmp_path / "gone.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_what_windows_puts_before_a_text_is_skipped(encoding: str, tmp_path: Path) -> None:
    path, expected = tmp_path / "old.json", read(tmp_path, old_records())
    path.write_bytes(json.dumps(old_records()).encode(encoding))
    assert path.read_bytes()[:2] in {codecs.BOM_UTF8[:2], codecs.BOM_UTF16_LE, b"[\0"}
    assert run_of_old_file(path) == expected


@pytest.mark.parametrize("fields", [{"id": 7}, {"id": None, "sample_id": 7}, {"id": True, "sample_idx": "7"}])
def test_an_id_that_is_a_number_is_its_text(fields: dict[str, Any], tmp_path: Path) -> None:
    assert read(tmp_path, changed(1, **fields)).header.samples[1].id == "7"


@pytest.mark.parametrize("nothing", [None, True, [1], {"a": {}}])
def test_a_record_without_an_id_is_named_by_its_place(nothing: Any, tmp_path: Path) -> None:
    found = read(tmp_path, changed(1, id=nothing))
    assert found.header.samples[1].id == "record 1"
    assert "Records without an id are named by their place: 1." in found.notes


def test_all_records_of_one_id_count(tmp_path: Path) -> None:
    found = read(tmp_path, [record | {"id": "clip"} for record in old_records()])
    assert len({each.id for each in found.header.samples}) == len(old_records()) == comparisons(found)[0].total.samples
    assert f"Equal ids, told apart by a number behind them: 'clip' ({len(old_records())} records)." in found.notes


def test_ids_that_look_like_those_told_apart_stay_apart(tmp_path: Path) -> None:
    ids = ("clip", "clip", "clip (2)", "clip (2)")
    found = read(tmp_path, [record | {"id": each} for record, each in zip(old_records(), ids, strict=False)])
    assert len({each.id for each in found.header.samples}) == 4


VALUES = {
    "null": ("null", "not a number of seconds"),
    "NaN": ("'NaN'", "not a number of seconds"),
    "Infinity": ("'Infinity'", "not a number of seconds"),
    "1e999": ("'1e999'", "not a number of seconds"),
    '"1.0"': ("'1.0'", "not a number of seconds"),
    "true": ("True", "not a number of seconds"),
    "[1]": ("[1]", "not a number of seconds"),
    "0": ("0", "a time is above 0 s, and below 10^9 s"),
    "0.0": ("0.0", "a time is above 0 s, and below 10^9 s"),
    "-0.001": ("-0.001", "a time is above 0 s, and below 10^9 s"),
    "1e308": ("1e+308", "a time is above 0 s, and below 10^9 s"),
}


@pytest.mark.parametrize("name", ["egpt_time", "egpt_stage1_time", "videollava_stage2_time", "videollava_stage3_time"])
@pytest.mark.parametrize("value", VALUES)
def test_a_time_that_cannot_be_true_leaves_its_sample_out_by_name(name: str, value: str, tmp_path: Path) -> None:
    content = json.dumps(changed(2, **{name: "HERE"})).replace('"HERE"', value)
    found, (shown, why) = read(tmp_path, content), VALUES[value]
    sample, model = old_records()[2]["id"], name.split("_", maxsplit=1)[0]
    ((of, which, kind, text),) = failed(found)
    assert (of, which, kind) == (model, sample, BELOW_ZERO if value.startswith("-") else "left out")
    assert text.startswith(f"{name!r} is {shown}")
    assert text.endswith(why)
    (compared,) = comparisons(found)
    assert compared.total.samples == len(old_records()) - 1
    both = [record for record in old_records() if record["id"] != sample]
    assert compared.total.draft_mean_s == pytest.approx(
        sum(record[f"egpt_stage{n}_time"] for record in both for n in (1, 2, 3)) / len(both)
    )


def test_a_stage_without_its_time_leaves_the_sample_out(tmp_path: Path) -> None:
    records = changed(0)
    del records[0]["egpt_stage2_time"]
    ((_, _, _, text),) = failed(read(tmp_path, records))
    assert text == "'the time of preprocess' is null, not a number of seconds"


def test_where_no_sample_is_left_the_first_says_why(tmp_path: Path) -> None:
    records = [record | {"egpt_stage1_time": 0.0, "videollava_stage1_time": None} for record in old_records()]
    with pytest.raises(ResultFileError, match=r"no sample has the times .*'egpt_stage1_time' is 0\.0: .*, 20 so"):
        run_of_old_file(old_file(tmp_path, records))


@pytest.mark.parametrize("value", [1e308, -1, "much", None])
def test_a_size_that_cannot_be_true_is_named_and_left_out(value: Any, tmp_path: Path) -> None:
    found = read(tmp_path, changed(0, egpt_memory_inference_mb=value, egpt_memory_model_mb=7.0))
    assert set(peak_bytes(found)) == {("videollava", INFERENCE)}
    assert f"No size in MiB, and left out: 'egpt_memory_inference_mb' is {value!r:.40}." in found.notes
    assert [(each.model, each.memory_bytes) for each in found.models] == [("egpt", 7 * MIB)]


def test_of_several_sizes_of_a_model_the_largest_is_taken(tmp_path: Path) -> None:
    records = [record | {"egpt_memory_model_mb": 5.0 + place % 3} for place, record in enumerate(old_records())]
    assert [(each.model, each.memory_bytes) for each in read(tmp_path, records).models] == [("egpt", 7 * MIB)]


def test_the_recorded_total_is_kept_beside_the_sum_of_the_stages(tmp_path: Path) -> None:
    found = read(tmp_path, [record | {"egpt_time": record["egpt_time"] + 0.005} for record in old_records()])
    for each in found.passes:
        assert each.whole_s == pytest.approx(pass_s(each) + (0.005 if each.model == "egpt" else 0.0))


@pytest.mark.parametrize(
    ("date", "note"),
    [(None, "The date is not recorded."), ("noon", "The date is not recorded: 'noon' is no date."), (STARTED_AT, "")],
)
def test_a_date_that_is_none_is_not_recorded(date: Any, note: str, tmp_path: Path) -> None:
    found = read(tmp_path, [record | {"benchmark_datetime": date} for record in old_records()])
    assert found.header.started_at == (NO_TIME if note else STARTED_AT)
    assert found.notes == ((note,) if note else ())


@pytest.mark.parametrize(
    ("ids", "reason"),
    [
        ([5] * 9, "the draft's answers, 90 ids, are of only 1 kinds"),
        ([1, 2, 3, 4], "the draft's answers to all 10 samples are one and the same"),
        ([-200, 5, 6], "a placeholder below zero: the prompt was left in"),
    ],
)
def test_what_acceptance_refuses_is_no_agreement(ids: list[int], reason: str, tmp_path: Path) -> None:
    found = read(tmp_path, [record | {"egpt_token_ids": ids} for record in old_records()])
    assert reason in notes(found)
    assert not any(each.token_ids for each in found.passes)
    assert not any(each.compared for each in comparisons(found)[0].agreements.values())


def test_begin_of_text_that_always_agrees_is_no_agreement(tmp_path: Path) -> None:
    names = ("egpt_token_ids", "videollava_token_ids")
    found = read(
        tmp_path, [each | {name: [1, *each[name], n] for name in names} for n, each in enumerate(old_records())]
    )
    assert "begins with the id 1" in notes(found)
    assert not any(each.token_ids for each in found.passes)


def test_a_five_stage_file_is_read_with_its_times_memory_and_tokens(tmp_path: Path) -> None:
    content = five_stages("2s")
    found = read(tmp_path, content)
    assert (found.header.models, found.header.started_at) == (("egpt", "videollava"), content["datetime"])
    assert found.header.dataset == content["dataset_name"]
    for mine, theirs in (("egpt", "eventgpt"), ("videollava", "videollava")):
        recorded = [each[theirs] for each in content["results"]]
        (figures,) = (each for each in pass_figures(found) if each.model == mine)
        for number, stage in enumerate(("load", "preprocess", "vision", "prefill", "decode"), start=1):
            assert [each.stage_s[stage] for each in figures.records] == [
                each[f"stage{number}_time"] for each in recorded
            ]
        assert [each.whole_s for each in figures.records] == [each["total_time"] for each in recorded]
        assert [list(each.token_ids) for each in figures.records] == [each["output_tokens"] for each in recorded]
        assert [each.text for each in figures.records] == [each["output_text"] for each in recorded]
        peaks = [each["gpu_memory_mb"]["peak"] for each in recorded]
        assert peak_bytes(found)[mine, INFERENCE] == int(max(peaks) * MIB)
        (weights,) = (each.memory_bytes for each in found.models if each.model == mine)
        assert weights == int(content["gpu_memory"][f"{theirs}_model_mb"] * MIB)
    assert "Vision is not timed by itself, prefill includes it: videollava." in found.notes
    (compared,) = comparisons(found)
    assert compared.total.samples == AMOUNT
    assert compared.agreement_per_sample == pytest.approx(
        sum(
            positionwise(each["eventgpt"]["output_tokens"], each["videollava"]["output_tokens"]).rate
            for each in content["results"]
        )
        / AMOUNT
    )


def test_what_failed_in_a_five_stage_file_is_named_by_its_sample(tmp_path: Path) -> None:
    errors = [{"sample_idx": 7, "egpt_error": None, "vl_error": "torn"}, {"sample_idx": 8, "error": "both"}]
    found = read(tmp_path, five_stages("2s") | {"errors": errors})
    assert failed(found) == [
        ("egpt", "8", "error", "both"),
        ("videollava", "7", "error", "torn"),
        ("videollava", "8", "error", "both"),
    ]


def test_a_five_stage_file_of_errors_alone_says_so(tmp_path: Path) -> None:
    errors = [{"sample_idx": n, "egpt_error": None, "vl_error": "is ambiguous"} for n in range(3)]
    with pytest.raises(ResultFileError) as caught:
        run_of_old_file(old_file(tmp_path, five_stages("2s") | {"results": [], "errors": errors}))
    assert str(caught.value) == (
        f"{tmp_path / 'old.json'}: 'results' is empty: 'errors' has all samples (3), the first, '0', with "
        "'is ambiguous'"
    )


@pytest.mark.parametrize(("value", "kind"), [(None, "left out"), (0.0, "left out"), (-0.5, BELOW_ZERO)])
def test_a_bad_time_of_a_five_stage_file_is_named_as_the_file_has_it(value: Any, kind: str, tmp_path: Path) -> None:
    content = five_stages("2s")
    content["results"][1]["videollava"]["stage4_time"] = value
    ((model, sample, how, text),) = failed(read(tmp_path, content))
    assert (model, sample, how) == ("videollava", "1", kind)
    assert text.startswith("'videollava.stage4_time' is ")
