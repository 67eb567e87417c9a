"""What a report is made of, independent of how it is shown.

A `Words` is text with figures in it; a figure has the exact value beside the text that people read, so that a page can
be checked against the record that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.figures.intervals import Interval
from harness.report.formatting import change, fraction, mebibytes, milliseconds, percent, times, with_unit

NOT_SHOWN = "What these data do not show"
Tone = Literal["good", "bad", "doubt", "plain"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: its name, its exact value in seconds, bytes, or as a plain ratio, and what is printed."""

    name: str
    value: float
    text: str


Part = str | Figure
Words = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentences, one below the other."""

    lines: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under named columns; the first `text_columns` are words, the others figures.

    `folded`: the words that stand for it until somebody unfolds it. `marked`: rows that need attention.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Words, ...], ...]
    text_columns: int = 1
    folded: str = ""
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of figures that stand elsewhere in words; `draw` returns its SVG, `description` says what it shows."""

    title: str
    description: str
    draw: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file, shrunk, as a data URL; or, where it could not be read, why."""

    caption: str
    url: str = ""
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What was said of one sample, beside its pictures; `said`: by whom, and the words."""

    sample: str
    query: str
    pictures: Callable[[], tuple[Picture, ...]]
    said: tuple[tuple[Words, str], ...]


Block = Sentences | Table | Chart | Answers


@dataclass(frozen=True, slots=True)
class Section:
    """One subject. `lead`: what is shown and how to read it. `brief`: also in the text of one page."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    lead: str = ""
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the run ended: one word, and why."""

    tone: Tone
    word: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the figures that everybody looks for first; `details` below it."""

    label: str
    figure: Figure
    details: tuple[Words, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A whole report; `slipped`: what got worse or broke, `story`: the run in sentences, `not_shown`: what it is not.

    `source`: the folder or file that it was made from.
    """

    title: str
    source: str
    conditions: tuple[Words, ...]
    verdict: Verdict | None
    slipped: tuple[Words, ...]
    tiles: tuple[Tile, ...]
    story: tuple[Words, ...]
    not_shown: tuple[Words, ...]
    sections: tuple[Section, ...]


def words(*parts: Part | Words) -> Words:
    """Return one run of words out of several; empty ones vanish."""
    found: list[Part] = []
    for part in parts:
        found.extend([part] if isinstance(part, str | Figure) else part)
    return tuple(part for part in found if part != "")


def seconds(name: str, value: float) -> Figure:
    """A time, printed in milliseconds without the unit."""
    return Figure(name, value, milliseconds(value))


def factor(name: str, value: float) -> Figure:
    """How many times faster."""
    return Figure(name, value, times(value))


def share(name: str, value: float) -> Figure:
    """A share, printed in percent without the sign."""
    return Figure(name, value, percent(value))


def moved(name: str, value: float) -> Figure:
    """A relative change, printed in percent with its direction."""
    return Figure(name, value, change(value))


def ratio(name: str, value: float) -> Figure:
    """A share between 0 and 1."""
    return Figure(name, value, fraction(value))


def size(name: str, value: float, *, unit: bool = False) -> Figure:
    """A size in bytes, printed in MiB."""
    return Figure(name, value, with_unit(value) if unit else mebibytes(value))


def count(name: str, value: int) -> Figure:
    """A number of things."""
    return Figure(name, value, str(value))


def between(name: str, found: Interval | None, of: Callable[[str, float], Figure]) -> Words:
    """The two ends of an interval; nothing where there is none."""
    if found is None:
        return ()
    return words(of(f"{name}.low", found.low), " to ", of(f"{name}.high", found.high))


def significant(name: str, value: float) -> Figure:
    """Any other number, with three digits that mean something."""
    return Figure(name, value, f"{value:.3g}" if value < 1000 else f"{value:.0f}")


def decimal(name: str, value: float, digits: int = 1) -> Figure:
    """Any other number, with so many digits behind the point."""
    return Figure(name, value, f"{value:.{digits}f}")
