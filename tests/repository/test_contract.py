"""What others rely on stays: ids of the suite, names of benchmarks and options, keys of files.

`files/contract.json` holds the names as they were before the packages were made. Names may be added, never taken away.
"""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest

from harness.ab import results
from harness.ab.plan import AbPlan, Side
from harness.figures.intervals import Interval
from harness.figures.speculation import AcceptanceStatistics
from harness.gates.baselines import EXTRA_KEY, SessionRecord
from harness.gates.exit_status import Status
from harness.legacy.writing import legacy_records
from harness.records.lines import Failure, JournalLine, PlannedSample, RunRecord, StageWork
from harness.records.quantities import MemoryPeak
from harness.records.speculation import DivergenceRecord, RoundLog
from tests import ROOT
from tests.harness.made_runs import full_run

CONTRACT: dict[str, Any] = json.loads((ROOT / "tests" / "repository" / "files" / "contract.json").read_text())
# The contract's name of each record that is part of another one, and what it is called now.
PARTS = {
    "Failure": Failure,
    "PlannedSample": PlannedSample,
    "Work": StageWork,
    "MemoryPeak": MemoryPeak,
    "RoundLog": RoundLog,
    "PartingRecord": DivergenceRecord,
    "Views": AcceptanceStatistics,
    "Comparison of ab": results.RevisionComparison,
    "PairedFigure": results.PairedFigure,
    "Interval of ab": Interval,
    "Plan of ab": AbPlan,
    "Side of ab": Side,
    "Outcome of ab": Status,
}


def test_options_stay(pytestconfig: pytest.Config) -> None:
    known = {name for option in pytestconfig._parser._anonymous.options for name in option.names()}
    known |= {name for group in pytestconfig._parser._groups for option in group.options for name in option.names()}
    assert not set(CONTRACT["options"]) - known


def test_keys_of_the_legacy_file_stay() -> None:
    written = set().union(*legacy_records(full_run()))
    assert not set(CONTRACT["legacy result keys"]) - written


@pytest.mark.parametrize("kind", CONTRACT["journal lines"])
def test_keys_of_a_journal_line_stay(kind: str) -> None:
    (line,) = [each for each in get_args(JournalLine) if each.__struct_config__.tag == kind]
    assert not set(CONTRACT["journal lines"][kind]) - _keys(line)


@pytest.mark.parametrize("part", CONTRACT["parts of records"])
def test_keys_of_what_lines_are_made_of_stay(part: str) -> None:
    assert not set(CONTRACT["parts of records"][part]) - _keys(PARTS[part])


def test_keys_of_run_json_and_of_a_baseline_stay() -> None:
    assert not set(CONTRACT["run.json"]) - _keys(RunRecord)
    assert not set(CONTRACT["baseline session"]) - _keys(SessionRecord) - {EXTRA_KEY}


def _keys(struct: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}
