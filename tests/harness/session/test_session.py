from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from harness.errors import RunFolderError
from harness.gates.exit_status import Status
from harness.options import Options
from harness.records.journal import read_journal
from harness.records.lines import AttemptRecord, RunRecord
from harness.session import session as session_module
from harness.session.derived_files import derive_files, files_of, require_other_file
from harness.session.session import Session
from tests.harness.made_runs import STARTED_AT, failed_pass, full_run, header, loaded, stage_test, whole_pass

BeginRun = Callable[..., Session]
LEGACY_NAME = "EventGPT_Instruction_Subset_results_n{}_20260304_050607.json"
TOTAL, MEDIAN, UNREACHED = "eager.speedup.videollava.total", "eager.median_ms.egpt.load", "eager.median_ms.egpt.decode"


@pytest.fixture
def run_in() -> Iterator[BeginRun]:
    """Begins runs, and closes their journals after the test."""
    sessions: list[Session] = []

    def begin(folder: Path, output_json: Path | None = None, **changes: Any) -> Session:
        options = Options(output_json=output_json, report=False)
        sessions.append(Session(options, folder / "run", measures=True, terminal=None))
        sessions[-1].open(header(("s1", "s2"), **changes))
        return sessions[-1]

    yield begin
    for session in sessions:
        if session.journal is not None:
            session.journal.close()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def load_test(seconds: float = 1.0) -> Any:
    return stage_test("egpt", "load", {"s1": [seconds]})


def test_the_header_is_on_disk_before_anything_is_measured(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path)
    assert read_journal(run.folder / "journal.jsonl") == RunRecord(header(("s1", "s2")))


def test_a_measurement_is_in_the_journal_at_once_and_in_the_files_after_the_test(
    tmp_path: Path, run_in: BeginRun
) -> None:
    run = run_in(tmp_path)
    run.append(whole_pass("egpt", "s1"))
    assert names_in(run.folder) == ["journal.jsonl"]
    assert len(run.read().passes) == 1
    run.judge_test("test_whole[egpt]")
    assert names_in(run.folder) == [LEGACY_NAME.format(1), "journal.jsonl", "run.json"]
    assert json.loads((run.folder / "run.json").read_text())["passes"][0]["sample"] == "s1"


def test_run_json_is_the_whole_record(tmp_path: Path) -> None:
    derive_files(tmp_path, full_run())
    assert msgspec.json.decode((tmp_path / "run.json").read_bytes(), type=RunRecord) == full_run()


def test_a_verdict_is_given_once_by_the_test_that_completes_its_figure(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path, limits={TOTAL: 0.5, MEDIAN: 5000.0})
    run.append(whole_pass("egpt"))
    run.judge_test("test_whole[egpt]")
    assert run.read().verdicts == ()
    run.append(load_test())
    run.judge_test("test_load[egpt]")
    run.append(whole_pass("videollava"))
    run.judge_test("test_whole[videollava]")
    run.judge_test("test_later")
    verdicts = [(each.limit, each.state, each.test) for each in run.read().verdicts]
    assert verdicts == [(MEDIAN, "pass", "test_load[egpt]"), (TOTAL, "pass", "test_whole[videollava]")]


def test_a_broken_limit_is_handed_to_the_test_that_measured_it_and_to_no_other(
    tmp_path: Path, run_in: BeginRun
) -> None:
    run = run_in(tmp_path, limits={MEDIAN: 500.0, UNREACHED: 1.0})
    run.append(load_test())
    (sentence,) = run.judge_test("test_load[egpt]")
    (broken,) = run.read().verdicts
    assert (broken.limit, broken.state, broken.test) == (MEDIAN, "broken", "test_load[egpt]")
    assert broken.sentence == sentence
    assert run.judge_test("test_later") == []


@pytest.mark.parametrize("seconds", [(1.0, 0.1, 0.1), (0.1, 1.0, 0.1)])
def test_a_limit_that_one_of_a_test_s_measurements_broke_stays_broken(
    tmp_path: Path, run_in: BeginRun, seconds: Sequence[float]
) -> None:
    run, slips = run_in(tmp_path, limits={MEDIAN: 500.0}), []
    for each in seconds:
        run.append(load_test(each))
        slips.append(len(run.judge_test("test_load[egpt]")))
    first = seconds.index(1.0)
    assert slips == [int(number >= first) for number in range(3)]
    assert run.has_broken_limit
    assert run.read().verdicts[-1].state == "broken"
    run.finish(Status(1, "a limit broke"))
    assert run.record is not None
    assert [each.state for each in run.record.verdicts] == ["broken"]


def test_a_kept_limit_fails_no_test(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path, limits={MEDIAN: 1500.0})
    run.append(load_test())
    assert run.judge_test("test_load[egpt]") == []


def test_at_the_end_every_limit_has_one_verdict(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path, limits={MEDIAN: 500.0, UNREACHED: 1.0, TOTAL: 1.0})
    run.append(load_test())
    run.judge_test("test_load[egpt]")
    run.finish(Status(0, "it ended"))
    record = run.record
    assert record is not None
    assert record == run.read()
    assert {each.limit: each.state for each in record.verdicts} == {
        MEDIAN: "broken",
        UNREACHED: "not run",
        TOTAL: "not run",
    }
    assert len(record.verdicts) == 3
    assert record.end is not None
    assert (record.end.exit_status, record.end.reason) == (0, "it ended")
    assert json.loads((run.folder / "run.json").read_text())["end"]["reason"] == "it ended"


def test_answers_that_another_machine_gave_are_asked_for_again(tmp_path: Path, run_in: BeginRun) -> None:
    """Another processor may decide a near tie otherwise."""
    first = run_in(tmp_path)
    first.append(whole_pass("egpt", "s1", token_ids=(1,)))
    assert first.answers("whole", "egpt", "eager") == {"s1": (1,)}
    assert first.journal is not None
    first.journal.close()
    elsewhere = Session(first.options, first.folder, measures=True, terminal=None)
    elsewhere.open(first.read().header, AttemptRecord(STARTED_AT, {}, machine="another"))
    assert elsewhere.journal is not None
    for line in (
        whole_pass("egpt", "s2", token_ids=(2,)),
        whole_pass("egpt", "s3", token_ids=(3,), kind="throughput"),
        whole_pass("videollava", "s2", token_ids=(4,)),
        failed_pass("egpt", "s4"),
    ):
        elsewhere.append(line)
    assert elsewhere.answers("whole", "egpt", "eager") == {"s2": (2,)}
    elsewhere.journal.close()


def test_the_end_of_a_test_reads_the_journal_once(
    tmp_path: Path, run_in: BeginRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, read = run_in(tmp_path, limits={MEDIAN: 500.0}), []
    run.append(load_test())
    monkeypatch.setattr(session_module, "read_journal", lambda path: read.append(path) or read_journal(path))
    assert len(run.judge_test("test_load[egpt]")) == 1
    run.finish(Status(1, "a limit broke"))
    assert len(read) == 2  # once at the test's end, once at the session's
    assert run.record == run.read()
    assert msgspec.json.decode((run.folder / "run.json").read_bytes(), type=RunRecord) == run.record


def test_legacy_file_of_fewer_samples_is_replaced_by_that_of_more(tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path)
    run.append(whole_pass("egpt", "s1"))
    run.judge_test("one")
    run.append(whole_pass("egpt", "s2"))
    run.judge_test("two")
    assert names_in(run.folder) == [LEGACY_NAME.format(2), "journal.jsonl", "run.json"]
    assert len(json.loads((run.folder / LEGACY_NAME.format(2)).read_text())) == 2


@pytest.mark.parametrize("stem", ["d" * 250, "車" * 83])
def test_a_dataset_whose_name_has_the_most_bytes_has_a_legacy_file(stem: str, tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path, dataset=f"data/{stem}.json")
    for sample in ("s1", "s2"):
        run.append(whole_pass("egpt", sample))
        run.judge_test(sample)
    (legacy,) = run.folder.glob("*_results_n*.json")
    assert re.fullmatch(rf"{stem[0]}+_results_n2_20260304_050607\.json", legacy.name)
    assert 200 < len(legacy.name.encode()) <= 255


@pytest.mark.parametrize("stem", ["set[1]_results", "a_n0_b", "what*"])
def test_names_that_look_like_patterns_are_replaced_too_and_strangers_are_left(
    stem: str, tmp_path: Path, run_in: BeginRun
) -> None:
    run = run_in(tmp_path, dataset=f"data/{stem}.json")
    stranger = run.folder / "other_results_n1_20260304_050607.json"
    stranger.write_text("[]")
    for number, sample in enumerate(("s1", "s2"), start=1):
        run.append(whole_pass("egpt", sample))
        run.judge_test(sample)
        ours = f"{stem}_results_n{number}_20260304_050607.json"
        assert names_in(run.folder) == sorted([ours, "journal.jsonl", stranger.name, "run.json"])


def test_a_named_legacy_file_goes_where_it_was_named(tmp_path: Path, run_in: BeginRun) -> None:
    path = tmp_path / "elsewhere" / "mine.json"
    run = run_in(tmp_path, path)
    run.append(whole_pass("egpt", "s1"))
    run.judge_test("one")
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
    run.judge_test("one")
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


@pytest.mark.parametrize("option", ["--output_json", "--benchmark-json"])
def test_a_file_that_the_run_uses_takes_no_results(option: str, tmp_path: Path) -> None:
    (tmp_path / "benchmark.1.json").touch()
    for name in ("journal.jsonl", "run.json", "benchmark.json", "report.html", "benchmark.1.json"):
        with pytest.raises(RunFolderError, match=rf"{name}: the run uses this file itself; .* by {option}"):
            require_other_file(tmp_path / "x" / ".." / name, files_of(tmp_path), option)
    require_other_file(tmp_path / "mine.json", files_of(tmp_path), option)
    if option == "--benchmark-json":
        require_other_file(Path("/dev/null"), files_of(tmp_path), option)


@pytest.mark.parametrize("is_first", [True, False])
def test_of_several_ranks_only_the_first_derives_files(is_first: bool, tmp_path: Path, run_in: BeginRun) -> None:
    run = run_in(tmp_path)
    run.rank = SimpleNamespace(is_first=is_first, number=1)  # type: ignore[assignment]
    run.append(whole_pass("egpt", "s1"))
    run.judge_test("one")
    assert ("run.json" in names_in(run.folder)) == is_first
