"""The report on the terminal: its blocks, shortened to a screen unless -v asks for all."""

import io
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import rich.table
import rich.text
from rich.console import Console, JustifyMethod

from harness.gates.gate import figures_of
from harness.gates.witnesses import hidden_changes, verdict_text
from harness.records.lines import GateRecord, RunRecord
from harness.report.blocks import CAVEATS, Chart, Report, Section, Sentences, Table, Text, plain
from harness.report.content import report_of
from harness.report.formatting import strip_control_characters
from harness.report.sections.judgement import gate_groups

WIDTHS = (80, 100)
MAX_WARNINGS = 5
MAX_PROBLEMS = 8
MAX_ROWS = 10  # of a table, without -v
MAX_WORD = 16  # characters of a word in a table's text column that are not broken
STYLES = {"good": "bold green", "bad": "bold red", "doubt": "bold yellow", "plain": ""}

Line = rich.text.Text | rich.table.Table


def summary(run: RunRecord, folder: Path, files: Iterable[Path], *, width: int, color: bool, verbosity: int = 0) -> str:
    """Return the summary at the end of a run; `verbosity` as in pytest: below 0 for -q, above 0 for -v."""
    names = [str(path.relative_to(folder) if path.is_relative_to(folder) else path) for path in files]
    found = rendered(report_of(run, folder.name), width=width, color=color, verbosity=verbosity)
    wrapped = textwrap.wrap(
        ", ".join(names if verbosity >= 0 else ()),
        max(WIDTHS[0], min(width, WIDTHS[1])),
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return found + strip_control_characters("\n".join([f"files: {folder}", *wrapped, ""]))


def rendered(report: Report, *, width: int = WIDTHS[1], color: bool = False, verbosity: int = 0) -> str:
    """Return a report as text for a terminal."""
    narrowest, widest = WIDTHS
    stream = io.StringIO()
    system = "standard" if color else None
    shown = max(narrowest, width if verbosity > 0 else min(width, widest))
    console = Console(file=stream, width=shown, force_terminal=color, color_system=system)  # type: ignore[arg-type]
    for line in _lines(report, shown, verbosity):
        if isinstance(line, rich.table.Table):
            console.print(line, width=max(shown, sum((each.width or 0) + 1 for each in line.columns)), crop=False)
        else:
            console.print(line, highlight=False, markup=False, soft_wrap=line.no_wrap)
    return re.sub(r" +$", "", stream.getvalue(), flags=re.MULTILINE)


def gate_lines(gates: Iterable[GateRecord]) -> str:
    """Return the verdicts as text, the worst last; of the passed ones, only the nearest to its limit."""
    known = list(gates)
    lines = ["", "gates", *(f"{'WARNING':17}{names[0]}: {work}" for work, names in hidden_changes(known).items())]
    for state, same in gate_groups(known):
        rows = [f"{'':17}{gate.metric}: {figures_of(gate)}" for gate in same if gate.limit is None and figures_of(gate)]
        if rows:  # verdicts with a limit have the figures in their sentence
            lines += [f"{state.upper():17}{same[0].sentence}", *rows]
            continue
        lines.append(f"{state.upper():17}{same[0].metric}: {verdict_text(same[0])}")
        if len(same) > 1:
            lines.append(f"{'':17}… and {len(same) - 1} more")
    return strip_control_characters("\n".join(lines) + "\n")


def _lines(report: Report, width: int, verbosity: int) -> Iterator[Line]:
    if verbosity >= 0:
        yield _line(" · ".join([report.title, *map(plain, report.conditions)]))
    yield from (_line(each, "bold") for each in report.headlines)
    if verbosity > 0:
        yield from map(_line, report.highlights)
        yield from (_line(f"{CAVEATS}: {plain(each)}") for each in report.caveats)
    if verbosity >= 0:
        for section in report.sections:
            yield from _section(section, width, everything=verbosity > 0)
        # Only the first words of warnings: report.md has all, and the advice.
        for number, (warning, _) in enumerate(report.warnings[:MAX_WARNINGS], start=1):
            words = f"warning {number} of {len(report.warnings)}: {plain(warning)}"
            # Cut between words: half a figure would be a wrong figure.
            yield _line(textwrap.shorten(words, width, placeholder=" …", break_on_hyphens=False), "yellow")
        shown = report.problems if verbosity > 0 else report.problems[:MAX_PROBLEMS]
        yield from (_line(f"- {plain(each)}", "red", whole=True) for each in shown)
        if len(report.problems) > len(shown):
            yield _line(f"… and {len(report.problems) - len(shown)} more in report.md")
        yield from (_line(f"advice: {each}", whole=True) for each in report.advice)
    if report.verdict:
        yield _line(f"{report.verdict.label} – {report.verdict.reason}", STYLES[report.verdict.tone], whole=True)


def _section(section: Section, width: int, *, everything: bool) -> Iterator[Line]:
    blocks = [
        each
        for each in section.blocks
        if not isinstance(each, Chart) and (everything or (isinstance(each, Sentences | Table) and each.in_summary))
    ]
    if blocks and (everything or any(isinstance(each, Table) for each in blocks)):
        yield _line(f"\n{section.title}", "bold")
    if everything and section.lead and blocks:
        yield _line(section.lead)
    for block in blocks:
        if isinstance(block, Table):
            yield from _table(block, len(block.rows) if everything else MAX_ROWS, width)
        elif isinstance(block, Sentences):
            yield from map(_line, block.lines)
        else:
            yield _line(f"{block.sample}: {block.query}", "bold")
            yield from (_line(f"{plain(who)}: {answer}") for who, answer in block.answers)


def _table(table: Table, max_rows: int, width: int) -> Iterator[Line]:
    rows = table.rows[:max_rows]
    found = rich.table.Table(box=None, padding=(0, 1, 0, 0), header_style="")
    cells = [[column, *(plain(row[place]) for row in rows)] for place, column in enumerate(table.columns)]
    for place, size in enumerate(_widths(cells, table.text_columns, width)):
        justify: JustifyMethod = "left" if place < table.text_columns else "right"
        found.add_column(_line(table.columns[place]), justify=justify, overflow="fold", width=size)
    for place, row in enumerate(rows):
        found.add_row(*map(_line, row), style="red" if place in table.marked else "")
    yield found
    if len(table.rows) > max_rows:
        yield _line(f"… and {len(table.rows) - max_rows} more rows in report.md")


def _widths(columns: list[list[str]], text_columns: int, width: int) -> list[int]:
    """Return the columns' widths in characters, shrunk to fit `width` as far as that breaks no figure."""
    found = [max(map(len, cells)) for cells in columns]
    least = [max(len(word) for cell in cells for word in cell.split() or [""]) for cells in columns]
    least[:text_columns] = [min(each, MAX_WORD) for each in least[:text_columns]]
    while sum(found) + len(found) > width:
        spare = [size - needed for size, needed in zip(found, least, strict=True)]
        # The first column, with the row's name, is shrunk last.
        place = max(range(len(found)), key=lambda each: (spare[each] > 0, each > 0, spare[each]))
        if spare[place] <= 0:
            break
        found[place] -= 1
    return found


def _line(text: Text, style: str = "", *, whole: bool | None = None) -> rich.text.Text:
    """Return a line; a `whole` one is wrapped by the terminal, so that it can be searched for and copied whole."""
    return rich.text.Text(strip_control_characters(plain(text)), style, no_wrap=whole)
