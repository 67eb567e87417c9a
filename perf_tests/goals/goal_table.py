"""A table of goals and what was measured beside them, as a file under docs/measured/."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from harness.environment import stable_environment
from harness.run_folder import write_whole

MEASURED = Path(__file__).parents[2] / "docs" / "measured"


class GoalRow(msgspec.Struct, frozen=True):
    """One figure beside its goal, and beside a reference measured in the same run where there is one."""

    what: str
    value: float
    unit: str
    goal: str
    n: int
    reference: str | None = None
    reference_value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the row with the ratio of the value to its reference."""
        ratio = self.value / self.reference_value if self.reference_value else None
        row: dict[str, Any] = msgspec.to_builtins(self)
        return row | {"ratio": ratio}


@dataclass(slots=True)
class GoalTable:
    """Rows of one topic; `write` replaces the topic's file by them.

    `file`: another name than the topic's, where it is measured on several machines; `unfinished`: rows are to come.
    """

    topic: str
    device: str = "cpu"
    file: str = ""
    unfinished: bool = False
    rows: list[GoalRow] = field(default_factory=list)

    def write(self) -> Path:
        """Write conditions, command and rows, and print the rows."""
        path = MEASURED / f"{self.file or self.topic}.json"
        content = {
            "conditions": stable_environment(self.device),
            "command": f"make measured TOPIC={self.topic}",
            "rows": [row.as_json() for row in self.rows],
        }
        if self.unfinished:
            content["unfinished"] = "the same command goes on where this table ends"
        write_whole(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
        for row in self.rows:
            sys.stdout.write(f"{row.what}: {row.value:.4g} {row.unit} (goal: {row.goal}; n = {row.n})\n")
        return path
