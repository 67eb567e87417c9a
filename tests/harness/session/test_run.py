from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import RunFolderError
from harness.records.journal import read_journal
from harness.records.lines import EndRecord, RunRecord
from harness.session.run import Run, derive_files
from tests.harness.made_runs import STARTED_AT, full_run, header, loaded, stage_test, whole_pass

BeginRun = Callable[..., Run]
END = EndRecord(STARTED_AT, 0, "it ended")
LEGACY_NAME = "EventGPT_Instruction_Subset_results_n{}_20260304_050607.json"
TOTAL, MEDIAN, UNREACHED = "eager.speedup.videollava.total", "eager.median_ms.egpt.load", "eager.median_ms.egpt.decode"


@pytest.fixture
def run_in() -> Iterator[BeginRun]:
    """Begins runs, and closes their journals after the test."""
    runs: list[Run] = []

    def begin(folder: Path, output_json: Path | None = None, **changes: Any) -> Run:
        runs.append(Run(folder / "run", header(("s1", "s2"), **changes), output_json))
        return runs[-1]

    yield begin
    for run in runs:
        run._journal.close()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def load_test(seconds: float = 1.0) -> Any:
    return stage_test("egpt", "load", {"s1": [seconds]})


def test_the_header_is_on_disk_before_anything_is_measured(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path)
    assert read_journal(run.folder / "journal.jsonl") == RunRecord(run.header)


def test_a_measurement_is_in_the_journal_at_once_and_in_the_files_after_the_test(
    tmp_path: Path, run_in: BeginRun
) -> None:
    run = run_in(tmp_path)
    run.append(whole_pass("egpt", "s1"))
    assert names_in(run.folder) == ["journal.jsonl"]
    assert len(run.read().passes) == 1
    run.conclude_test("test_whole[egpt]")
    assert names_in(run.folder) == [LEGACY_NAME.format(1), "journal.jsonl", "run.json"]
    assert json.loads((run.folder / "run.json").read_text())["passes"][0]["sample"] == "s1"


def test_run_json_is_the_whole_record(tmp_path: Path) -> None:
    derive_files(tmp_path, full_run())
    assert msgspec.json.decode((tmp_path / "run.json").read_bytes(), type=RunRecord) == full_run()


def test_a_verdict_is_given_once_by_the_test_that_completes_its_figure(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path, limits={TOTAL: 0.5, MEDIAN: 5000.0})
    run.append(whole_pass("egpt"))
    run.conclude_test("test_whole[egpt]")
    assert run.read().verdicts == ()
    run.append(load_test())
    run.conclude_test("test_load[egpt]")
    run.append(whole_pass("videollava"))
    run.conclude_test("test_whole[videollava]")
    run.conclude_test("test_later")
    verdicts = [(each.limit, each.state, each.test) for each in run.read().verdicts]
    assert verdicts == [(MEDIAN, "pass", "test_load[egpt]"), (TOTAL, "pass", "test_whole[videollava]")]


def test_a_broken_limit_is_handed_to_the_test_that_measured_it_and_to_no_other(
    tmp_path: Path, run_in: BeginRun
) -> None:
    run = run_in(tmp_path, limits={MEDIAN: 500.0, UNREACHED: 1.0})
    run.append(load_test())
    (broken,) = run.conclude_test("test_load[egpt]")
    assert (broken.limit, broken.state, broken.test) == (MEDIAN, "broken", "test_load[egpt]")
    assert run.conclude_test("test_later") == []


def test_a_kept_limit_fails_no_test(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path, limits={MEDIAN: 1500.0})
    run.append(load_test())
    assert run.conclude_test("test_load[egpt]") == []


def test_at_the_end_every_limit_has_one_verdict(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path, limits={MEDIAN: 500.0, UNREACHED: 1.0, TOTAL: 1.0})
    run.append(load_test())
    run.conclude_test("test_load[egpt]")
    record = run.finish(END)
    assert {each.limit: each.state for each in record.verdicts} == {
        MEDIAN: "broken",
        UNREACHED: "not run",
        TOTAL: "not run",
    }
    assert len(record.verdicts) == 3
    assert record.end == END
    assert json.loads((run.folder / "run.json").read_text())["end"]["reason"] == "it ended"


def test_legacy_file_of_fewer_samples_is_replaced_by_that_of_more(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path)
    run.append(whole_pass("egpt", "s1"))
    run.conclude_test("one")
    run.append(whole_pass("egpt", "s2"))
    run.conclude_test("two")
    assert names_in(run.folder) == [LEGACY_NAME.format(2), "journal.jsonl", "run.json"]
    assert len(json.loads((run.folder / LEGACY_NAME.format(2)).read_text())) == 2


@pytest.mark.parametrize("stem", ["set[1]_results", "a_n0_b", "what*"])
def test_names_that_look_like_patterns_are_replaced_too_and_strangers_are_left(
    stem: str, tmp_path: Path, run_in: BeginRun
) -> None:
    run = run_in(tmp_path, dataset=f"data/{stem}.json")
    stranger = run.folder / "other_results_n1_20260304_050607.json"
    stranger.write_text("[]")
    for number, sample in enumerate(("s1", "s2"), start=1):
        run.append(whole_pass("egpt", sample))
        run.conclude_test(sample)
        ours = f"{stem}_results_n{number}_20260304_050607.json"
        assert names_in(run.folder) == sorted([ours, "journal.jsonl", stranger.name, "run.json"])


def test_a_named_legacy_file_goes_where_it_was_named(tmp_path: Path, run_in: BeginRun) -> None:
    path = tmp_path / "elsewhere" / "mine.json"
    run = run_in(tmp_path, path)
    run.append(whole_pass("egpt", "s1"))
    run.conclude_test("one")
    assert names_in(run.folder) == ["journal.jsonl", "run.json"]
    assert len(json.loads(path.read_text())) == 1


def test_deriving_under_another_name_leaves_the_file_that_is_there(tmp_path: Path) -> None:
    first = derive_files(tmp_path, full_run())
    derive_files(tmp_path, full_run(), tmp_path / "copy.json")
    assert first is not None
    assert first.read_bytes() == (tmp_path / "copy.json").read_bytes()


def test_without_a_finished_sample_there_is_no_legacy_file(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path)
    run.append(loaded("egpt"))
    run.conclude_test("one")
    assert names_in(run.folder) == ["journal.jsonl", "run.json"]
    assert derive_files(run.folder, run.read()) is None


def test_deriving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        legacy = derive_files(tmp_path, full_run())
        assert legacy is not None
        contents.append((legacy.read_bytes(), (tmp_path / "run.json").read_bytes()))
    assert contents[0] == contents[1]


def test_two_runs_never_share_a_folder(tmp_path: Path, run_in: BeginRun) -> None:
    run_in(tmp_path)
    with pytest.raises(RunFolderError, match="is not empty"):
        run_in(tmp_path)
