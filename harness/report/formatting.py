"""The forms of figures: the one place where a unit is converted and digits are chosen. No form of a zero has a sign."""

from harness.records.quantities import MIB

_ASCII = str.maketrans({"·": "|", "–": "-", "…": "...", "±": "+-", "×": "x"})
_CONTROL_CHARACTERS = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "�")


# Numbers without a unit, by their digits behind the point: whole ones, and shares between 0 and 1 with three.
whole, tenths, hundredths, fraction = (f"{{:z.{digits}f}}".format for digits in range(4))


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
    """Return how many times faster something is, as in 5.11x; smaller factors keep their digits."""
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
    """Return a size in MiB, or in GiB from 10 of them on, with the unit."""
    return f"{size / MIB / 1024:.1f} GiB" if size >= 10 * 1024 * MIB else f"{round(size / MIB)} MiB"


def significant(number: float) -> str:
    """Return a number with three digits that mean something."""
    return f"{number:z.3g}" if abs(number) < 1000 else f"{number:.0f}"


def encodable(text: str, encoding: str) -> str:
    """Return a text with other signs for those of ours that an encoding lacks, and question marks for the rest."""
    try:
        return text.encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)


def strip_control_characters(text: str) -> str:
    """Put a mark in the place of control characters: answers and error texts must not steer whoever shows them."""
    return text.translate(_CONTROL_CHARACTERS)
