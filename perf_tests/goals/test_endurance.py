"""Runs of any length on any input: hostile files, thousands of them.

What came of each kind of file is kept in results/hostile_input/ and not tried again: run it in pieces (ARGS="-k …"),
and the table has all that is there. Remove that folder to begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from harness.figures import MIB
from harness.run_folder import write_whole
from perf_tests.goals import hostile_input
from perf_tests.goals.goal_table import GoalRow, GoalTable
from perf_tests.goals.hostile_input import Tried

KEPT = Path(__file__).parents[2] / "results" / "hostile_input"
INPUTS = 10_000
EACH = -(-INPUTS // len(hostile_input.KINDS))
SEED = 20_000


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """The rows of this topic; those that were not measured now stay as they are."""
    rows = GoalTable("endurance", in_pieces=True)
    yield rows
    rows.write()


@pytest.mark.parametrize("kind", hostile_input.KINDS)
def test_hostile_input(kind: str, table: GoalTable) -> None:
    """No crash, no hang, nothing run or touched elsewhere, bounded memory, always an error that names the file."""
    kept = KEPT / f"{kind.replace(' ', '_')}.json"
    if not kept.exists():
        found = hostile_input.tried([kind], EACH, SEED, KEPT / "violations")
        write_whole(kept, msgspec.json.encode(found))
    all_found = [msgspec.json.decode(path.read_bytes(), type=Tried) for path in sorted(KEPT.glob("*.json"))]
    rows = _rows(all_found)
    names = {row.what for row in rows}
    table.rows[:] = [*(row for row in table.rows if row.what not in names), *rows]
    violations = msgspec.json.decode(kept.read_bytes(), type=Tried).violations
    assert not violations, "\n".join(dict.fromkeys(violations))


def _rows(found: list[Tried]) -> list[GoalRow]:
    inputs, kinds = sum(each.inputs for each in found), len(hostile_input.KINDS)
    refused = sum(each.refused for each in found)
    violated = sum(len(each.violations) for each in found)
    slowest, largest = max(each.slowest_s for each in found), max(each.peak_bytes for each in found)
    return [
        GoalRow("malformed inputs tried", inputs, "inputs", f"{INPUTS}, of {kinds} kinds", len(found)),
        GoalRow("malformed inputs that ended, hung, ran, touched or hid something", violated, "inputs", "none", inputs),
        GoalRow("malformed inputs refused by an error that names the file", refused, "inputs", "-", inputs),
        GoalRow("malformed inputs, slowest", slowest, "s", "under 10 s", inputs),
        GoalRow("malformed inputs, most memory above the process's own", largest / MIB, "MiB", "at most 1024", inputs),
    ]
