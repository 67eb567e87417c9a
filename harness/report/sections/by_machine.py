"""Lines and sections of a run on several machines, given for each machine: their times are never averaged."""

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord
from harness.report.blocks import Block, Figure, Section, Sentences, Table, Text, parts, text


def lines_of_each(run: RunRecord, lines: Callable[[RunRecord], Iterator[Text]]) -> Iterator[Text]:
    """Yield the lines of a run; for several machines the lines of each, with the machine's name."""
    found = by_machine(run)
    for place, (machine, part) in enumerate(found.items(), start=1):
        for line in lines(part):
            yield line if len(found) == 1 else text("On {on}: {line}", on=machine, line=_renamed(line, place))


def sections_of_each(run: RunRecord, *subjects: Callable[[RunRecord], Iterator[Section]]) -> Iterator[Section]:
    """Yield the sections of a run; for several machines the sections of each, with the machine in the title."""
    found = by_machine(run)
    for place, (machine, part) in enumerate(found.items(), start=1):
        for section in (section for sections in subjects for section in sections(part)):
            if len(found) == 1:
                yield section
            else:
                blocks = [_block(each, place) for each in section.blocks]
                key, title = f"{section.key}-{place}", f"{section.title}, on {machine}"
                yield replace(section, key=key, title=title, blocks=blocks)


def _block(block: Block, place: int) -> Block:
    if isinstance(block, Sentences):
        return replace(block, lines=[_renamed(line, place) for line in block.lines])
    if isinstance(block, Table):
        return replace(block, rows=[[_renamed(cell, place) for cell in row] for row in block.rows])
    return block


def _renamed(line: Text, place: int) -> Text:
    """Return a text with the machine's number in the figures' names, which are unique in a page."""
    return tuple(
        replace(part, name=f"machine{place}.{part.name}") if isinstance(part, Figure) else part for part in parts(line)
    )
