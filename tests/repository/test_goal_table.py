"""Tables of goals that are measured in pieces, on more than one machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.goals import goal_table
from tests.goals.goal_table import GoalRow, GoalTable


def write(folder: Path, *rows: GoalRow, in_pieces: bool = True) -> dict[str, Any]:
    path = GoalTable("topic", in_pieces=in_pieces, folder=folder, rows=list(rows)).write()
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def row(what: str, value: float) -> GoalRow:
    return GoalRow(what, value, "s", "none", 1)


def test_rows_of_another_piece_stay_and_those_measured_again_do_not(tmp_path: Path) -> None:
    write(tmp_path, row("one", 1.0), row("two", 2.0))
    found = write(tmp_path, row("two", 3.0))
    assert [(each["what"], each["value"], "conditions" in each) for each in found["rows"]] == [
        ("one", 1.0, False), ("two", 3.0, False),
    ]  # fmt: skip
    assert [each["what"] for each in write(tmp_path, row("two", 3.0), in_pieces=False)["rows"]] == ["two"]


def test_a_row_of_another_machine_keeps_its_own_conditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = iter(["first", "second", "third", "third"])
    monkeypatch.setattr(goal_table, "stable_environment", lambda _device: {"cpu": next(machines)})
    write(tmp_path, row("one", 1.0), row("beside it", 1.0))
    write(tmp_path, row("two", 2.0))
    found = write(tmp_path, row("three", 3.0))
    assert found["conditions"] == {"cpu": "third"}
    assert found["earlier_conditions"] == [{"cpu": "first"}, {"cpu": "second"}]
    assert [each.get("conditions") for each in found["rows"]] == [0, 0, 1, None]
    all_again = write(tmp_path, *(row(name, 4.0) for name in ("one", "beside it", "two", "three")))
    assert "earlier_conditions" not in all_again


def test_rows_whose_machine_measures_again_take_the_conditions_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = iter(["first", "second", "first"])
    monkeypatch.setattr(goal_table, "stable_environment", lambda _device: {"cpu": next(machines)})
    write(tmp_path, row("one", 1.0))
    write(tmp_path, row("two", 2.0))
    found = write(tmp_path, row("three", 3.0))
    assert (found["conditions"], found["earlier_conditions"]) == ({"cpu": "first"}, [{"cpu": "second"}])
    assert [each.get("conditions") for each in found["rows"]] == [None, 0, None]


def test_a_ratio_is_that_of_value_and_reference_where_no_other_is_given(tmp_path: Path) -> None:
    beside = GoalRow("speed", 6.0, "s", "none", 1, "before", 3.0)
    assert [each["ratio"] for each in write(tmp_path, beside, row("alone", 1.0))["rows"]] == [2.0, None]
