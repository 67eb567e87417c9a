"""`python -m harness ab` in a small git repository, with sessions made by hand: what it plans, says and ends with."""

from __future__ import annotations

import json
import math
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.__main__ import main
from harness.ab import command
from harness.ab.plan import Side
from harness.records.journal import JOURNAL_NAME, Journal
from harness.records.lines import EndRecord, OutcomeRecord, StageRecord
from tests.harness.made_runs import ENVIRONMENT, STARTED_AT, header, stage_test, whole_pass
from tests.harness.suite_in_git import new_repository

STAGES = ("load", "prefill")


@dataclass
class Sessions:
    """Stands for the fresh processes: writes the journal that a side's session would have written."""

    seconds: dict[str, float] = field(default_factory=lambda: {"a": 1.0, "b": 1.0})
    noise: float = 0.0001
    stages: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"a": STAGES, "b": STAGES})
    status: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)  # tests, by folder
    changes: Callable[[str], dict[str, Any]] = lambda _folder: {}
    engine: dict[str, str] = field(default_factory=lambda: {"a": "eager", "b": "eager"})
    passes: dict[str, tuple[float, float]] | None = None
    fails_in: str = ""
    measured: list[str] = field(default_factory=list)
    source: random.Random = field(default_factory=lambda: random.Random(1))

    def measure(self, side: Side, arguments: tuple[str, ...], tree: Path, folder: Path) -> int:
        assert (tree / "perf_tests").is_dir()
        self.measured.append(folder.name)
        if folder.name == self.fails_in:
            folder.mkdir()
            raise KeyboardInterrupt
        name = folder.name[-1]
        if self.stages[name]:
            folder.mkdir()
            self._write(name, side, folder)
        return self.status[name] or int(folder.name in self.failed)

    def _write(self, name: str, side: Side, folder: Path) -> None:
        environment = {
            **ENVIRONMENT,
            "git": {"commit": side.commit, "dirty": False},
            "load_average": len(self.measured),
        }
        fields = {"environment": environment, "engines": (self.engine[name],)} | self.changes(folder.name)
        journal = Journal(folder / JOURNAL_NAME)
        journal.append(header(**fields))
        for stage in self.stages[name]:
            journal.append(self._stage(name, stage))
        for model, seconds in zip(("egpt", "videollava"), self.passes[name] if self.passes else (), strict=False):
            journal.append(whole_pass(model, seconds=tuple(self._noisy(seconds) for _ in range(5))))
        for test in self.failed.get(folder.name, ()):
            journal.append(OutcomeRecord(test, "failed", "too slow"))
        journal.append(EndRecord(STARTED_AT, self.status[name], "it said so"))
        journal.close()

    def _stage(self, name: str, stage: str) -> StageRecord:
        seconds = self._noisy(self.seconds[name])
        record = stage_test("egpt", stage, {"s1": [seconds]})
        return (
            record if record.engine is None else stage_test("egpt", stage, {"s1": [seconds]}, engine=self.engine[name])
        )

    def _noisy(self, seconds: float) -> float:
        return seconds * math.exp(self.source.gauss(0, self.noise))


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Sessions:
    made = Sessions()
    monkeypatch.setattr(command, "measure", made.measure)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a suite of nothing, and we are in it."""
    repository = new_repository(tmp_path / "project", {"perf_tests/test_load.py": "", ".gitignore": "results/\n"})
    monkeypatch.chdir(repository)
    return repository


QUICKLY = ("--pairs", "2")


def written(folder: Path) -> dict[str, Any]:
    (file,) = (folder / "results").glob("ab_*/ab.json")
    return json.loads(file.read_text())


def verdicts(folder: Path) -> dict[str, str]:
    return {figure["name"]: figure["verdict"] for figure in written(folder)["figures"]}


def test_equal_sides_are_the_same_after_the_first_look(folder: Path, sessions: Sessions) -> None:
    assert main(["ab", "HEAD"]) == 0
    assert sessions.measured == ["01_a", "02_b", "03_b", "04_a", "05_a", "06_b", "07_b", "08_a"]
    assert verdicts(folder) == {"time.load.egpt": "same", "time.prefill.egpt.eager": "same"}


def test_a_slowdown_is_exit_status_1_and_named(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.seconds["b"] = 1.2
    assert main(["ab", "HEAD"]) == 1
    assert set(verdicts(folder).values()) == {"regressed"}
    end = capsys.readouterr().out
    assert "exit status 1: B is worse beyond the minimum effect in time.load.egpt, time.prefill.egpt.eager" in end
    assert "+20" in end


def test_what_gets_faster_is_no_failure(folder: Path, sessions: Sessions) -> None:
    sessions.seconds["b"] = 0.8
    assert main(["ab", "HEAD", *QUICKLY]) == 0
    assert set(verdicts(folder).values()) == {"improved"}


def test_noise_that_hides_an_answer_is_exit_status_11_at_the_bound(folder: Path, sessions: Sessions) -> None:
    sessions.noise = 0.3
    assert main(["ab", "HEAD", "--pairs", "6"]) == 11
    assert set(verdicts(folder).values()) == {"undecided"}
    assert len(sessions.measured) == 12


@pytest.mark.parametrize("silent", ["a", "b"])
def test_a_side_that_measures_nothing_ends_the_comparison_after_one_pair_with_10(
    folder: Path, sessions: Sessions, silent: str
) -> None:
    sessions.stages[silent] = ()
    assert main(["ab", "HEAD"]) == 10
    assert len(sessions.measured) == 2


def test_what_only_one_side_has_is_listed_and_not_compared(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.stages = {"a": ("load", "vision"), "b": ("load", "prefill")}
    assert main(["ab", "HEAD", *QUICKLY]) == 0
    assert set(verdicts(folder)) == {"time.load.egpt"}
    end = capsys.readouterr().out
    assert "note: only A measured: time.vision.egpt" in end
    assert "note: only B measured: time.prefill.egpt.eager" in end


def test_options_and_conditions_that_differ_between_the_sides_are_listed(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"a": {"rounds": 5}, "b": {"rounds": 20, "video_reader": "fast"}}
    sessions.changes = lambda name: {"options": {"gamma": 5} | options[name[-1]]}
    assert main(["ab", "HEAD", *QUICKLY]) == 0
    end = capsys.readouterr().out
    assert "note: from A to B, option rounds was 5, is 20" in end
    assert "note: from A to B, option video_reader was not there, is fast" in end


def test_tests_that_fail_in_b_alone_are_exit_status_1(folder: Path, sessions: Sessions) -> None:
    sessions.status["b"] = 1
    assert main(["ab", "HEAD", *QUICKLY]) == 1
    assert "tests fail in B and not in A: see 02_b.txt" in written(folder)["outcome"]["reason"]


def test_another_test_that_failed_once_in_a_hides_none_that_fails_in_b(folder: Path, sessions: Sessions) -> None:
    sessions.failed = {"01_a": ("test_load[egpt]",), "02_b": ("test_load[egpt]",), "03_b": ("test_load[llava]",)}
    assert main(["ab", "HEAD", *QUICKLY]) == 1
    found = written(folder)
    assert found["outcome"]["reason"] == "tests fail in B and not in A: test_load[llava], see 03_b.txt"
    assert [each["failed"] for each in found["sessions"]] == [
        ["test_load[egpt]"],
        ["test_load[egpt]"],
        ["test_load[llava]"],
        [],
    ]


def test_a_test_that_fails_on_both_sides_once_is_no_outcome(folder: Path, sessions: Sessions) -> None:
    sessions.failed = {"02_b": ("test_load[egpt]",), "04_a": ("test_load[egpt]",)}
    assert main(["ab", "HEAD", *QUICKLY]) == 0


def test_tests_that_fail_on_both_sides_are_noted_and_the_figures_judged(folder: Path, sessions: Sessions) -> None:
    sessions.status = {"a": 1, "b": 1}
    assert main(["ab", "HEAD", *QUICKLY]) == 0
    assert "2 of 2 sessions of A ended with exit status 1: it said so" in written(folder)["notes"]


def test_two_engines_are_compared_under_one_name(folder: Path, sessions: Sessions) -> None:
    sessions.engine["b"] = "graph"
    assert main(["ab", *QUICKLY, "--b-args=--engine graph"]) == 0
    assert set(verdicts(folder)) == {"time.load.egpt", "time.prefill.egpt"}


@pytest.mark.parametrize(
    ("draft", "target", "expected"),
    [
        (1.0, 1.0, "same"),
        (1.0, 0.8, "improved"),     # a smaller speedup, because the target got faster
        (1.2, 0.8, "regressed"),    # the draft got slower, too
        (1.2, 1.0, "regressed"),
        (0.8, 0.5, "improved"),
        (0.8, 1.0, "improved"),
    ],
)  # fmt: skip
def test_a_target_that_gets_faster_is_no_loss_of_speedup(
    folder: Path, sessions: Sessions, draft: float, target: float, expected: str
) -> None:
    sessions.passes = {"a": (1.0, 1.0), "b": (draft, target)}
    main(["ab", "HEAD", *QUICKLY])
    said = verdicts(folder)
    assert said["speedup.total.videollava.eager"] == expected
    told = [note for note in written(folder)["notes"] if note.startswith("speedup.total")]
    assert bool(told) == (target < 1 and expected == "improved")


@pytest.mark.parametrize(
    ("words", "a", "b"),
    [
        (["HEAD"], "HEAD (", "the working tree (clean: "),
        (["HEAD", "first"], "HEAD (", "first ("),
        (["first", "--b-args=--gamma 6"], "first (", "first ("),
        (["--a-args=--gamma 6"], "the working tree (clean: ", "the working tree (clean: "),
    ],
)
def test_the_sides_are_those_that_were_named(
    folder: Path, sessions: Sessions, words: list[str], a: str, b: str
) -> None:
    new_repository(folder, {"new.py": ""}, tag="first")
    assert main(["ab", *QUICKLY, *words]) == 0
    plan = written(folder)["plan"]
    assert plan["a"]["words"].startswith(a)
    assert plan["b"]["words"].startswith(b)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], ["perf_tests"]),
        (["--", "-k", "load"], ["perf_tests", "-k", "load"]),
        (["--", "perf_tests", "-k", "load"], ["perf_tests", "-k", "load"]),
        (["--", "-x", "perf_tests/test_load.py::test_load"], ["-x", "perf_tests/test_load.py::test_load"]),
        (["--", "--dataset_dir", "results"], ["perf_tests", "--dataset_dir", "results"]),
    ],
)
def test_pytest_gets_the_suite_unless_tests_are_named(
    folder: Path, sessions: Sessions, typed: list[str], expected: list[str]
) -> None:
    assert main(["ab", "HEAD", *QUICKLY, *typed]) == 0
    assert written(folder)["plan"]["arguments"] == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to compare: name a revision"),
        (["a", "b", "c"], "two revisions are compared, not 3"),
        (["nosuch"], "'nosuch' is no revision of"),
        (["--exec=touch x"], "'--exec=touch x' is no revision of"),
        (["HEAD", "--pairs", "1"], "--pairs takes a whole number from 2 up, not 1"),
        (["HEAD", "--", "--output_dir=x"], "--output_dir=x cannot be given: each session"),
        (["HEAD", "--a-args=--benchmark-json x"], "--benchmark-json cannot be given: each session"),
        (["HEAD", "--b-args=--query 'what"], "cannot be split into arguments"),
        (["--resume", "results/gone"], "ab.json: cannot be read"),
        (["--resume", "results/gone", "HEAD"], "leave all other arguments out"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["ab", *words]) == 2
    assert message in capsys.readouterr().err
    assert sessions.measured == []
    assert not (folder / "results").exists()


def test_outside_a_checkout_it_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["ab", "HEAD"]) == 2
    assert "revisions are compared in a git checkout of the suite" in capsys.readouterr().err


def test_without_git_it_says_what_it_needs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    assert main(["ab", "HEAD"]) == 2
    assert "git cannot be run" in capsys.readouterr().err


def test_an_interrupted_comparison_goes_on_after_its_last_whole_pair(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.fails_in = "04_a"
    with pytest.raises(SystemExit) as ended:
        main(["ab", "HEAD"])
    assert ended.value.code == 130
    (results,) = (folder / "results").iterdir()
    assert f"ab --resume {results} resumes it" in capsys.readouterr().err
    assert len(written(folder)["sessions"]) == 3
    assert written(folder)["outcome"] is None
    assert not list(results.glob("tree_*"))

    sessions.fails_in, sessions.measured = "", []
    assert main(["ab", "--resume", str(results)]) == 0
    assert sessions.measured == ["03_b", "04_a", "05_a", "06_b", "07_b", "08_a"]
    assert {path.name.partition("_")[2] for path in (results / "interrupted").iterdir()} == {"03_b", "04_a"}


@pytest.mark.parametrize("ignored", [False, True])
def test_a_lost_terminal_ends_a_comparison_but_not_under_nohup(
    folder: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, ignored: bool
) -> None:
    def hang_up(*_arguments: object) -> int:
        os.kill(os.getpid(), signal.SIGHUP)
        return 0

    monkeypatch.setattr(command, "measure", hang_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        ended = main(["ab", "HEAD", *QUICKLY])
    except SystemExit as end:
        ended = end.code
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended == (10 if ignored else 128 + signal.SIGHUP)
    assert not list(folder.glob("results/*/tree_*"))


def test_a_comparison_that_is_over_is_only_shown_again(folder: Path, sessions: Sessions) -> None:
    main(["ab", "HEAD", *QUICKLY])
    before, sessions.measured = written(folder), []
    (results,) = (folder / "results").iterdir()
    assert main(["ab", "--resume", str(results)]) == 0
    assert (sessions.measured, written(folder)) == ([], before)


def test_a_comparison_is_not_gone_on_with_on_another_machine(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.fails_in = "03_b"
    with pytest.raises(SystemExit):
        main(["ab", "HEAD"])
    sessions.fails_in = ""
    sessions.changes = lambda _name: {"environment": ENVIRONMENT | {"cpu": "another processor"}}
    (results,) = (folder / "results").iterdir()
    assert main(["ab", "--resume", str(results)]) == 2
    error = capsys.readouterr().err
    assert "session 03_b ran under other conditions than 02_b: CPU was a processor, is another processor" in error


def test_a_session_of_other_code_than_was_asked_for_is_refused(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.changes = lambda _name: {"environment": {**ENVIRONMENT, "git": {"commit": "abc"}}}
    assert main(["ab", "HEAD"]) == 2
    assert "session 01_a measured commit abc, not " in capsys.readouterr().err


def test_a_damaged_file_of_a_comparison_is_named(
    folder: Path, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    place = folder / "results" / "ab_1"
    place.mkdir(parents=True)
    (place / "ab.json").write_text("{")
    assert main(["ab", "--resume", str(place)]) == 2
    assert "ab.json: " in capsys.readouterr().err
