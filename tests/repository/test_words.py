"""Documents and what the program prints use the field's words: private names of the first version are gone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository import house
from tests.repository.source_code import Module, modules

# Name by name, what to write in its place.
PRIVATE = {
    r"(?<!make )(?<!made )\brooms?\b(?! for)": "package",
    r"\b(?:the|a) ruler\b": "tests of the tool",
    r"\b(?:one|front|hand in) doors?\b": "entry point",
    r"\b(?:go|goes|going|gone|went) on with\b": "resume",
    r"\bsentinels?\b": "reference work",
    r"\bfloors?\b": "roofline",
    r"\b(?:gathered|gathers?|gathering)\b": "merged",
    r"\b(?:story|stories|slipped|doubts?|unsupported)\b": "highlights, problems, warnings, caveats",
    r"\bsmallest effect\b": "minimum detectable effect",
    r"\bcertaint(?:y|ies)\b": "confidence interval",
    r"\b(?:falls into two|spreads too wide)\b": "bimodal, too noisy",
    r"\btokens a round\b|\baccepted of (?:drafted|those)\b": "mean acceptance length, acceptance rate",
    r"\bparting\b": "divergence",
    r"\bas gated\b": "load (old reader)",
    r"\b(?:ms|seconds?|bytes|tokens|images|MiB|samples|frames|rounds|processes) an? "
    r"(?:sample|round|token|second|process|request|core|clip|frame|stage|step|side|model|session)\b": "per",
}
MAX_SENTENCE = 25  # words, what stands in brackets left out
# Stored in files of before: the condition's name, and the kind of pass.
STORED = {"sentinel workloads"}


def private_names(text: str) -> list[str]:
    """The private names in a text, code in backticks and blocks left out."""
    text = re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return [
        f"{match.group()} -> {better}"
        for name, better in PRIVATE.items()
        for match in re.finditer(name, text, re.IGNORECASE)
    ]


def printed(module: Module) -> Iterator[str]:
    """The texts of a module that are no docstrings and no single words."""
    blocks = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    explaining = {
        id(node.body[0].value)
        for node in ast.walk(module.tree)
        if isinstance(node, blocks) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and id(node) not in explaining:
            text = node.value
            if isinstance(text, str) and " " in text and text not in STORED:
                yield text


def sentences(text: str) -> list[str]:
    """The sentences of a document's paragraphs and lists, without what stands in brackets."""
    text = re.sub(r"```.*?```", "\n\n", text, flags=re.DOTALL)
    text = "\n".join("" if line.startswith(("|", "#", "    ", "!")) else line for line in text.splitlines())
    text = re.sub(r"\([^()]*\)", "", re.sub(r"\]\([^)]*\)", "", text))
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:-|\d+\.) )", text)
    return [each for paragraph in paragraphs for each in re.split(r"(?<=[.:;!?])\s+", " ".join(paragraph.split()))]


@pytest.mark.parametrize("document", house.documents(), ids=lambda path: path.name)
def test_a_sentence_is_short(document: Path) -> None:
    found = sentences(document.read_text(encoding="utf-8"))
    assert not [each for each in found if sum(any(map(str.isalnum, word)) for word in each.split()) > MAX_SENTENCE]


def test_a_sentence_ends_where_a_reader_may_rest() -> None:
    text = "One; two [three](four.md) (not this).\n\n- A list: of things\n- and more\n\n| a table |\n\n```sh\ncode\n```"
    assert sentences(text) == ["One;", "two [three .", "- A list:", "of things", "- and more", ""]


@pytest.mark.parametrize("document", house.documents(), ids=lambda path: path.name)
def test_documents_have_no_private_names(document: Path) -> None:
    assert not private_names(document.read_text(encoding="utf-8"))


def test_what_the_program_prints_has_no_private_names() -> None:
    product = [module for module in modules().values() if module.room in house.PRODUCT]
    found = {
        module.name: names for module in product if (names := [n for t in printed(module) for n in private_names(t)])
    }
    assert not found


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("the doubts of a run", 1),
        ("12 ms a sample, 4 tokens a round", 3),
        ("make room, `sentinel`, ```sentinel```", 0),
        ("goes on with it", 1),
    ],
)
def test_private_names_are_found_in_words_and_not_in_code(text: str, count: int) -> None:
    assert len(private_names(text)) == count
