"""What a stage did in one round that was watched and never timed: counts of work, and calls by name."""

from collections.abc import Mapping

import msgspec

from harness.records.quantities import SecondsOrNone

# Calls that are not among the largest are one entry, with their number and their seconds.
REST = "rest"
# In the order in which people are told of them. Only those that could be counted are there.
COUNTS = (
    "launches",
    "library_calls",
    "allocations",
    "allocated_bytes",
    "copies",
    "synchronisations",
    "files",
    "read_bytes",
    "frames",
    "tokens",
)


class Call(msgspec.Struct, frozen=True):
    """How often something was called, and its seconds in all: on the device for a kernel, its own time on a CPU."""

    count: int
    seconds: SecondsOrNone


class WatchedWork(msgspec.Struct, kw_only=True, frozen=True, tag_field="record", tag="work"):
    """The ledger and the profile of one stage of a model on one sample.

    `counts` by names of COUNTS and `calls`, "name <grid>" of a kernel or name of a call on a CPU, are exact and the
    same in each run of the same program; their seconds only tell shares of `seconds`, which watching makes longer.
    `profiler`: "cuda", "cpu", or "" for the `reason`. `versions`: driver and libraries; works of others do not compare.
    """

    model: str
    engine: str | None
    stage: str
    sample: str
    counts: dict[str, int]
    calls: dict[str, Call]
    seconds: SecondsOrNone
    profiler: str
    reason: str = ""
    versions: dict[str, str] = {}
    variant: str = ""
    test: str = ""


def other_versions(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Return in words in which driver or libraries two works differ, and so do not compare; empty where in none."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return "; ".join(f"{name} was {one.get(name, 'not there')}, is {other.get(name, 'not there')}" for name in names)
