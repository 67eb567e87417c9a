"""Creep: small steps, each within the last baseline's limit, in the distance from a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.gates.baselines import EXTRA_KEY, SessionRecord
from harness.gates.gate import merged
from harness.gates.session_gate import SessionGate
from harness.gates.witnesses import headline
from harness.records.fingerprint import fingerprint
from harness.records.folder import write_json
from harness.records.journal import JOURNAL_NAME, Journal
from harness.records.lines import RunRecord
from tests.harness.gates.test_gate import session
from tests.harness.made_runs import header

SINCE = "time.vision.egpt since v1.2"


def run(seconds: float, **changes: object) -> RunRecord:
    return session(seconds, header=header(device="cuda", **changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release at one second, and since then a baseline that is 2.8 % slower."""
    for name, seconds in (("v1.2", 1.0), ("baselines", 1.028)):
        for number in range(1, 11):
            record = SessionRecord(fingerprint(run(seconds)), run(seconds))
            path = tmp_path / name / "tiny" / f"{number:04}_20260304.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {EXTRA_KEY: record})
    return tmp_path


def gate(folder: Path, confirms: Path | None = None) -> SessionGate:
    return SessionGate(folder / "baselines", confirms, folder / "v1.2")


def test_a_small_step_behind_others_is_flagged_since_the_release_and_confirmed(folder: Path) -> None:
    first = gate(folder).verdicts(run(1.03))
    assert [(each.metric, each.state) for each in first] == [("time.vision.egpt", "pass"), (SINCE, "flagged")]
    (folder / "first").mkdir()
    journal = Journal(folder / "first" / JOURNAL_NAME)
    for line in (run(1.03).header, *first):
        journal.append(line)
    journal.close()
    confirming = gate(folder, folder / "first")
    assert confirming.wants("test_vision")
    assert confirming.regressions(run(1.03), "test_vision") == []
    decided = merged(first, confirming.verdicts(run(1.031)))
    assert [each.state for each in decided] == ["pass", "regressed"]
    assert headline(decided).startswith("vision of egpt +3.0 % since v1.2: ")
    assert [each.state for each in merged(first, confirming.verdicts(run(1.0)))] == ["pass", "pass"]


def test_what_is_worse_than_the_last_baseline_is_told_once(folder: Path) -> None:
    assert [each.metric for each in gate(folder).verdicts(run(1.1))] == ["time.vision.egpt"]


def test_without_a_release_nothing_creeps(folder: Path) -> None:
    found = SessionGate(folder / "baselines").verdicts(run(1.03))
    assert [(each.metric, each.state) for each in found] == [("time.vision.egpt", "pass")]


def test_a_release_of_other_conditions_is_a_missing_baseline(folder: Path) -> None:
    (folder / "v1.2").rename(folder / "elsewhere")
    found = gate(folder).verdicts(run(1.03))
    assert [(each.metric, each.state) for each in found][-1] == ("everything since v1.2", "missing baseline")
