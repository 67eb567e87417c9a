from __future__ import annotations

import ast

import pytest

from tests import ROOT
from tests.repository import house
from tests.repository.house import House

MAX_PRODUCT_LINES = 27_000
MAX_MODULES, MAX_P90_LINES = 16, 25
MAX_DOCUMENT_WORDS, MAX_NOTE_WORDS, MAX_README_LINES = 14_000, 8_000, 110


@pytest.fixture(scope="module")
def found() -> House:
    return house.house()


def test_no_package_is_too_large_to_be_known(found: House) -> None:
    assert not {name: count for name, count in found.modules_by_package.items() if count > MAX_MODULES}


def test_the_product_stays_small(found: House) -> None:
    assert found.product_lines <= MAX_PRODUCT_LINES


def test_the_documents_are_read_in_an_hour(found: House) -> None:
    assert found.document_words <= MAX_DOCUMENT_WORDS
    assert found.note_words <= MAX_NOTE_WORDS
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_functions_are_short_annotated_and_documented(found: House) -> None:
    assert found.p90_lines <= MAX_P90_LINES
    assert found.annotated == 100
    assert found.documented == 100


def test_a_function_without_a_return_type_is_found() -> None:
    bare, full = ast.parse("def f(a): ...\ndef g(a: int) -> None: ...").body
    assert not house._is_annotated(bare)  # type: ignore[arg-type]
    assert house._is_annotated(full)  # type: ignore[arg-type]


def test_the_command_prints_every_figure(found: House) -> None:
    assert len(dict(found.rows())) == 11
