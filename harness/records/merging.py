"""Merges the lines of one or more journals into one run's record; later measurements replace earlier ones. Pure.

A run has a journal of its own and, under torchrun, one per further rank. A process that resumes a run writes an
attempt: from there on stage tests are measured anew, and of two lines on one subject the later one holds.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar, get_args, get_origin

from msgspec.structs import fields

from harness.records.lines import (
    AttemptRecord,
    EndRecord,
    EngineRecord,
    GateRecord,
    Header,
    JournalLine,
    MachineRecord,
    OutcomeRecord,
    PassRecord,
    RunRecord,
    SideBySideRecord,
    StageRecord,
    VerdictRecord,
)
from harness.records.speculation import AgreementRecord, SpeculationCostRecord, SpeculationRecord

MEASURED_AS_A_WHOLE = StageRecord | SideBySideRecord | AgreementRecord | SpeculationRecord | SpeculationCostRecord

# Fields of a run's record that have all lines of one kind, in order.
_KINDS: dict[str, Any] = {
    each.name: get_args(each.type)[0] for each in fields(RunRecord) if get_origin(each.type) is tuple
}

Line = TypeVar("Line", bound=JournalLine)
Lines = Sequence[JournalLine]


def merged_record(header: Header, own: Lines, of_other_ranks: Sequence[Lines] = ()) -> RunRecord:
    """Return the record of a run from the lines behind its header, and from those of its further ranks in order."""
    journals = [own, *of_other_ranks]
    lines = [line for journal in journals for line in journal]
    attempts = _of(AttemptRecord, lines)
    if attempts:
        lines = _holding(journals)
    by_kind: dict[str, Any] = {name: _of(kind, lines) for name, kind in _KINDS.items()}
    by_kind |= {
        "gates": tuple({line.metric: line for line in _of(GateRecord, lines)}.values()),
        "engines": tuple({(line.model, line.engine): line for line in _of(EngineRecord, lines)}.values()),
        "attempts": attempts,
    }
    machine = next(iter(reversed(_of(MachineRecord, own))), None)
    return RunRecord(header=header, end=_end(header, journals), machine=machine, **by_kind)


def world_size(header: Header, own: Lines) -> int:
    """Return how many ranks the latest attempt has."""
    attempts = _of(AttemptRecord, own)
    return attempts[-1].world_size if attempts else int(header.environment.get("world_size", 1))


def end_of(journal: Lines) -> EndRecord | None:
    """Return how the latest attempt of a journal ended; None where it has not, or was killed."""
    for line in reversed(journal):
        if isinstance(line, EndRecord):
            return line
        if isinstance(line, AttemptRecord):
            return None
    return None


def _of(kind: type[Line], lines: Iterable[JournalLine]) -> tuple[Line, ...]:
    return tuple(line for line in lines if isinstance(line, kind))


def _end(header: Header, journals: Sequence[Lines]) -> EndRecord | None:
    """How the run ended, once all ranks of its latest attempt have: of different ends, that of the highest status."""
    count = world_size(header, journals[0])
    ends = [end for end in map(end_of, journals[:count]) if end is not None]
    return max(ends, key=lambda end: end.exit_status) if len(ends) == count else None


def _holding(journals: Sequence[Lines]) -> list[JournalLine]:
    """Leave out what a later line has replaced, each line where the first one on its subject stood."""
    found: dict[Hashable, JournalLine] = {}
    for rank, journal in enumerate(journals):
        anew = _last_attempt_of_each_test(journal)
        attempt = 0
        for place, line in enumerate(journal):
            attempt += isinstance(line, AttemptRecord)
            if anew.get((type(line), getattr(line, "test", "")), attempt) == attempt:
                _keep(found, _subject(line) or (rank, place), line)
    return list(found.values())


def _last_attempt_of_each_test(journal: Lines) -> dict[tuple[type, str], int]:
    """The attempt in which a test that is always measured as a whole was measured last."""
    attempt, found = 0, {}
    for line in journal:
        attempt += isinstance(line, AttemptRecord)
        if isinstance(line, MEASURED_AS_A_WHOLE):
            found[type(line), line.test] = attempt
    return found


def _subject(line: JournalLine) -> tuple[Any, ...] | None:
    """What a line is about, where only one line on it holds."""
    match line:
        case PassRecord():
            return (PassRecord, line.kind, line.model, line.engine, line.sample)
        case VerdictRecord():
            return (VerdictRecord, line.limit)
        case OutcomeRecord():
            return (OutcomeRecord, line.test)
    return None


def _keep(found: dict[Hashable, JournalLine], subject: Hashable, line: JournalLine) -> None:
    before = found.get(subject)
    if isinstance(before, PassRecord) and isinstance(line, PassRecord) and not before.failure and line.failure:
        return  # an answer holds, whatever another try came to
    found[subject] = line
