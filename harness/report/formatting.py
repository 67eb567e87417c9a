"""Figures as text: the one module that converts units and chooses digits. A zero never has a sign."""

from harness.records.quantities import MIB

_ASCII = str.maketrans({"·": "|", "–": "-", "…": "...", "±": "+-", "×": "x"})
_CONTROL_CHARACTERS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "�")


# Numbers without a unit, with 0 to 3 decimal places; `fraction` is for shares between 0 and 1.
whole, tenths, hundredths, fraction = "{:z.0f}".format, "{:z.1f}".format, "{:z.2f}".format, "{:z.3f}".format


def milliseconds(seconds: float) -> str:
    """Return a time in milliseconds with three or more significant digits; from 10 s on in seconds, with the unit."""
    value, unit = (seconds, " s") if abs(seconds) >= 10 else (1000 * seconds, "")
    large = abs(value)
    digits = 0 if large >= 1000 else 1 if large >= 100 else 2 if large >= 10 else 3
    return f"{value:z.{digits}f}{unit}"


def duration(seconds: float) -> str:
    """Return a time as `milliseconds` does, always with its unit."""
    shown = milliseconds(seconds)
    return shown if shown.endswith("s") else f"{shown} ms"


def times(factor: float) -> str:
    """Return a speedup, as in 5.11x; below 0.1 with two significant digits."""
    return f"{factor:.2f}x" if factor >= 0.1 else f"{factor:.2g}x"


def percent(share: float) -> str:
    """Return a share in percent, without the sign."""
    return f"{100 * share:z.1f}"


def change(share: float) -> str:
    """Return a change in percent, with its direction."""
    return f"{100 * share:+z.1f}"


def mebibytes(size: float) -> str:
    """Return a size in MiB."""
    return f"{size / MIB:z.0f}"


def with_unit(size: float) -> str:
    """Return a size with its unit: MiB, or GiB from 10 GiB on."""
    return f"{size / MIB / 1024:.1f} GiB" if size >= 10 * 1024 * MIB else f"{round(size / MIB)} MiB"


def significant(number: float) -> str:
    """Return a number with three significant digits, or as a whole number from 1000 on."""
    # Without the alternative form 30.0 loses its last digit beside 28.4; with it whole numbers end in a point.
    return f"{number:z#.3g}".removesuffix(".") if abs(number) < 999.5 else f"{number:.0f}"


def encodable(text: str, encoding: str) -> str:
    """Return a text that an encoding can hold: ASCII in place of our special characters, question marks for others."""
    try:
        return text.encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)


def strip_control_characters(text: str) -> str:
    """Replace control characters by a mark: answers and error texts must not control a terminal or a page."""
    return text.translate(_CONTROL_CHARACTERS)
