"""A table of goals and measured figures, written to a file under docs/measured/."""

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
    """One figure with its goal, and with a reference from the same run where there is one.

    `ratio`: figure to reference, if it is not simply `value` / `reference_value`.
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
        """Return the row as JSON, with the default ratio where none was given."""
        row: dict[str, Any] = msgspec.to_builtins(self)
        if self.ratio is None and self.reference_value:
            row["ratio"] = self.value / self.reference_value
        return row


@dataclass(slots=True)
class GoalTable:
    """The rows of one topic; `write` replaces the topic's file.

    `file`: a file name other than the topic, for topics with several machines. `unfinished`: more rows will follow.
    `in_pieces`: keep the file's rows that this run did not measure. Where their conditions differ, a row's
    `conditions` is an index into the file's `earlier_conditions`.
    `folder`: another folder, for a rehearsal.
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

    def replace(self, rows: list[GoalRow]) -> None:
        """Add rows in place of earlier ones of the same names."""
        names = {row.what for row in rows}
        self.rows[:] = [*(row for row in self.rows if row.what not in names), *rows]

    def write(self) -> Path:
        """Write conditions, command and rows, and print the rows."""
        path = self.folder / f"{self.file or self.topic}.json"
        conditions = stable_environment(self.device)
        earlier, kept = self._kept(path, conditions)
        content = {
            "conditions": conditions,
            **({"earlier_conditions": earlier} if earlier else {}),
            "command": f"make measured TOPIC={self.topic}",
            "rows": [*kept, *(row.as_json() for row in self.rows)],
        }
        if self.unfinished:
            content["unfinished"] = "the same command goes on where this table ends"
        write_whole(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
        for row in self.rows:
            ratio = f", {row.ratio:.2f}x beside {row.reference}" if row.ratio is not None else ""
            sys.stdout.write(f"{row.what}: {row.value:.4g} {row.unit}{ratio} (goal: {row.goal}; n = {row.n})\n")
        return path

    def _kept(self, path: Path, conditions: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return earlier conditions, each once, and the file's rows that this run did not measure."""
        earlier: list[dict[str, Any]] = []
        kept: list[dict[str, Any]] = []
        if not self.in_pieces or not path.exists():
            return earlier, kept
        measured, known = {row.what for row in self.rows}, msgspec.json.decode(path.read_bytes())
        for row in known["rows"]:
            if row["what"] in measured:
                continue
            index = row.pop("conditions", None)
            of_row = known["conditions"] if index is None else known["earlier_conditions"][index]
            if of_row not in [conditions, *earlier]:
                earlier.append(of_row)
            kept.append(row if of_row == conditions else {"conditions": earlier.index(of_row), **row})
        return earlier, kept
