"""Which run is gone on with, what counts as other work, and the command that goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.errors import ResultFileError, ResumeError
from harness.options import figure_changing_names
from harness.records.fingerprint import resume_conditions
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import EndRecord, Header, JournalLine, ModelRecord, RunRecord
from harness.session.resume import new_attempt, refuse_other_model, refuse_other_work, resuming_command, unfinished_run
from tests.harness.made_files import write_journal
from tests.harness.made_runs import ENVIRONMENT, STARTED_AT, header

FOLDER = Path("results/one")
GIT = {"commit": "abc", "dirty": True, "changes": "sha256 1"}


def begun(**changes: Any) -> Header:
    fields: dict[str, Any] = {"environment": ENVIRONMENT | {"git": GIT}, "dataset_identity": "sha256 a"}
    return msgspec.structs.replace(header(("s1", "s2"), **fields), **changes)


def complaint(now: Header) -> str:
    with pytest.raises(ResumeError) as caught:
        refuse_other_work(begun(), now, FOLDER)
    return str(caught.value)


def with_libraries(**changes: str) -> dict[str, Any]:
    return ENVIRONMENT | {"git": GIT, "libraries": ENVIRONMENT["libraries"] | changes}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"environment": ENVIRONMENT | {"git": GIT | {"commit": "def"}}}, "git commit was abc, is def"),
        ({"environment": ENVIRONMENT | {"git": GIT | {"changes": ""}}}, "git changes was sha256 1, is "),
        ({"environment": with_libraries(torch="2.14.0")}, "torch was 2.13.0, is 2.14.0"),
        ({"environment": with_libraries(tokenizers="1.0")}, "tokenizers is 1.0, was not known"),
        ({"dataset_identity": "sha256 b"}, "dataset was sha256 a, is sha256 b"),
        ({"models": ("egpt",)}, "models in order was"),
        ({"model_set": "full"}, "model set was tiny, is full"),
        ({"engines": ("graph",)}, "engines was ['eager'], is ['graph']"),
        ({"device": "cuda"}, "device was cpu, is cuda"),
        ({"limits": {"eager.acceptance.videollava": 0.5}}, "limit eager.acceptance.videollava is 0.5, was not known"),
        ({"samples": header(("s2", "s1")).samples}, "samples was 2, "),
    ],
)
def test_what_makes_it_other_work_is_named(changes: dict[str, Any], named: str) -> None:
    sentence = complaint(begun(**changes))
    assert named in sentence
    assert sentence.startswith("results/one: cannot be resumed")


@pytest.mark.parametrize("name", sorted({"dtype", "attn", "query", "max_new_tokens"} & set(figure_changing_names())))
def test_an_option_that_changes_figures_makes_it_other_work(name: str) -> None:
    assert f"option {name} was not there, is another" in complaint(begun(options={"gamma": 5, name: "another"}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"device": "cpu"},
        {"environment": ENVIRONMENT | {"git": GIT, "cpu": "another processor", "usable_cores": 64}},
        {"environment": ENVIRONMENT | {"git": GIT, "world_size": 4, "ranks_per_node": 4}},
        {"environment": ENVIRONMENT | {"git": GIT | {"dirty": False}, "pid": 7, "host": "another"}},
    ],
)
def test_another_machine_or_number_of_ranks_is_no_other_work(changes: dict[str, Any]) -> None:
    now = begun(**changes)
    refuse_other_work(begun(), now, FOLDER)
    assert resume_conditions(now) == resume_conditions(begun())


def test_an_attempt_names_its_machine_where_it_is_another_one() -> None:
    assert new_attempt(begun(), begun()).machine == ""
    elsewhere = begun(environment=ENVIRONMENT | {"git": GIT, "cpu": "another processor"})
    assert new_attempt(begun(), elsewhere).machine.startswith("another processor, 2 cores (")


def test_a_model_must_be_the_one_that_the_run_began_with() -> None:
    before = RunRecord(begun(), models=(ModelRecord("egpt", 1.0, 1, {"weights": "sha256 1", "dtype": "float32"}),))
    refuse_other_model(before, ModelRecord("egpt", 9.0, 2, {"weights": "sha256 1", "dtype": "float32"}), FOLDER)
    refuse_other_model(before, ModelRecord("llava", 9.0, 2, {"weights": "sha256 2"}), FOLDER)
    with pytest.raises(ResumeError, match="model egpt: weights was sha256 1, is sha256 2"):
        refuse_other_model(before, ModelRecord("egpt", 1.0, 1, {"weights": "sha256 2", "dtype": "float32"}), FOLDER)


def journal_in(folder: Path, *lines: JournalLine) -> Path:
    return write_journal(folder / JOURNAL_NAME, begun(), *lines).parent


@pytest.mark.parametrize("status", [None, 2, 3])
def test_a_run_that_was_killed_or_interrupted_is_gone_on_with(status: int | None, tmp_path: Path) -> None:
    lines = [] if status is None else [EndRecord(STARTED_AT, status, "interrupted")]
    folder = journal_in(tmp_path / "results" / "one", *lines)
    (tmp_path / "results" / "latest").symlink_to("one")
    assert unfinished_run(tmp_path, folder) == unfinished_run(tmp_path, Path("latest")) == folder.resolve()


@pytest.mark.parametrize("status", [0, 1, 10])
def test_a_run_that_has_come_to_its_end_is_not(status: int, tmp_path: Path) -> None:
    folder = journal_in(tmp_path / "one", EndRecord(STARTED_AT, status, "it ended"))
    with pytest.raises(ResumeError, match=f"has come to its end .*exit status {status}.*leave --resume out"):
        unfinished_run(tmp_path, folder)


def test_a_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultFileError, match=r"journal\.jsonl: cannot be read"):
        unfinished_run(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["perf_tests"], "perf_tests"),
        (["perf_tests", "--output-dir=there", "-k", "whole"], "perf_tests -k whole"),
        (["--output_dir", "there", "perf_tests"], "perf_tests"),
        (["perf_tests", "--resume"], "perf_tests"),
        (["perf_tests", "--resume", "there", "--query", "What moves?"], "perf_tests --query 'What moves?'"),
        (["--resume", "--max_samples=2", "perf_tests"], "--max_samples=2 perf_tests"),
    ],
)
def test_the_command_that_goes_on_has_all_but_the_folder(words: list[str], command: str) -> None:
    assert resuming_command(words, Path("/a/run")) == f"python -m pytest {command} --resume=/a/run"
