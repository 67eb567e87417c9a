"""A run that was gone on with on another machine, in parts: times of different machines are never averaged. Pure."""

from __future__ import annotations

import msgspec

from harness.records.fingerprint import machine_name
from harness.records.lines import RunRecord


def by_machine(run: RunRecord) -> dict[str, RunRecord]:
    """Return the part of a run that was measured on each machine, by the machine's name; one part as a rule."""
    measured = [*(each.machine for each in run.stages), *(each.machine for each in run.passes)]
    others = dict.fromkeys(filter(None, measured))
    if not others:
        return {machine_name(run.header.environment): run}
    names = {"": machine_name(run.header.environment), **{other: other for other in others}}
    parts = {name: _part(run, machine) for machine, name in names.items()}
    return {name: part for name, part in parts.items() if part.passes or part.stages}


def _part(run: RunRecord, machine: str) -> RunRecord:
    """What was measured on one machine, under its own environment; how fast which of them is, no record tells."""
    elsewhere = [each.environment for each in run.attempts if machine and each.machine == machine]
    return msgspec.structs.replace(
        run,
        header=msgspec.structs.replace(run.header, environment=[*elsewhere, run.header.environment][0]),
        passes=tuple(each for each in run.passes if each.machine == machine),
        stages=tuple(each for each in run.stages if each.machine == machine),
        machine=None,
    )
