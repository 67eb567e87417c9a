"""report.md: the report as text and tables, for a terminal, a pull request, or a job's summary."""

import re
from collections.abc import Iterator, Sequence

from harness.records.quantities import counted
from harness.report.blocks import CAVEATS, Figure, Report, Sentences, Table, Text, joined, parts
from harness.report.formatting import strip_control_characters

MARKS = {"good": "✅", "bad": "❌", "doubt": "⚠️", "plain": "•"}
MAX_ROWS = 40  # of a table; a job's summary may have at most 1 MiB
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#&~$@])")


def markdown(report: Report) -> str:
    """Return a report as Markdown; text from outside is escaped, so that no renderer takes it for markup."""
    return "\n\n".join(_paragraphs(report)).rstrip() + "\n"


def _paragraphs(report: Report) -> Iterator[str]:
    yield f"# {_escaped(report.title)}"
    yield " · ".join([_escaped(report.source), *map(_shown, report.conditions)])
    if report.verdict:
        yield f"{MARKS[report.verdict.tone]} **{report.verdict.label}** – {_escaped(report.verdict.reason)}"
    yield from _list(report.problems)
    if report.warnings:
        yield f"{MARKS['doubt']} {counted(len(report.warnings), 'warning')}"
        yield from _list([joined([what, to_do] if to_do else [what], " ") for what, to_do in report.warnings])
    if report.tiles:
        rows = [(tile.label, tile.figure, joined(tile.details, "; ")) for tile in report.tiles]
        yield from _table(Table(("figure", "", "of what"), rows, text_columns=3))
    yield from _list([*report.headlines, *report.highlights])
    if report.caveats:
        yield f"{CAVEATS}:"
        yield from _list(report.caveats)
    if report.command:
        yield f"    {strip_control_characters(report.command)}"
    for section in (each for each in report.sections if each.brief):
        yield f"## {_escaped(section.title)}"
        if section.lead:
            yield _escaped(section.lead)
        for block in section.blocks:
            if isinstance(block, Sentences):
                yield from map(_shown, block.lines)
            elif isinstance(block, Table) and not block.folded:
                yield from _table(block)


def _table(table: Table) -> Iterator[str]:
    rule = ["---" if place < table.text_columns else "---:" for place in range(len(table.columns))]
    rows = [map(_escaped, table.columns), rule, *(map(_shown, row) for row in table.rows[:MAX_ROWS])]
    yield "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    if len(table.rows) > MAX_ROWS:
        yield f"… and {len(table.rows) - MAX_ROWS} more rows in report.html"


def _list(lines: Sequence[Text]) -> Iterator[str]:
    if lines:
        yield "\n".join(f"- {_shown(line)}" for line in lines)


def _shown(line: Text) -> str:
    return "".join(part.text if isinstance(part, Figure) else _escaped(part) for part in parts(line))


def _escaped(words: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(strip_control_characters(words).split("\n")))
