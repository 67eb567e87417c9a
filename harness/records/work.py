"""The work of a stage in one profiled, untimed round: counts, and calls by name."""

from collections.abc import Mapping

import msgspec

from harness.records.quantities import SecondsOrNone

# Name of the one entry for all calls that are not listed by name.
REST = "rest"
# In display order. A record holds those that could be counted.
COUNTS = (
    "launches", "library_calls", "allocations", "allocated_bytes", "copies", "synchronisations", "files", "read_bytes",
    "frames", "tokens",
)  # fmt: skip


class Call(msgspec.Struct, frozen=True):
    """How often a kernel or an operation was called, and its total seconds on the device or the CPU."""

    count: int
    seconds: SecondsOrNone


class WatchedWork(msgspec.Struct, kw_only=True, frozen=True, tag_field="record", tag="work"):
    """The ledger (`counts`) and the profile (`calls`) of one stage of a model on one sample.

    Keys of `counts` are in COUNTS; keys of `calls` are "name <grid>" of a kernel, or the name of an operation on a CPU.
    Counts repeat exactly in each run of one program. Seconds of calls are only good as fractions of `seconds`, since
    profiling slows the stage down. `profiler`: "cuda", "cpu", or "" for the `reason`. `versions`: driver and libraries;
    works of different versions do not compare.
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
    """Return the differing driver and libraries of two works as text; empty where the works are comparable."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return "; ".join(f"{name} was {one.get(name, 'not there')}, is {other.get(name, 'not there')}" for name in names)
