"""Several results side by side: a table, and curves over the lengths of the clips where they are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

import pytest

from harness.__main__ import main
from harness.figures.agreement import positionwise
from harness.figures.intervals import ratio_interval
from harness.figures.passes import pass_s
from harness.figures.stages import peak_bytes
from harness.records.lines import PassRecord, RunRecord
from harness.report.blocks import Figure, Table, Text, parts, plain
from harness.report.files import read_result
from harness.report.several import duration_s, report_of_several
from harness.stages import STAGES
from tests.harness.made_files import write_run
from tests.harness.made_runs import full_run, header, run_with, whole_pass
from tests.harness.report.distinct_run import distinct_run
from tests.harness.report.made_reports import old_file, old_records
from tests.harness.report.reading import Page

PASSES = [whole_pass(model, "s1", (factor,) * 5) for model, factor in (("egpt", 1.0), ("videollava", 2.0))]


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


def test_a_result_without_a_whole_pass_is_named(tmp_path: Path) -> None:
    files = [write_run(tmp_path / name, run) for name, run in (("passes", full_run()), ("stages", full_run(passes=())))]
    assert main(["report", *map(str, files), "--output-dir", str(tmp_path)]) == 0
    found = (tmp_path / "side_by_side_report.md").read_text(encoding="utf-8")
    assert "- stages: no whole pass, so no row." in found
    assert "passes: no whole" not in found


def test_one_speedup_has_no_range() -> None:
    pair = [(Path("a.json"), full_run(passes=())), (Path("b.json"), run_with(*PASSES))]
    assert not report_of_several(pair).highlights


def test_results_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        Path(folder).mkdir()
        old_file(Path(folder), name="results.json")
        write_run(Path(folder) / "run", full_run())
    named = ["a/results.json", "b/results.json", "a/run", "b/run/journal.jsonl"]
    assert main(["report", *named, "--output-dir", "."]) == 0
    source = Path("side_by_side_report.md").read_text(encoding="utf-8")
    assert "a/results.json, b/results.json, a/run, b/run" in source


def test_totals_that_contradict_the_stages_are_a_warning_beside_others_too(tmp_path: Path) -> None:
    wrong = [record | {"egpt_time": record["egpt_time"] + 4.0} for record in old_records()]
    files = [old_file(tmp_path, records, name) for records, name in ((wrong, "wrong.json"), (old_records(), "ok.json"))]
    report = report_of_several([(file, read_result(file, 5)) for file in files])
    ((warning, _),) = report.warnings
    assert plain(warning).startswith("wrong: egpt: recorded totals differ from the sums of stages by +")


def test_a_result_that_is_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", full_run())
    assert main(["report", str(tmp_path / "run"), str(tmp_path / "run" / "journal.jsonl")]) == 2
    assert "run: is given twice; name each result once" in capsys.readouterr().err


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


def test_a_file_that_names_its_clips_is_believed_before_its_folder() -> None:
    run = RunRecord(header(dataset="my_egpt_dsec_seq_2s"))
    assert duration_s(Path("clips_20s") / "parallel_5stages_20260127.json", run) == 2


def test_memory_beside_the_times_is_the_highest_of_all_stages() -> None:
    run = full_run()
    report = report_of_several([(Path("a.json"), run), (Path("b.json"), run)])
    (table,) = (block for each in report.sections if each.key == "times" for block in each.blocks)
    assert isinstance(table, Table)
    for row in table.rows:
        peaks = [value for (key, _), value in peak_bytes(run).items() if key == plain(row[1]).split()[0]]
        assert len(set(peaks)) > 1 or not peaks
        assert figures([row[-1]]) == ([max(peaks)] if peaks else [])


def test_the_range_of_speedups_is_that_of_the_factors_whatever_the_names() -> None:
    runs = {"a": 2.0, "b": 5.0, "c": 1.5, "d": 3.0}
    results = [
        (Path(f"{name}.json"), run_with(whole_pass("egpt"), whole_pass("videollava", seconds=(factor,) * 5)))
        for name, factor in runs.items()
    ]
    (line,) = map(plain, report_of_several(results).highlights)
    assert line == "The total speedup ranges from 1.50x (c.json, videollava) to 5.00x (b.json, videollava)."


def figures(row: Sequence[Text]) -> list[float]:
    return [part.value for cell in row for part in parts(cell) if isinstance(part, Figure)]


def whole(run: RunRecord, model: str, engine: str) -> list[PassRecord]:
    kinds = ("whole", model, engine)
    return [each for each in run.passes if (each.kind, each.model, each.engine) == kinds and not each.failure]


def speedups(run: RunRecord) -> Iterator[list[float]]:
    """Of each engine and target: the samples of both, the total's speedup, its interval, the stages', the agreement."""
    for engine in run.header.engines:
        draft = {each.sample: each for each in whole(run, "egpt", engine)}
        for target in run.header.targets:
            pairs = [(draft[each.sample], each) for each in whole(run, target, engine) if each.sample in draft]
            sums = [
                [[sum(one.stage_s[stage] for stage in stages) for one in pair] for pair in pairs]
                for stages in (STAGES, STAGES[:1], STAGES[1:2], STAGES[2:])
            ]
            total, *by_stage = (fmean(theirs for _, theirs in each) / fmean(mine for mine, _ in each) for each in sums)
            interval = ratio_interval([theirs for _, theirs in sums[0]], [mine for mine, _ in sums[0]])
            assert interval is not None
            agreed = fmean(positionwise(mine.token_ids, theirs.token_ids).rate for mine, theirs in pairs)
            yield [len(pairs), total, interval.low, interval.high, *by_stage, agreed]


def test_each_row_is_of_its_own_result_target_and_stage() -> None:
    runs = {"a": distinct_run(), "b": full_run()}
    report = report_of_several([(Path(f"{title}.json"), run) for title, run in runs.items()])
    factors, times = (
        [row for block in each.blocks if isinstance(block, Table) for row in block.rows] for each in report.sections
    )
    assert [figures(row) for row in factors] == [pytest.approx(each) for run in runs.values() for each in speedups(run)]
    assert [figures(row)[0] for row in times] == [
        pytest.approx(fmean(pass_s(each) for each in whole(run, model, engine)))
        for run in runs.values()
        for model in run.header.models
        for engine in run.header.engines
    ]
    assert [plain(row[3]) for row in times] == [
        str(len(whole(run, model, engine)))
        for run in runs.values()
        for model in run.header.models
        for engine in run.header.engines
    ]
