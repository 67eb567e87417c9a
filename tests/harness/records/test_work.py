from __future__ import annotations

from pathlib import Path

import msgspec

from harness.records.journal import read_journal
from harness.records.work import Call, WatchedWork, other_versions
from tests.harness.made_files import write_journal
from tests.harness.made_runs import header, stage_test

WORK = WatchedWork(
    model="egpt",
    engine="eager",
    stage="decode",
    sample="s1",
    counts={"launches": 64, "tokens": 48},
    calls={"norm <64,1,1>": Call(64, 0.0)},
    seconds=0.5,
    profiler="cuda",
    versions={"torch": "2.11.0", "driver": "580.1"},
    test="test_decode[egpt-eager]",
)


def test_a_ledger_comes_back_from_the_journal_as_it_was_written(tmp_path: Path) -> None:
    lines = (header(), stage_test("egpt", "decode", {"s1": [1.0]}), WORK)
    assert read_journal(write_journal(tmp_path / "journal.jsonl", *lines)).works == (WORK,)


def test_versions_that_differ_are_named_with_both() -> None:
    assert other_versions(WORK.versions, WORK.versions) == ""
    other = {"torch": "2.13.0", "CUPTI": "28"}
    assert other_versions(WORK.versions, other) == (
        "torch was 2.11.0, is 2.13.0; driver was 580.1, is not there; CUPTI was not there, is 28"
    )


def test_a_run_without_a_ledger_has_none(tmp_path: Path) -> None:
    run = read_journal(write_journal(tmp_path / "journal.jsonl", header()))
    assert run.works == ()
    assert msgspec.json.decode(msgspec.json.encode(run), type=type(run)) == run
