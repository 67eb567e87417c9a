"""Page, Markdown and terminal show the report's tables cell by cell, and its sentences."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from harness.report.blocks import Report, Table, plain
from harness.report.content import report_of
from harness.report.markdown import markdown
from harness.report.page import page
from harness.report.terminal import rendered
from tests.harness.report.distinct_run import (
    distinct_run,
)
from tests.harness.report.reading import Page, section, sentences

pytestmark = pytest.mark.usefixtures("undrawn")

ON_GPU = report_of(distinct_run(), "source")


@dataclass
class Tables(HTMLParser):
    """The tables of a page, cell by cell."""

    source: str
    grids: list[list[list[str]]] = field(default_factory=list)
    _open: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.grids.append([])
        if tag == "tr":
            self.grids[-1].append([])
        if tag in {"td", "th"}:
            self.grids[-1][-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._open:
            self.grids[-1][-1][-1] += data


def shown(report: Report, *, brief: bool) -> list[list[list[str]]]:
    return [
        [list(block.columns), *([plain(cell) for cell in row] for row in block.rows)]
        for each in report.sections
        if each.brief or not brief
        for block in each.blocks
        if isinstance(block, Table) and not (brief and block.folded)
    ]


def all_sentences(report: Report, *, brief: bool) -> list[str]:
    found = [plain(line) for line in (*report.headlines, *report.highlights, *report.caveats)]
    return found + [line for each in report.sections if each.brief or not brief for line in sentences(each)]


def test_the_page_shows_every_cell_and_sentence() -> None:
    found = page(ON_GPU)
    assert Tables(found).grids == shown(ON_GPU, brief=False)
    words = Page(found).words
    assert not [line for line in all_sentences(ON_GPU, brief=False) if line not in words]


def test_the_markdown_shows_every_cell_and_sentence() -> None:
    found = MarkdownIt("commonmark").enable("table").render(markdown(ON_GPU))
    tiles, *grids = Tables(found).grids
    assert [row[:2] for row in tiles[1:]] == [[each.label, plain(each.figure)] for each in ON_GPU.tiles]
    assert [row[2] for row in tiles[1:]] == ["; ".join(map(plain, each.details)) for each in ON_GPU.tiles]
    assert grids == shown(ON_GPU, brief=True)
    words = Page(found).words
    assert not [line for line in all_sentences(ON_GPU, brief=True) if line not in words]


def test_the_terminal_shows_every_cell_and_sentence() -> None:
    text = rendered(ON_GPU, width=1000, verbosity=1)
    lines = [line.split() for line in text.splitlines()]
    rows = [" ".join(row).split() for grid in shown(ON_GPU, brief=False) for row in grid]
    assert len(rows) > 100
    assert not [row for row in rows if row not in lines]
    assert not [line for line in all_sentences(ON_GPU, brief=False) if line not in text]


def test_the_terminal_s_columns_are_the_report_s() -> None:
    """Each cell ends, or begins, below its heading: a column that moved would not."""
    (grid,) = shown(Report("", "", [], [section(ON_GPU, "memory")]), brief=False)
    lines = rendered(Report("", "", [], [section(ON_GPU, "memory")]), width=1000, verbosity=1).splitlines()
    start = next(place for place, line in enumerate(lines) if line.split() == " ".join(grid[0]).split())
    end = 0
    for place, heading in enumerate(grid[0][1:], start=1):
        end = lines[start].index(heading, end) + len(heading)
        assert [lines[start + row][:end].split()[-1] for row in range(1, len(grid))] == [row[place] for row in grid[1:]]
