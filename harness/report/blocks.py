"""The parts of a report, independent of the renderer.

A `Text` is words with figures in them. A figure holds its exact value beside the shown digits, so that a page can be
checked against its record.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from string import Formatter
from typing import Literal

import msgspec

from harness.figures.intervals import Interval

MAX_SPAN = 1000.0  # upper over lower end; a wider interval is shown as "too wide to tell"
CAVEATS = "What these data do not show"
Tone = Literal["good", "bad", "doubt", "plain"]


class Figure(msgspec.Struct, frozen=True):
    """One number: its name, its exact value in seconds, bytes or as a ratio, and the shown digits."""

    name: str
    value: float
    text: str


Part = str | Figure
Text = Part | tuple[Part, ...]


class Sentences(msgspec.Struct, frozen=True):
    """Sentences, one per line; `in_summary`: the terminal shows them without -v."""

    lines: Sequence[Text]
    in_summary: bool = False


class Table(msgspec.Struct, frozen=True):
    """Rows under named columns; the first `text_columns` are words, the others figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]
    text_columns: int = 1
    folded: str = ""  # title of the folded table on a page; empty: not folded
    marked: frozenset[int] = frozenset()  # indices of rows that need attention
    in_summary: bool = False  # the terminal shows it without -v


class Chart(msgspec.Struct, frozen=True):
    """A chart of figures that a table has too; `draw` returns its SVG, `description` is its text alternative."""

    title: str
    description: str
    draw: Callable[[], str]


class Picture(msgspec.Struct, frozen=True):
    """A picture file, shrunk, as a data URL; or `problem`, the reason why it is not shown."""

    caption: str
    url: str = ""
    problem: str = ""


class Answers(msgspec.Struct, frozen=True):
    """The answers to one sample, as (model, text), and its pictures."""

    sample: str
    query: str
    pictures: Callable[[], tuple[Picture, ...]]
    answers: Sequence[tuple[Text, str]]


Block = Sentences | Table | Chart | Answers


def filled(*blocks: Block) -> list[Block]:
    """Return the blocks without empty sentences and tables."""
    return [
        each
        for each in blocks
        if (each.lines if isinstance(each, Sentences) else each.rows if isinstance(each, Table) else True)
    ]


class Section(msgspec.Struct, frozen=True):
    """One subject. `lead`: how to read it; `brief`: Markdown has it too; `folded`: a page shows its title only."""

    key: str
    title: str
    blocks: Sequence[Block]
    lead: str = ""
    brief: bool = False
    folded: bool = True


class Verdict(msgspec.Struct, frozen=True):
    """How the run ended: a label of one or two words, and the reason."""

    tone: Tone
    label: str
    reason: str


class Tile(msgspec.Struct, frozen=True):
    """One of the main figures at the top of a page, with `details` below it."""

    label: str
    figure: Figure
    details: Sequence[Text]


class Report(msgspec.Struct, frozen=True):
    """A whole report; `source` names the folder or file that it was made from."""

    title: str
    source: str
    conditions: Sequence[Text]
    sections: Sequence[Section]
    verdict: Verdict | None = None
    problems: Sequence[Text] = ()  # what broke or got worse
    warnings: Sequence[tuple[Text, str]] = ()  # reasons to distrust figures, each with advice
    advice: Sequence[str] = ()  # for the next run
    tiles: Sequence[Tile] = ()
    headlines: Sequence[Text] = ()  # one sentence per target, per speculative pair and per quantised model
    highlights: Sequence[Text] = ()  # further sentences on the main figures
    caveats: Sequence[Text] = ()  # claims that the data do not support
    command: str = ""  # the command line of the run


def name(*parts: str | None) -> str:
    """Return the name of a figure, in the form of `harness.figures.metrics`."""
    return ".".join(part for part in parts if part)


def figure(digits: Callable[[float], str], value: float, *names: str | None) -> Figure:
    """Return a figure whose digits a function of `harness.report.formatting` makes."""
    return Figure(name(*names), value, digits(value))


def cell(digits: Callable[[float], str], value: float | None, *names: str | None, unknown: str = "") -> Text:
    """Return a figure of a table, or `unknown` for None."""
    return unknown if value is None else figure(digits, value, *names)


def ends(interval: Interval | None, digits: Callable[[float], str], *names: str | None) -> Text:
    """Return the bounds of an interval as text, without infinite ones; empty for None."""
    if interval is None:
        return ""
    if 0 < MAX_SPAN * interval.low < interval.high < math.inf:
        return "too wide to tell"
    low = figure(digits, interval.low, *names, "low") if math.isfinite(interval.low) else None
    high = figure(digits, interval.high, *names, "high") if math.isfinite(interval.high) else None
    if low and high:
        return low, " to ", high
    if low:
        return low, " or more"
    return (high, " or less") if high else ""


def with_ends(interval: Interval, digits: Callable[[float], str], *names: str | None) -> Text:
    """Return a figure with the bounds of its interval in brackets."""
    found = ends(interval, digits, *names)
    return text("{value} ({ends})" if found else "{value}", value=figure(digits, interval.value, *names), ends=found)


def text(template: str, **places: Text) -> Text:
    """Return a template with texts and figures in its named places."""
    # Text from outside goes into a place and never into the template, since it may hold braces.
    found: list[Part] = []
    for words, place, _, _ in Formatter().parse(template):
        found += [words, *parts(places[place] if place else "")]
    return tuple(part for part in found if part != "")


def parts(of: Text) -> tuple[Part, ...]:
    """Return the words and figures of a text, in order."""
    return of if isinstance(of, tuple) else (of,)


def joined(texts: Iterable[Text], separator: str) -> Text:
    """Return several texts as one."""
    found: list[Part] = []
    for each in texts:
        found += [*([separator] if found else []), *parts(each)]
    return tuple(found)


def plain(of: Text) -> str:
    """Return a text as a string, with the shown digits of its figures."""
    return "".join(part.text if isinstance(part, Figure) else part for part in parts(of))
