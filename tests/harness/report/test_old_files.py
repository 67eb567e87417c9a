"""`report` and `acceptance` of old result files as people have them: what the pages say, and the exit status."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from harness.__main__ import main
from harness.figures.agreement import positionwise, theoretical_speedup, token_weighted
from harness.report.files import report_files
from tests.harness.legacy.five_stage_files import five_stages
from tests.harness.report.made_reports import old_file, old_records
from tests.harness.report.reading import Page

pytestmark = pytest.mark.usefixtures("undrawn")


def pages(folder: Path, content: Any, name: str = "old.json") -> tuple[str, Page]:
    """The text and the page of a file's report."""
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    page, text = report_files([path], None, 5)
    return text.read_text(encoding="utf-8"), Page(page.read_text(encoding="utf-8"))


def changed(**fields: Any) -> list[dict[str, Any]]:
    first, *others = old_records()
    return [first | fields, *others]


def with_totals(extra_s: float) -> list[dict[str, Any]]:
    return [record | {"egpt_time": record["egpt_time"] + extra_s} for record in old_records()]


def test_recorded_totals_c_and_s_stand_beside_the_sums(tmp_path: Path) -> None:
    records = with_totals(0.25)
    text, page = pages(tmp_path, records)
    sums = {
        model: fmean(sum(each[f"{model}_stage{n}_time"] for n in (1, 2, 3)) for each in records)
        for model in ("egpt", "videollava")
    }
    agreed = [positionwise(each["egpt_token_ids"], each["videollava_token_ids"]) for each in records]
    c = sums["egpt"] / sums["videollava"]
    expected = {
        "recorded_total.egpt": sums["egpt"] + 0.25,
        "sum_of_stages.egpt": sums["egpt"],
        "recorded_total.videollava": sums["videollava"],
        "recorded_over_sum.egpt": 0.25 / sums["egpt"],
        "recorded_speedup.videollava": sums["videollava"] / (sums["egpt"] + 0.25),
        "speedup_of_sums.videollava": 1 / c,
        "recorded_c.videollava": c,
        "recorded_s.videollava": theoretical_speedup(token_weighted(agreed), 5, c),
    }
    assert {name: page.values[name] for name in expected} == pytest.approx(expected)
    for words in ("recorded total ms", "c (cost ratio)", "S (theoretical speedup)"):
        assert words in text
        assert words in page.words


def test_a_total_that_one_record_lacks_has_no_mean(tmp_path: Path) -> None:
    first, *others = with_totals(0.25)
    del first["egpt_time"]
    text, page = pages(tmp_path, [first, *others])
    assert "| egpt | not recorded | 1851 |" in text
    assert not {"recorded_total.egpt", "recorded_over_sum.egpt", "recorded_speedup.videollava"} & page.values.keys()
    assert page.values["recorded_total.videollava"] == pytest.approx(9.463)


def test_what_is_not_recorded_says_so(tmp_path: Path) -> None:
    records = [
        {key: value for key, value in record.items() if key not in {"egpt_time", "benchmark_datetime"}}
        for record in old_records()
    ]
    text, page = pages(tmp_path, records)
    assert "1970" not in text
    assert "date not recorded" in text
    assert "The date is not recorded." in text
    assert "recorded_total.egpt" not in page.values
    assert "| egpt | not recorded |" in text


def test_the_models_memory_is_kept(tmp_path: Path) -> None:
    _, page = pages(tmp_path, changed(egpt_memory_model_mb=13_000.5))
    assert page.values["recorded_weights.egpt"] == int(13_000.5 * 2**20)
    assert "recorded_weights.videollava" not in page.values


@pytest.mark.parametrize("value", [None, 0.0, float("nan")])
def test_a_bad_sample_is_left_out_by_name_and_the_rest_reported(value: Any, tmp_path: Path) -> None:
    path = old_file(tmp_path, changed(egpt_stage1_time=value))
    assert main(["report", str(path)]) == 0
    text = (tmp_path / "old_results_n10_report.md").read_text(encoding="utf-8")
    assert f"reading of sample '{old_records()[0]['id']}' failed: left out: 'egpt" in text.replace("\\", "")


def test_a_time_below_zero_is_refused_by_sample_and_key_and_the_rest_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = old_file(tmp_path, changed(egpt_stage1_time=-0.001))
    assert main(["report", str(path)]) == 2
    said = capsys.readouterr().err
    sample = old_records()[0]["id"]
    assert f"sample {sample!r}: 'egpt_stage1_time' is -0.001: a time is above 0 s, and below 10^9 s: left out, " in said
    assert "x faster than videollava" in (tmp_path / "old_results_n10_report.md").read_text(encoding="utf-8")


def test_a_model_whose_times_are_all_zero_leaves_the_other_one(tmp_path: Path) -> None:
    text, page = pages(tmp_path, [record | {"egpt_stage2_time": 0.0} for record in old_records()])
    assert "sum_of_stages.videollava" in page.values
    assert "speedup" not in "".join(page.values)
    assert "… and 2 more failed samples" in text


def test_equal_ids_all_count(tmp_path: Path) -> None:
    text, _ = pages(tmp_path, [record | {"id": "clip"} for record in old_records()])
    assert "Equal ids, told apart by a number behind them: 'clip' (10 records)." in text
    assert "Mean over mean, n = 10." in text


def refused_files() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    names = ("egpt_token_ids", "videollava_token_ids")
    old = old_records()
    yield (
        "begins with the id 1",
        [each | {name: [1, n, *each[name]] for name in names} for n, each in enumerate(old, start=5)],
    )
    yield "degenerate", [each | {"videollava_token_ids": [7, 7, 8, 9, 9]} for each in old]
    yield "the prompt was left in", [each | {"videollava_token_ids": [-200, 8, 9, 5]} for each in old]


@pytest.mark.parametrize(("reason", "records"), list(refused_files()), ids=["begin", "degenerate", "prompt"])
def test_what_acceptance_refuses_report_prints_nowhere(
    reason: str, records: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, page = pages(tmp_path, records)
    assert main(["acceptance", str(tmp_path / "old.json")]) == 2
    assert reason in capsys.readouterr().err
    assert reason in text
    assert not [name for name in page.values if name.startswith(("agreement", "recorded_s.", "forecast"))]
    assert "agreement of the answers" not in page.words.lower()


def test_answers_shorter_in_ids_than_in_words_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = pages(tmp_path, changed(egpt="a b c d e f g h", egpt_token_ids=[5, 6, 7]))
    assert "fewer ids than words" in text
    assert main(["acceptance", str(tmp_path / "old.json")]) == 0
    assert "Answers of egpt with fewer ids" in capsys.readouterr().out


def test_acceptance_and_report_read_the_same_bytes(tmp_path: Path) -> None:
    for name, content in {
        "nan.json": json.dumps([each | {"egpt_tokens_per_second": float("nan")} for each in old_records()]).encode(),
        "mark.json": json.dumps(old_records()).encode("utf-8-sig"),
        "wide.json": json.dumps(old_records()).encode("utf-16"),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert [main([command, str(tmp_path / name)]) for command in ("report", "acceptance")] == [0, 0]


def test_lengths_of_clips_stand_side_by_side_with_times_memory_and_tokens(tmp_path: Path) -> None:
    paths = []
    for number, clip in enumerate(("20s", "2s", "5s")):  # as the scripts name them: the length is inside
        paths.append(tmp_path / f"parallel_prefill_5stages_2026012{number}_212714.json")
        paths[-1].write_text(json.dumps(five_stages(clip)), encoding="utf-8")
    assert main(["report", *map(str, paths), "--output-dir", str(tmp_path / "out")]) == 0
    page = Page((tmp_path / "out" / "side_by_side_report.html").read_text(encoding="utf-8"))
    assert page.words.index("2 s") < page.words.index("5 s") < page.words.index("20 s")
    assert page.tags.count("svg") == 2
    for place, clip in enumerate(("2s", "5s", "20s")):
        recorded = [each["videollava"] for each in five_stages(clip)["results"]]
        times = [sum(each[f"stage{n}_time"] for n in range(1, 6)) for each in recorded]
        number = 2 * place + 1
        assert page.values[f"{number}.total.videollava"] == pytest.approx(fmean(times))
        assert page.values[f"{number}.tokens.videollava"] == 12
        assert page.values[f"{number}.peak.videollava"] == int(
            max(each["gpu_memory_mb"]["peak"] for each in recorded) * 2**20
        )
    assert "Vision is not timed by itself" in (tmp_path / "out" / "side_by_side_report.md").read_text(encoding="utf-8")


def test_five_stages_have_a_report_of_their_own(tmp_path: Path) -> None:
    text, page = pages(tmp_path, five_stages("2s"))
    assert "| model | load | preprocess | vision | prefill | decode |" in text
    assert "2026-01-27 21:29" in text
    assert "quantization 4bit" in text
    assert page.values["recorded_weights.egpt"] == int(3904.75 * 2**20)
    assert page.values["recorded_over_sum.egpt"] > 0


def test_a_file_of_errors_alone_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    errors = [{"sample_idx": n, "egpt_error": None, "vl_error": "is ambiguous"} for n in range(3)]
    path = tmp_path / "empty.json"
    path.write_text(json.dumps(five_stages("2s") | {"results": [], "errors": errors}))
    for command in ("report", "acceptance"):
        assert main([command, str(path)]) == 2
        assert "'errors' has all samples (3), the first, '0', with 'is ambiguous'" in capsys.readouterr().err


def test_a_file_whose_name_has_the_most_bytes_has_a_report(tmp_path: Path) -> None:
    page, text = report_files([old_file(tmp_path, name="車" * 83 + ".json")], None, 5)
    assert page.is_file()
    assert text.is_file()


def test_a_file_of_totals_alone_says_so_with_their_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    totals = [{key: value for key, value in record.items() if "stage" not in key} for record in old_records()]
    means = {model: fmean(record[f"{model}_time"] for record in totals) for model in ("egpt", "videollava")}
    (tmp_path / "totals.json").write_text(json.dumps(totals), encoding="utf-8")
    said = [f"{model} {seconds:.4g} s of {len(totals)} samples" for model, seconds in means.items()]
    sentence = f"Totals are recorded, and no stages: mean {', '.join(said)}."
    text = report_files([tmp_path / "totals.json"], None, 5)[1].read_text(encoding="utf-8")
    assert sentence in text.replace("\\", "")
    without_ids = [{key: value for key, value in record.items() if "ids" not in key} for record in totals]
    (tmp_path / "only.json").write_text(json.dumps(without_ids), encoding="utf-8")
    assert main(["report", str(tmp_path / "only.json")]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(("extra_s", "is_told"), [(0.1, False), (0.3, True)])
def test_totals_that_contradict_the_stages_are_a_warning(extra_s: float, is_told: bool, tmp_path: Path) -> None:
    text, page = pages(tmp_path, with_totals(extra_s))
    assert ("egpt: recorded totals differ from the sums of stages by" in text) == is_told
    assert "videollava: recorded totals differ" not in text
    assert ("contradicts_sum.egpt" in page.values) == is_told
    if is_told:
        assert page.values["contradicts_sum.egpt"] == pytest.approx(page.values["recorded_over_sum.egpt"])
