"""The roofline of a stage: the least time of its work at the device's measured peak rates.

Williams, Waterman and Patterson (2009): max(bytes / bandwidth, operations / rate). Bandwidth is the better of the
measured read and copy; the rate is that of large matrix products in the stage's own dtype.
"""

from statistics import median
from typing import Literal

import msgspec

from harness.figures.stages import comparable_rounds, decoding_steps
from harness.records.lines import MachineRecord, RunRecord, StageRecord, StageWork


class StageRoofline(msgspec.Struct, frozen=True):
    """One stage measurement and its roofline, as medians over timed rounds. Rates are those that the stage reached."""

    model: str
    engine: str | None
    stage: str
    variant: str
    roofline_s: float
    fraction: float  # roofline over measured time: 1 is as fast as the device allows
    bound_by: Literal["bandwidth", "compute"]  # the larger of the two times
    bytes_per_s: float
    operations_per_s: float
    roofline_ms_per_token: float | None = None  # for decoding only


def rooflines(run: RunRecord) -> list[StageRoofline]:
    """Return the roofline of every stage measurement whose work and machine are known, in the order of measurement."""
    found = [_roofline(run.machine, record) for record in run.stages if run.machine]
    return [roofline for roofline in found if roofline is not None]


def roofline_s(work: StageWork, machine: MachineRecord) -> float:
    """Return the least time that the work can take, in seconds."""
    return max(_moving_s(work, machine), _computing_s(work, machine))


def _roofline(machine: MachineRecord, record: StageRecord) -> StageRoofline | None:
    rounds = [
        (record.work[sample], seconds, decoding_steps(record, sample))
        for sample, seconds in comparable_rounds(record)
        if sample in record.work and record.work[sample].dtype in machine.operations_per_s
    ]
    if not rounds:
        return None
    moving = median(_moving_s(work, machine) for work, _, _ in rounds)
    computing = median(_computing_s(work, machine) for work, _, _ in rounds)
    steps = [each for each in rounds if record.stage == "decode" and each[2] > 0]
    return StageRoofline(
        model=record.model,
        engine=record.engine,
        stage=record.stage,
        variant=record.variant,
        roofline_s=median(roofline_s(work, machine) for work, _, _ in rounds),
        fraction=median(roofline_s(work, machine) / seconds for work, seconds, _ in rounds),
        bound_by="bandwidth" if moving >= computing else "compute",
        bytes_per_s=median(work.bytes / seconds for work, seconds, _ in rounds),
        operations_per_s=median(work.operations / seconds for work, seconds, _ in rounds),
        roofline_ms_per_token=median(1000 * roofline_s(work, machine) / n for work, _, n in steps) if steps else None,
    )


def _moving_s(work: StageWork, machine: MachineRecord) -> float:
    return work.bytes / max(machine.read_bytes_per_s, machine.copy_bytes_per_s)


def _computing_s(work: StageWork, machine: MachineRecord) -> float:
    return work.operations / machine.operations_per_s[work.dtype]
