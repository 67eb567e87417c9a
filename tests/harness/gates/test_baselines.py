"""Sessions of a baseline on disk: which run may become one, and under which number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import BaselineError
from harness.gates.baselines import load_run, read_sessions, session_file, sessions_needed, store, why_no_baseline
from harness.records.folder import BENCHMARK_FILE_NAME
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import EndRecord, OutcomeRecord, RunRecord
from tests.harness.gates.test_gate import baseline, session, verdict
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import STARTED_AT, header, stage_test

ENDED = EndRecord(STARTED_AT, 0, "no test failed")


def measured(folder: Path, run: RunRecord) -> Path:
    write_run(folder, run)
    (folder / BENCHMARK_FILE_NAME).write_text("{}")
    return folder


def test_a_session_that_is_added_behind_a_retired_one_replaces_no_other(tmp_path: Path) -> None:
    runs = [measured(tmp_path / f"run{number}", session(1.0 + number, end=ENDED)) for number in range(4)]
    baselines = tmp_path / "baselines"
    first, *_ = [store(baselines, run) for run in runs[:3]]
    first.unlink()
    assert store(baselines, runs[3]).name == "0004_20260304.json"
    found = {each.name.rpartition("/")[2]: each.record.run.stages[0].round_s[0] for each in read_sessions(baselines)}
    assert found == {"0002": 2.0, "0003": 3.0, "0004": 4.0}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"end": None}, "it has not ended"),
        ({"end": EndRecord(STARTED_AT, 2, "you stopped the run")}, "it has not ended"),
        ({"reference_work": ()}, "it has no reference work"),
        ({"outcomes": (OutcomeRecord("test_x", "failed", "call: too slow"),)}, "test_x failed: call: too slow"),
    ],
)
def test_what_must_not_become_a_yardstick_says_why(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    folder = measured(tmp_path / "run", session(**{"end": ENDED} | changes))
    with pytest.raises(BaselineError, match=f"cannot be part of a baseline: {why}. Measure again"):
        load_run(folder)


def test_nor_may_a_run_whose_journal_was_changed_afterwards(tmp_path: Path) -> None:
    folder = measured(tmp_path / "run", session(end=ENDED))
    journal = folder / JOURNAL_NAME
    journal.write_bytes(journal.read_bytes().replace(b'"round_s":[1.0', b'"round_s":[0.9'))
    with pytest.raises(BaselineError, match="line 2: from here on lines were changed, moved or taken out"):
        load_run(folder)


def test_one_run_is_no_two_sessions(tmp_path: Path) -> None:
    run = measured(tmp_path / "run", session(end=ENDED))
    path = store(tmp_path / "baselines", run)
    with pytest.raises(BaselineError, match=rf"run: is session {path.parent.name}/0001 already"):
        store(tmp_path / "baselines", run)
    second = store(tmp_path / "baselines", measured(tmp_path / "second", session(2.0, end=ENDED)))
    content = second.read_bytes()
    with pytest.raises(BaselineError, match=rf"run: is session {path.parent.name}/0001 already"):
        store(tmp_path / "baselines", run, at=second)
    assert second.read_bytes() == content


@pytest.mark.parametrize("name", ["tiny/", "tiny/0", "tiny/000", "tiny/0001_", "0001", ""])
def test_a_session_is_named_by_all_of_its_number(name: str, tmp_path: Path) -> None:
    write_baseline(tmp_path / "tiny", session())
    assert session_file(tmp_path, "tiny/0001").exists()
    with pytest.raises(BaselineError, match=f"has no session '{name}'"):
        session_file(tmp_path, name)


def test_of_baselines_of_other_conditions_the_nearest_is_named(tmp_path: Path) -> None:
    write_baseline(tmp_path / "far", session(header=header(device="cuda", model_set="full")))
    write_baseline(tmp_path / "near", session(header=header(device="cuda")))
    words = why_no_baseline(read_sessions(tmp_path), session(), tmp_path)
    assert "The nearest, near/0001: device was cuda, is cpu; record one" in words


def test_the_way_out_names_the_folder_of_baselines_unless_it_is_the_usual_one(tmp_path: Path) -> None:
    assert "python -m harness baseline record" in why_no_baseline([], session(), tmp_path / "baselines")
    words = why_no_baseline([], session(), tmp_path / "my own")
    assert f"python -m harness baseline --baselines '{tmp_path / 'my own'}' record" in words


def test_a_file_is_no_folder_of_baselines(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BaselineError, match="file: is a file; --baselines names a folder"):
        read_sessions(tmp_path / "file")


@pytest.mark.parametrize(
    ("have", "words"),
    [
        (0, "no sessions of a machine like this one, and a gate needs 5, better 10: 5 missing"),
        (1, "1 session of a machine like this one, and a gate needs 5, better 10: 4 missing"),
        (4, "4 sessions of a machine like this one, and a gate needs 5, better 10: 1 missing"),
        (5, ""),
    ],
)
def test_how_many_sessions_are_missing(have: int, words: str) -> None:
    assert sessions_needed(have) == words


def test_one_shorter_session_of_the_baseline_excuses_no_other() -> None:
    def load(rounds: int) -> RunRecord:
        return session(stages=(stage_test("egpt", "load", {"s1": [1.0] * rounds}),))

    found = verdict(load(2), baseline(load(2), *[load(3)] * 9), "time.load.egpt")
    assert (found.state, found.sentence) == ("invalid", "measured in 2 rounds, the baseline in 3")
