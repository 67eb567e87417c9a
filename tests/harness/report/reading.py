"""Reads a report back: its figures, its words, and what a browser would fetch."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

from harness.report.blocks import Answers, Block, Figure, Report, Section, Sentences, Table, Text, parts, plain


@dataclass
class Page(HTMLParser):
    """What stands in a page; `figures` as (name, exact value, printed)."""

    source: str
    figures: list[tuple[str, float, str]] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    words: str = ""
    _figure: tuple[str, float] | None = None
    _silent: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append(tag)
        self._silent += tag == "style"
        self.addresses += [
            known[name] or "" for name in ("src", "href", "xlink:href", "action", "data") if name in known
        ]
        self.ids += [known["id"] or ""] if "id" in known else []
        if tag == "data":
            self._figure = (known["data-figure"] or "", float(known["value"] or "nan"))

    def handle_endtag(self, tag: str) -> None:
        self._silent -= tag == "style"

    def handle_data(self, data: str) -> None:
        if self._figure:
            self.figures.append((*self._figure, data))
            self._figure = None
        if not self._silent:
            self.words += data

    @property
    def values(self) -> dict[str, float]:
        return {name: value for name, value, _ in self.figures}

    @property
    def printed(self) -> dict[str, str]:
        return {name: text for name, _, text in self.figures}


def figures_in(report: Report) -> list[Figure]:
    """Every figure of a report, before it was put on a page."""
    return [part for text in texts_in(report) for part in parts(text) if isinstance(part, Figure)]


def texts_in(report: Report) -> list[Text]:
    """Every text of a report that may hold figures."""
    found = [*report.conditions, *report.problems, *report.headlines, *report.highlights]
    found += [what for what, _ in report.warnings]
    found += report.caveats
    for tile in report.tiles:
        found += [tile.figure, *tile.details]
    for section in report.sections:
        for block in section.blocks:
            found += _texts(block)
    return found


def _texts(block: Block) -> list[Text]:
    if isinstance(block, Sentences):
        return list(block.lines)
    if isinstance(block, Table):
        return [cell for row in block.rows for cell in row]
    return [who for who, _ in block.answers] if isinstance(block, Answers) else []


def section(report: Report, key: str) -> Section:
    """One section of a report."""
    (found,) = (each for each in report.sections if each.key == key)
    return found


def sentences(found: Section) -> list[str]:
    """The sentences of a section, as they are read."""
    return [plain(line) for block in found.blocks if isinstance(block, Sentences) for line in block.lines]
