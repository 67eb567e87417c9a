from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.commands.child_session import PytestArguments
from harness.errors import OptionError, RunFolderError
from tests import ROOT


def test_words_that_are_not_ours_are_handed_on_as_they_are() -> None:
    words = ["perf_tests", "-k", "load and not egpt", "--max_samples=2", "-p", "no:terminal"]
    arguments = PytestArguments.parse(words)
    command = arguments.command(Path("/out"), "--gate")
    assert command[:3] == [sys.executable, "-m", "pytest"]
    assert command[3 : 3 + len(words)] == words
    assert command[3 + len(words) :] == [
        "--output-dir=/out", f"--baselines={Path.cwd() / 'baselines'}", "--rounds=20", "--measurement_time=1",
        "--gate",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ([], "perf_tests"),
        (["-k", "load"], "perf_tests"),
        (["perf_tests/test_events.py::test_draw_events"], "perf_tests/test_events.py::test_draw_events"),
        (["tests/harness/commands"], "tests/harness/commands"),
    ],
)
def test_the_suite_is_measured_where_no_tests_are_named(
    words: list[str], first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert PytestArguments.parse(words).words[0] == first


@pytest.mark.parametrize("words", [["--output-dir=mine"], ["--output_dir", "mine"]])
def test_the_folder_that_was_named_is_used(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = PytestArguments.parse([*words, "--baselines=mine/baselines"])
    assert arguments.new_folder() == tmp_path / "mine"
    assert arguments.baselines == tmp_path / "mine" / "baselines"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "journal.jsonl").touch()
    with pytest.raises(RunFolderError, match="is not empty"):
        arguments.new_folder()


def test_a_place_that_takes_no_folder_is_told_before_a_session_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").touch()
    with pytest.raises(RunFolderError, match="results is not a writable folder"):
        PytestArguments.parse([]).new_folder()


@pytest.mark.parametrize(
    "words", [["--rounds=3"], ["--rounds", "3"], ["--measurement_time=2"], ["--measurement-time", "2"]]
)
def test_rounds_that_were_given_stay(words: list[str]) -> None:
    command = PytestArguments.parse(words).command(Path("/out"))
    assert not {"--rounds=20", "--measurement_time=1"} & set(command)


def test_a_second_session_leaves_the_files_of_the_first_alone() -> None:
    words = ["perf_tests", "--benchmark-json", "mine.json", "--output_json=mine", "--benchmark-autosave", "-k", "load"]
    assert PytestArguments.parse(words).without_other_outputs().words == ("perf_tests", "-k", "load")


@pytest.mark.parametrize("word", ["--resume", "--resume=results/latest"])
def test_a_session_of_a_gate_resumes_no_run(word: str) -> None:
    with pytest.raises(OptionError, match="--resume cannot be given"):
        PytestArguments.parse(["perf_tests", word])
