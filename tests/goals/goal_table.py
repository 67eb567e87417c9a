"""A table of goals and what was measured beside them, as a file under docs/measured/."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.measuring.environment import stable_environment
from harness.records.folder import write_whole
from tests import ROOT

MEASURED = ROOT / "docs" / "measured"


class GoalRow(msgspec.Struct, frozen=True):
    """One figure beside its goal, and beside a reference measured in the same run where there is one.

    `ratio`: how they compare, where that is more than the one divided by the other.
    """

    what: str
    value: float
    unit: str
    goal: str
    n: int
    reference: str | None = None
    reference_value: float | None = None
    ratio: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row, with the value divided by its reference where nothing else was said."""
        row: dict[str, Any] = msgspec.to_builtins(self)
        if self.ratio is None and self.reference_value:
            row["ratio"] = self.value / self.reference_value
        return row


@dataclass(slots=True)
class GoalTable:
    """Rows of one topic; `write` replaces the topic's file by them.

    `file`: another name than the topic's, where it is measured on several machines; `unfinished`: rows are to come;
    `in_pieces`: rows of the file stay where this run measured none by their names, with the conditions that they were
    measured under, if those are others.
    `folder`: elsewhere for a rehearsal.
    """

    topic: str
    device: str = "cpu"
    file: str = ""
    unfinished: bool = False
    in_pieces: bool = False
    folder: Path = MEASURED
    rows: list[GoalRow] = field(default_factory=list)

    def add(
        self,
        what: str,
        value: float,
        unit: str,
        goal: str,
        n: int,
        reference: str | None = None,
        reference_value: float | None = None,
        ratio: float | None = None,
    ) -> None:
        """Add one row."""
        self.rows.append(GoalRow(what, value, unit, goal, n, reference, reference_value, ratio))

    def write(self) -> Path:
        """Write conditions, command and rows, and print the rows."""
        path = self.folder / f"{self.file or self.topic}.json"
        conditions = stable_environment(self.device)
        content = {
            "conditions": conditions,
            "command": f"make measured TOPIC={self.topic}",
            "rows": [*self._rows_that_stay(path, conditions), *(row.as_json() for row in self.rows)],
        }
        if self.unfinished:
            content["unfinished"] = "the same command goes on where this table ends"
        write_whole(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
        for row in self.rows:
            ratio = f", {row.ratio:.2f}x beside {row.reference}" if row.ratio is not None else ""
            sys.stdout.write(f"{row.what}: {row.value:.4g} {row.unit}{ratio} (goal: {row.goal}; n = {row.n})\n")
        return path

    def _rows_that_stay(self, path: Path, conditions: dict[str, Any]) -> list[dict[str, Any]]:
        if not self.in_pieces or not path.exists():
            return []
        measured, known = {row.what for row in self.rows}, msgspec.json.decode(path.read_bytes())
        others = {} if known["conditions"] == conditions else {"conditions": known["conditions"]}
        return [others | row for row in known["rows"] if row["what"] not in measured]
