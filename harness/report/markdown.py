"""report.md: the same story in a page of text and tables, for a terminal, a pull request, or a job's summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.report.blocks import NOT_SHOWN, Figure, Report, Section, Sentences, Table, Words
from harness.report.formatting import strip_control_characters

MARKS = {"good": "✅", "bad": "❌", "doubt": "⚠️", "plain": "•"}
MAX_ROWS = 40
"""Of a table; a step summary may have 1 MiB, and nobody reads so much."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&~$@])")


def text(report: Report) -> str:
    """Return the text; what comes from outside is escaped, so that it stays text in whatever shows Markdown."""
    return "\n".join(_lines(report)).rstrip() + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {_escaped(report.title)}"
    yield ""
    yield " · ".join([_escaped(report.source), *(_said(each) for each in report.conditions)])
    if report.verdict:
        yield ""
        yield f"{MARKS[report.verdict.tone]} **{report.verdict.word}** – {_escaped(report.verdict.reason)}"
    if report.slipped:
        yield ""
        yield from (f"- {_said(line)}" for line in report.slipped)
    if report.tiles:
        rows = tuple(((tile.label,), (tile.figure,), _joined(tile.details)) for tile in report.tiles)
        yield from _table(Table(("figure", "", "of what"), rows, text_columns=3))
    if report.story:
        yield ""
        yield from (f"- {_said(line)}" for line in report.story)
    if report.not_shown:
        yield ""
        yield f"{NOT_SHOWN}:"
        yield ""
        yield from (f"- {_said(line)}" for line in report.not_shown)
    for section in report.sections:
        if section.brief:
            yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield ""
    yield f"## {_escaped(section.title)}"
    if section.lead:
        yield ""
        yield _escaped(section.lead)
    for block in section.blocks:
        if isinstance(block, Sentences):
            for line in block.lines:
                yield ""
                yield _said(line)
        elif isinstance(block, Table) and not block.folded:
            yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    yield ""
    yield _row([_escaped(column) for column in table.columns])
    yield _row(["---" if place < table.text_columns else "---:" for place in range(len(table.columns))])
    yield from (_row([_said(cell) for cell in row]) for row in table.rows[:MAX_ROWS])
    if len(table.rows) > MAX_ROWS:
        yield ""
        yield f"… and {len(table.rows) - MAX_ROWS} more rows in report.html"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _joined(lines: tuple[Words, ...]) -> Words:
    found: list[str | Figure] = []
    for line in lines:
        found += (["; "] if found else []) + list(line)
    return tuple(found)


def _said(line: Words) -> str:
    return "".join(part.text if isinstance(part, Figure) else _escaped(part) for part in line)


def _escaped(words: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(strip_control_characters(words).split("\n")))
