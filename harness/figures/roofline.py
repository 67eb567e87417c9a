"""How far a stage is from what its device could do: the time that its work takes an ideal machine of the same rates.

The roofline of Williams, Waterman and Patterson (2009): floor = max(bytes / bandwidth, operations / rate). Bandwidth is
the better of the measured read and copy, the rate that of large matrix products of the stage's own type.
"""

from __future__ import annotations

from statistics import median
from typing import Literal

import msgspec

from harness.figures.stages import comparable_rounds
from harness.records.lines import MachineRecord, RunRecord, StageRecord, StageWork


class StageFloor(msgspec.Struct, frozen=True):
    """One stage measurement beside its floor; medians over its timed rounds.

    `share` of the floor in the measured time: 1 is as fast as the device allows. `bound_by` says which of the two
    makes the floor. The rates are what the stage reached. `floor_ms_per_token`: decoding only.
    """

    model: str
    engine: str | None
    stage: str
    variant: str
    floor_s: float
    share: float
    bound_by: Literal["bandwidth", "compute"]
    bytes_per_s: float
    operations_per_s: float
    floor_ms_per_token: float | None = None
    tokens_per_s: float | None = None


def floors(run: RunRecord) -> list[StageFloor]:
    """Return the floor of every stage measurement whose work and machine are known, in the order of measurement."""
    machine = run.machine
    if machine is None:
        return []
    found = [_floor(machine, record) for record in run.stages]
    return [each for each in found if each is not None]


def floor_s(work: StageWork, machine: MachineRecord) -> float:
    """Return the least time that the work can take, in seconds."""
    return max(_moving_s(work, machine), _computing_s(work, machine))


def _floor(machine: MachineRecord, record: StageRecord) -> StageFloor | None:
    rounds = [
        (record.work[sample], seconds, record.tokens.get(sample, 0) - 1)
        for sample, seconds in comparable_rounds(record)
        if sample in record.work and record.work[sample].dtype in machine.operations_per_s
    ]
    if not rounds:
        return None
    works = [work for work, _, _ in rounds]
    moving = median([_moving_s(work, machine) for work in works])
    computing = median([_computing_s(work, machine) for work in works])
    steps = [(work, seconds, count) for work, seconds, count in rounds if record.stage == "decode" and count > 0]
    return StageFloor(
        model=record.model,
        engine=record.engine,
        stage=record.stage,
        variant=record.variant,
        floor_s=median([floor_s(work, machine) for work in works]),
        share=median([floor_s(work, machine) / seconds for work, seconds, _ in rounds]),
        bound_by="bandwidth" if moving >= computing else "compute",
        bytes_per_s=median([work.bytes / seconds for work, seconds, _ in rounds]),
        operations_per_s=median([work.operations / seconds for work, seconds, _ in rounds]),
        floor_ms_per_token=median([1000 * floor_s(work, machine) / count for work, _, count in steps])
        if steps
        else None,
        tokens_per_s=median([count / seconds for _, seconds, count in steps]) if steps else None,
    )


def _moving_s(work: StageWork, machine: MachineRecord) -> float:
    return work.bytes / max(machine.read_bytes_per_s, machine.copy_bytes_per_s)


def _computing_s(work: StageWork, machine: MachineRecord) -> float:
    return work.operations / machine.operations_per_s[work.dtype]
