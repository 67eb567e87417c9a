"""What a report is made of, independent of how it is shown.

A `Text` is words with figures in them; a figure has its exact value beside the digits that people read, so that a page
can be checked against the record that it was made from.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from string import Formatter
from typing import Literal

import msgspec

from harness.figures.intervals import Interval

MAX_SPAN = 1000.0  # times its lower end: an interval that reaches farther is said to be wide, without its ends
CAVEATS = "What these data do not show"
Tone = Literal["good", "bad", "doubt", "plain"]


class Figure(msgspec.Struct, frozen=True):
    """One number: its name, its exact value in seconds, bytes, or as a plain ratio, and the digits that are shown."""

    name: str
    value: float
    text: str


Part = str | Figure
Text = Part | tuple[Part, ...]


class Sentences(msgspec.Struct, frozen=True):
    """Sentences, one below the other; `in_summary`: shown on the terminal without being asked for."""

    lines: Sequence[Text]
    in_summary: bool = False


class Table(msgspec.Struct, frozen=True):
    """Rows under named columns; the first `text_columns` are words, the others figures."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Text]]
    text_columns: int = 1
    folded: str = ""  # the words that stand for it until somebody unfolds it
    marked: frozenset[int] = frozenset()  # rows that need attention
    in_summary: bool = False  # shown on the terminal without being asked for


class Chart(msgspec.Struct, frozen=True):
    """A picture of figures that stand elsewhere in words; `draw` returns its SVG, `description` says what it shows."""

    title: str
    description: str
    draw: Callable[[], str]


class Picture(msgspec.Struct, frozen=True):
    """A picture file, shrunk, as a data URL; or, where it could not be read, why."""

    caption: str
    url: str = ""
    trouble: str = ""


class Answers(msgspec.Struct, frozen=True):
    """The answers to one sample, beside its pictures: (who, what) for each."""

    sample: str
    query: str
    pictures: Callable[[], tuple[Picture, ...]]
    answers: Sequence[tuple[Text, str]]


Block = Sentences | Table | Chart | Answers


def filled(*blocks: Block | None) -> list[Block]:
    """Return the blocks that have something in them."""
    empty = {Sentences: "lines", Table: "rows"}
    return [each for each in blocks if each and getattr(each, empty.get(type(each), ""), True)]


class Section(msgspec.Struct, frozen=True):
    """One subject. `lead`: how to read it; `brief`: in Markdown too; `folded`: on a page, until somebody unfolds it."""

    key: str
    title: str
    blocks: Sequence[Block]
    lead: str = ""
    brief: bool = False
    folded: bool = True


class Verdict(msgspec.Struct, frozen=True):
    """How the run ended: a label of one or two words, and why."""

    tone: Tone
    label: str
    reason: str


class Tile(msgspec.Struct, frozen=True):
    """One of the figures that everybody looks for first; `details` below it."""

    label: str
    figure: Figure
    details: Sequence[Text]


class Report(msgspec.Struct, frozen=True):
    """A whole report of `source`, the folder or file that it was made from."""

    title: str
    source: str
    conditions: Sequence[Text]
    sections: Sequence[Section]
    verdict: Verdict | None = None
    problems: Sequence[Text] = ()  # what broke or got worse
    warnings: Sequence[tuple[Text, str]] = ()  # what speaks against the figures, and what to do
    advice: Sequence[str] = ()  # what to do next time
    tiles: Sequence[Tile] = ()
    headlines: Sequence[Text] = ()  # each target, and what drafting for it brings, in one sentence
    highlights: Sequence[Text] = ()  # what stands out
    caveats: Sequence[Text] = ()  # what the data do not show
    command: str = ""  # what was typed


def name(*parts: str | None) -> str:
    """Return the name of a figure, in the form of `harness.figures.metrics`."""
    return ".".join(part for part in parts if part)


def figure(digits: Callable[[float], str], value: float, *names: str | None) -> Figure:
    """Return a figure shown in one of the forms of `harness.report.formatting`."""
    return Figure(name(*names), value, digits(value))


def cell(digits: Callable[[float], str], value: float | None, *names: str | None, unknown: str = "") -> Text:
    """Return a figure of a table; where it is not known, the words for that."""
    return unknown if value is None else figure(digits, value, *names)


def ends(interval: Interval | None, digits: Callable[[float], str], *names: str | None) -> Text:
    """Return the ends of an interval, as far as they are known and tell something."""
    if interval is not None and 0 < MAX_SPAN * interval.low < interval.high < math.inf:
        return "too wide to tell"
    known = [] if interval is None else [("low", interval.low), ("high", interval.high)]
    found = {which: figure(digits, end, *names, which) for which, end in known if math.isfinite(end)}
    if len(found) == 2:
        return found["low"], " to ", found["high"]
    return next(((end, " or more" if which == "low" else " or less") for which, end in found.items()), "")


def with_ends(interval: Interval, digits: Callable[[float], str], *names: str | None) -> Text:
    """Return a figure, and in brackets the ends of its interval."""
    found = ends(interval, digits, *names)
    return text("{value} ({ends})" if found else "{value}", value=figure(digits, interval.value, *names), ends=found)


def text(template: str, **places: Text) -> Text:
    """Return a template with texts and figures in its named places."""
    # Whatever comes from outside goes into a place and never into the template: it may hold braces.
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
    """Return a text as it is read."""
    return "".join(part.text if isinstance(part, Figure) else part for part in parts(of))
