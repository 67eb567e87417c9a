"""Several results side by side: a table, and curves over the lengths of the clips where they are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.__main__ import main
from harness.records.lines import RunRecord
from harness.report.several import duration_s
from tests.harness.made_runs import header
from tests.harness.report.made_reports import old_file, old_records
from tests.harness.report.reading import Page


def slower(factor: float) -> list[dict[str, object]]:
    """The old records, the target so many times as slow in stage 1."""
    key = "videollava_stage1_time"
    return [record | {key: factor * record[key]} for record in old_records()]


def test_lengths_are_in_order_and_each_has_its_row_and_its_point(tmp_path: Path) -> None:
    files = [
        old_file(tmp_path, slower(factor), f"dsec_train_{name}.json") for name, factor in (("2s", 2), ("500ms", 0.5))
    ]
    assert main(["report", *map(str, files), "--output-dir", str(tmp_path / "out")]) == 0
    page = Page((tmp_path / "out" / "side_by_side_report.html").read_text(encoding="utf-8"))
    assert page.words.index("0.5 s") < page.words.index("2 s")
    assert page.tags.count("svg") == 2
    speedups = [page.values[f"{place}.speedup.stage1"] for place in (0, 1)]
    assert speedups == pytest.approx([0.5 * 6.858 / 0.851, 2 * 6.858 / 0.851])
    assert (tmp_path / "out" / "side_by_side_report.md").exists()


def test_without_lengths_there_is_a_table_and_no_curve(tmp_path: Path) -> None:
    files = [old_file(tmp_path, name=f"{name}.json") for name in ("one", "other")]
    assert main(["report", *map(str, files)]) == 0
    page = Page((tmp_path / "side_by_side_report.html").read_text(encoding="utf-8"))
    assert "svg" not in page.tags
    assert page.tags.count("table") == 2


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("my_egpt_dsec_train_500ms.json", 0.5),
        ("results_20s_n200.json", 20.0),
        ("run-1.5s.json", 1.5),
        ("results_n200_20260304_050607.json", None),
        ("5s_and_10s.json", None),
        ("frames8s2.json", None),
    ],
)
def test_the_length_is_read_from_the_name(name: str, seconds: float | None) -> None:
    assert duration_s(Path("results") / name, RunRecord(header())) == seconds


def test_the_embedded_set_says_how_long_its_clips_are() -> None:
    run = RunRecord(header(options={"gamma": 5, "embedded": "8:640x480:0.5"}))
    assert duration_s(Path("any_20s.json"), run) == 0.5
