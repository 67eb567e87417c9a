"""A JSON file is read as a record, or one error names it, what it should hold and the way out."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.errors import BaselineError, ResultFileError
from harness.records.folder import read_json


def test_content_is_checked_to_be_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2]}')
    assert read_json(tmp_path / "a.json", dict[str, list[int]], "lists") == {"a": [1, 2]}
    assert read_json(tmp_path / "a.json", object, "JSON") == {"a": [1, 2]}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}', b'["\xff"]', b'["\\ud800"]'])
def test_any_damage_is_one_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(BaselineError) as caught:
        read_json(tmp_path / "a.json", list[str], "a list of names", advice="write one", error=BaselineError)
    assert str(caught.value).startswith(f"{tmp_path / 'a.json'}: is not a list of names: ")
    assert str(caught.value).endswith("; write one")


def test_json_without_end_is_an_error_too(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ResultFileError, match="is not JSON: maximum recursion depth"):
        read_json(tmp_path / "a.json", object, "JSON")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"cannot be read \(Is a directory\)$"):
        read_json(tmp_path, object, "JSON")


def test_content_of_another_format_version_is_refused(tmp_path: Path) -> None:
    class Plan(msgspec.Struct):
        format_version: int

    (tmp_path / "a.json").write_text('{"format_version": 2}')
    assert read_json(tmp_path / "a.json", Plan, "a plan", version=2) == Plan(2)
    with pytest.raises(ResultFileError, match=r"a\.json: has format version 2, this reader knows 1; name another"):
        read_json(tmp_path / "a.json", Plan, "a plan", advice="name another", version=1)
