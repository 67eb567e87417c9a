"""Merges the lines of one or more journals into one run's record; later measurements replace earlier ones. Pure.

From an attempt on, which is a process that resumes a run, stage tests are measured anew.
"""

from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate
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
        attempts = list(accumulate(isinstance(line, AttemptRecord) for line in journal))
        # A test that is always measured as a whole holds as its last attempt left it.
        last: dict[tuple[type, str], int] = {
            (type(line), line.test): attempt
            for line, attempt in zip(journal, attempts, strict=True)
            if isinstance(line, MEASURED_AS_A_WHOLE)
        }
        for place, (line, attempt) in enumerate(zip(journal, attempts, strict=True)):
            if last.get((type(line), getattr(line, "test", "")), attempt) != attempt:
                continue
            subject: Hashable = (rank, place)
            match line:
                case PassRecord():
                    subject = (PassRecord, line.kind, line.model, line.engine, line.sample)
                case VerdictRecord():
                    subject = (VerdictRecord, line.limit)
                case OutcomeRecord():
                    subject = (OutcomeRecord, line.test)
            before = found.get(subject)
            has_answer = isinstance(before, PassRecord) and not before.failure
            if not (has_answer and isinstance(line, PassRecord) and line.failure):  # whatever another try came to
                found[subject] = line
    return list(found.values())
