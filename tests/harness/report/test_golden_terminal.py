"""The terminal, line by line, as it was looked at and found good; and what it may not do beyond."""

from __future__ import annotations

import re

import pytest

from harness.report.content import report_of
from harness.report.page import page
from tests.harness.report.golden import FOLDER, HERE, SHOWN, golden_run, terminal_text


@pytest.mark.parametrize("name", SHOWN)
def test_the_terminal_shows_what_it_showed(name: str) -> None:
    """Where a change is meant: python -m tests.harness.report.golden, and look at the difference."""
    assert terminal_text(*SHOWN[name]) == (HERE / name).read_text(encoding="utf-8")


def test_there_is_no_golden_file_that_nobody_compares() -> None:
    assert {each.name for each in HERE.iterdir()} == set(SHOWN)


@pytest.mark.parametrize("width", [80, 120])
def test_by_default_it_is_one_screen_in_which_no_heading_is_broken(width: int) -> None:
    lines = terminal_text(0, width, ascii_only=False).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert ["model", "load", "preprocess", "vision", "prefill", "decode", "total", "n"] in [
        each.split() for each in lines
    ]


def test_every_number_on_the_terminal_stands_on_the_page_to_the_same_digits() -> None:
    source = re.sub("<(style|svg).*?</(style|svg)>", "", page(report_of(golden_run(), FOLDER.name)), flags=re.DOTALL)
    on_page = set(re.findall(r"[-+]?\d[\d.]*", re.sub("<[^>]*>", " ", source)))
    shown = re.sub(r"^files:.*(\n  .*)?", "", terminal_text(0, 100, ascii_only=False), flags=re.MULTILINE)
    numbers = set(re.findall(r"[-+]?\d[\d.]*", re.sub(r"^warning \d+", "", shown, flags=re.MULTILINE)))
    assert len(numbers) > 40
    assert numbers - on_page == set()


def test_a_terminal_without_utf_8_is_spared_question_marks() -> None:
    assert "?" not in terminal_text(0, 80, ascii_only=True)


def test_models_are_called_by_their_names_in_every_headline() -> None:
    lines = terminal_text(-1, 100, ascii_only=False).splitlines()
    assert lines[0].startswith("EventGPT is ")
    assert not [line for line in lines if re.search("egpt|videollava|llava", line)]
