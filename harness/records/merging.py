"""Merges the lines of one or more journals into one run's record; later measurements replace earlier ones. Pure.

An `AttemptRecord` begins each resumption, after which stage tests are measured anew and passes are kept.
"""

from collections.abc import Hashable, Iterable, Sequence
from itertools import accumulate
from typing import Any, TypeVar, get_args, get_origin

from msgspec.structs import fields

from harness.records import lines as records

# Fields of a run's record that hold all lines of one kind, with that kind.
_KINDS: dict[str, Any] = {
    each.name: get_args(each.type)[0] for each in fields(records.RunRecord) if get_origin(each.type) is tuple
}

Line = TypeVar("Line", bound=records.JournalLine)
Lines = Sequence[records.JournalLine]


def merged_record(header: records.Header, own: Lines, of_other_ranks: Sequence[Lines] = ()) -> records.RunRecord:
    """Return the record of a run from the lines behind its header, and from the lines of its other ranks by number."""
    journals = [own, *of_other_ranks]
    lines = [line for journal in journals for line in journal]
    attempts = _of(records.AttemptRecord, lines)
    if attempts:
        lines = _without_replaced(journals)
    by_kind: dict[str, Any] = {name: _of(kind, lines) for name, kind in _KINDS.items()}
    by_kind |= {
        "verdicts": tuple({line.limit: line for line in _of(records.VerdictRecord, lines)}.values()),
        "gates": tuple({line.metric: line for line in _of(records.GateRecord, lines)}.values()),
        "engines": tuple({(line.model, line.engine): line for line in _of(records.EngineRecord, lines)}.values()),
    }
    machine = next(iter(reversed(_of(records.MachineRecord, own))), None)
    # The run has ended when all ranks of its latest attempt have; the highest exit status counts.
    count = world_size(header, own)
    ends = [end for end in map(end_of, journals[:count]) if end is not None]
    end = max(ends, key=lambda each: each.exit_status) if len(ends) == count else None
    return records.RunRecord(header=header, end=end, machine=machine, **by_kind)


def world_size(header: records.Header, own: Lines) -> int:
    """Return how many ranks the latest attempt has."""
    attempts = _of(records.AttemptRecord, own)
    return attempts[-1].world_size if attempts else int(header.environment.get("world_size", 1))


def end_of(journal: Lines) -> records.EndRecord | None:
    """Return the end of a journal's latest attempt; None where it runs still, or was killed."""
    kinds = records.EndRecord | records.AttemptRecord
    latest = next((line for line in reversed(journal) if isinstance(line, kinds)), None)
    return latest if isinstance(latest, records.EndRecord) else None


def _of(kind: type[Line], lines: Iterable[records.JournalLine]) -> tuple[Line, ...]:
    return tuple(line for line in lines if isinstance(line, kind))


def _without_replaced(journals: Sequence[Lines]) -> list[records.JournalLine]:
    """Return the lines that count; a later line takes the place of an earlier one on the same subject."""
    counted: dict[Hashable, records.JournalLine] = {}
    for rank, journal in enumerate(journals):
        attempts = list(accumulate(isinstance(line, records.AttemptRecord) for line in journal))
        # Of a test that is measured as a whole, only the lines of its last attempt count.
        last: dict[tuple[type, str], int] = {
            (type(line), line.test): attempt
            for line, attempt in zip(journal, attempts, strict=True)
            if isinstance(line, records.Remeasured)
        }
        for place, (line, attempt) in enumerate(zip(journal, attempts, strict=True)):
            if last.get((type(line), getattr(line, "test", "")), attempt) != attempt:
                continue
            subject: Hashable = (rank, place)
            match line:
                case records.PassRecord():
                    subject = (records.PassRecord, line.kind, line.model, line.engine, line.sample)
                case records.OutcomeRecord():
                    subject = (records.OutcomeRecord, line.test)
            before = counted.get(subject)
            # A pass that succeeded is kept, even if a later try failed.
            if not (isinstance(before, records.PassRecord) and not before.failure and getattr(line, "failure", None)):
                counted[subject] = line
    return list(counted.values())
