"""A run on several machines: whatever is made of times is said for each by itself, since they are never averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord
from harness.report.blocks import Block, Figure, Section, Sentences, Table, Words, words


def each_machine(run: RunRecord) -> Iterator[tuple[RunRecord, Callable[[Words], Words]]]:
    """Yield what was measured on each machine, and what puts its name before a line where there are several."""
    parts = by_machine(run)
    for place, (machine, part) in enumerate(parts.items(), start=1):
        yield part, (lambda line: line) if len(parts) == 1 else partial(_line, machine, place)


def sections_of_each(run: RunRecord, sections: Callable[[RunRecord], Iterator[Section]]) -> Iterator[Section]:
    """Yield the sections of a run; of one on several machines those of each, which their titles name."""
    parts = by_machine(run)
    for place, (machine, part) in enumerate(parts.items(), start=1):
        for section in sections(part):
            yield section if len(parts) == 1 else _placed(section, machine, place)


def _line(machine: str, place: int, line: Words) -> Words:
    return words(f"On {machine}: ", _renamed(line, place))


def _placed(section: Section, machine: str, place: int) -> Section:
    blocks = tuple(_block(each, place) for each in section.blocks)
    return replace(section, key=f"{section.key}-{place}", title=f"{section.title}, on {machine}", blocks=blocks)


def _block(block: Block, place: int) -> Block:
    if isinstance(block, Sentences):
        return Sentences(tuple(_renamed(line, place) for line in block.lines))
    if isinstance(block, Table):
        return replace(block, rows=tuple(tuple(_renamed(cell, place) for cell in row) for row in block.rows))
    return block


def _renamed(line: Words, place: int) -> Words:
    """A figure's name stands for one value in a page."""
    return tuple(
        replace(part, name=f"machine{place}.{part.name}") if isinstance(part, Figure) else part for part in line
    )
