"""What is kept in memory of a pass while it runs: two numbers a sample, whatever its answer was."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.records.lines import Failure, PassRecord


class PassTimes(msgspec.Struct, frozen=True, gc=False):
    """Of one sample's pass: the stages added up, and the time read around them, in seconds."""

    parts_s: float
    whole_s: float


class PassTally:
    """Times and failures by sample, of the passes of a run so far; those without inner clocks are left out."""

    def __init__(self, known: Iterable[PassRecord] = ()) -> None:
        self.times: dict[str, PassTimes] = {}
        self.failures: dict[str, Failure] = {}
        self._seconds = 0.0
        for record in known:
            self.add(record)

    @property
    def samples_per_second(self) -> float | None:
        """How many samples a second came through; those that failed took time and do not count."""
        return len(self.times) / self._seconds if self.times else None

    def add(self, record: PassRecord) -> None:
        """Count a pass."""
        if record.failure is not None:
            self.failures[record.sample] = record.failure
        if record.kind == "unsynchronised":
            return
        self._seconds += record.whole_s
        if record.failure is None:
            self.times[record.sample] = PassTimes(sum(record.stage_s.values()), record.whole_s)
