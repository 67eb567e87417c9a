from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import option_values as values
from harness.errors import OptionError

Parser = Callable[[str], object]


@given(st.integers(0, 10**12))
def test_whole_numbers_are_read_as_they_are_written(number: int) -> None:
    assert values.whole_number(str(number)) == number
    assert values.count(str(number + 1)) == number + 1


@given(st.floats(0, 100))
def test_numbers_are_read_back_exactly(number: float) -> None:
    assert values.temperature(repr(number)) == number


@given(st.lists(st.text("abc-_0", min_size=1), min_size=1, unique=True))
def test_names_keep_their_order_whatever_blanks_stand_around_them(names: list[str]) -> None:
    assert values.names(" , ".join(names)) == tuple(names)


@pytest.mark.parametrize(
    ("parse", "raw", "value"),
    [
        (values.text, "what is this?", "what is this?"),
        (values.path, "data/set", Path("data/set")),
        (values.path, "~/set", Path.home() / "set"),
        (values.whole_number, "0", 0),
        (values.count, "1", 1),
        (values.temperature, "0", 0.0),
        (values.temperature, "100", 100.0),
        (values.share, "1", 1.0),
        (values.share, "1e-9", 1e-9),
        (values.names, "egpt", ("egpt",)),
        (values.duration, "5ms", 0.005),
        (values.duration, "0.5s", 0.5),
        (values.duration, "20s", 20.0),
        (values.size, "1B", 1),
        (values.size, "0.5 GiB", 2**29),
        (values.size, "20MB", 20 * 10**6),
        (values.embedded, "8", "8"),
        (values.embedded, "8:640x480", "8:640x480"),
        (values.embedded, "600:1440x1080:20.5", "600:1440x1080:20.5"),
        *((values.switch, word, True) for word in ("1", "true", "YES", " on ")),
        *((values.switch, word, False) for word in ("0", "False", "no", "off")),
    ],
)
def test_right_words_have_their_value(parse: Parser, raw: str, value: object) -> None:
    assert parse(raw) == value


@pytest.mark.parametrize(
    ("parse", "raw", "takes"),
    [
        (values.text, "", "a text that is not empty"),
        (values.text, " \t", "a text that is not empty"),
        (values.path, "", "a text that is not empty"),
        (values.path, "~nobody-of-that-name/set", "a path; there is no home directory of that name"),
        *((values.switch, raw, "true or false") for raw in ("", "maybe", "2", "tru")),
        *((values.whole_number, raw, "a whole number from 0 up") for raw in ("-1", "1.0", "", "one", "0x1", "1e3")),
        *((values.small_count, raw, "a whole number of 1 to 1000") for raw in ("1001", "9999")),
        *((values.small_count, raw, "a whole number from 1 up") for raw in ("0", "-1", "many")),
        *((values.count, raw, "a whole number from 1 up") for raw in ("0", "-1", "1.5", "9" * 5000)),
        *(
            (values.duration, raw, "a time above 0 with its unit (ms or s), as in 50ms")
            for raw in ("", "5", "0ms", "0.0001ms", "-1s", "1 m", "3601s", "s", "9" * 5000 + "s")
        ),
        *((values.temperature, raw, "a number from 0 (greedy) to 100") for raw in ("-0.1", "100.1", "nan", "inf")),
        (values.temperature, "hot", "a number"),
        *((values.share, raw, "a number above 0 and up to 1") for raw in ("0", "1.0001", "-0.5", "nan")),
        (values.share, "all", "a number"),
        *((values.names, raw, "comma-separated names, each once") for raw in ("", ",", "a,", "a,,b", "a,a", "a, a ")),
        *(
            (values.size, raw, "a size above 0 with its unit (B, MB, GB, MiB, GiB or TiB), as in 20GiB")
            for raw in ("", "20", "0GiB", "0.5B", "-1GB", "1gb", "GiB", "9" * 5000 + "GB", "1e3MB")
        ),
        *(
            (values.embedded, raw, "N[:WIDTHxHEIGHT[:SECONDS]], as in 8:640x480:1")
            for raw in (
                "",
                "x",
                "-1",
                "8:",
                "8:640",
                "8:640x",
                "8:640x480:",
                "8:640x480:1.",
                "8:640x480:1:1",
                "8\n",
            )
        ),
    ],
)
def test_wrong_words_are_refused_with_what_is_taken(parse: Parser, raw: str, takes: str) -> None:
    with pytest.raises(ValueError, match=r"^takes ") as caught:
        parse(raw)
    assert str(caught.value) == f"takes {takes}"


def test_bytes_that_are_not_utf8_are_refused_by_word() -> None:
    values.require_utf8(["perf_tests", "--query=Was fährt?"])
    with pytest.raises(OptionError, match=r"'--output_dir=/tmp/\\udcff' is not in UTF-8: write it so"):
        values.require_utf8(["perf_tests", "--output_dir=/tmp/\udcff"])
