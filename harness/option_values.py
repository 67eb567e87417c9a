"""Parsers of option values from text; each raises ValueError naming the values that it takes."""

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.errors import OptionError

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off"})
UNITS = {"B": 1, "MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
SIZE_FORM = re.compile(rf"([0-9]{{1,12}}(?:\.[0-9]+)?) ?({'|'.join(UNITS)})")
DURATION_FORM = re.compile(r"([0-9]{1,7}(?:\.[0-9]+)?)(ms|s)")
EMBEDDED_FORM = re.compile(r"\d+(:\d+x\d+(:\d+(\.\d+)?)?)?")


class NumberError(ValueError, argparse.ArgumentTypeError):
    """A number that is refused; argparse shows the message of an ArgumentTypeError only."""


def require_utf8(words: Iterable[str]) -> None:
    """Raise OptionError for a word with bytes that are not UTF-8, which a run's files cannot hold."""
    for word in words:
        if any("\ud800" <= sign <= "\udfff" for sign in word):
            raise OptionError(f"{word!r} is not in UTF-8: write it so, or name the file by a link")


def text(raw: str) -> str:
    """Any text but an empty one."""
    if not raw.strip():
        raise ValueError("takes a text that is not empty")
    return raw


def text_but_none(raw: str) -> str | None:
    """Any text but an empty one; "none" gives None."""
    return None if raw.strip() == "none" else text(raw)


def path(raw: str) -> Path:
    """A path, `~` expanded, whether or not it exists."""
    try:
        return Path(text(raw)).expanduser()
    except RuntimeError:
        raise ValueError("takes a path; there is no home directory of that name") from None


def key_and_value(raw: str) -> tuple[str, str]:
    """A key and a value, with an equals sign between them."""
    key, _, value = (part.strip() for part in raw.strip().partition("="))
    if not key or not value:
        raise ValueError("takes KEY=PATH")
    return key, value


def switch(raw: str) -> bool:
    """True or False, in the words of an ini file."""
    word = raw.strip().lower()
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise ValueError("takes true or false")
    return word in TRUE_WORDS


def _whole(at_least: int, at_most: int | None = None) -> Callable[[str], int]:
    def read(raw: str) -> int:
        try:
            value = int(raw)
        except ValueError:
            value = at_least - 1
        if value < at_least:
            raise NumberError(f"takes a whole number from {at_least} up")
        if at_most is not None and value > at_most:
            raise NumberError(f"takes a whole number of {at_least} to {at_most}")
        return value

    return read


def _number(what: str, low: float, high: float, *, above: bool = False) -> Callable[[str], float]:
    """A parser of numbers from `low`, or `above` it, up to `high`."""

    def read(raw: str) -> float:
        try:
            value = float(raw)
        except ValueError:
            raise ValueError("takes a number") from None
        if not low <= value <= high or (above and value == low):
            raise ValueError(f"takes {what}")
        return value

    return read


whole_number, count, small_count = _whole(0), _whole(1), _whole(1, 1000)
seconds = _number("seconds, above 0 and up to a day", 0, 86400, above=True)
temperature = _number("a number from 0 (greedy) to 100", 0, 100)
share = _number("a number above 0 and up to 1", 0, 1, above=True)


def duration(raw: str) -> float:
    """A length of time in ms or s, in seconds: whole microseconds of up to an hour."""
    form = DURATION_FORM.fullmatch(raw.strip())
    value = round(float(form[1]) * (1e6 if form[2] == "s" else 1e3)) if form else 0
    if not 0 < value <= 3_600_000_000:
        raise ValueError("takes a time above 0 with its unit (ms or s), as in 50ms")
    return value / 1e6


def names(raw: str) -> tuple[str, ...]:
    """Comma-separated names, each once, in their order."""
    found = tuple(word.strip() for word in raw.split(","))
    if not all(found) or len(set(found)) != len(found):
        raise ValueError("takes comma-separated names, each once")
    return found


def size(raw: str) -> int:
    """Bytes: a number above 0 with a unit."""
    form = SIZE_FORM.fullmatch(raw.strip())
    value = float(form[1]) * UNITS[form[2]] if form else 0
    if value < 1:
        raise ValueError("takes a size above 0 with its unit (B, MB, GB, MiB, GiB or TiB), as in 20GiB")
    return int(value)


def embedded(raw: str) -> str:
    """N[:WxH[:SECONDS]], kept as text; `fixtures` parses it."""
    if not EMBEDDED_FORM.fullmatch(raw):
        raise ValueError("takes N[:WIDTHxHEIGHT[:SECONDS]], as in 8:640x480:1")
    return raw
