"""The table of cheats in docs/security.md: each is tried here or in test_audits.py, or stands there as out of reach."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import torch

from harness.__main__ import main
from harness.errors import BaselineError, ResumeError
from harness.gates.baselines import SessionRecord, StoredSession, find_baseline, load_run
from harness.measuring import clock
from harness.records.fingerprint import fingerprint
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import EndRecord, ReferenceWorkRecord, RunRecord
from harness.session.resume import refuse_other_work
from tests import ROOT
from tests.harness.gates.test_gate import baseline, session, verdict
from tests.harness.made_files import write_journal
from tests.harness.made_runs import STARTED_AT, header, loaded, stage_test, whole_pass
from tests.harness.stub_suite import StubSuite, failed_tests
from tests.perf_tests import test_audits as audited

BY_AUDIT = {
    "answers cached": audited.AnswersCached,
    "features cached": audited.FeaturesCached,
    "files kept": audited.PicturesCached,
    "answers cut": audited.Truncated,
    "words for end tokens": audited.EndedEarly,
    "warm state kept": audited.LateAnswersChange,
    "other answers under the clock": audited.test_an_answer_of_the_whole_pass_that_is_another_one_fails,
    "work in a surviving thread": audited.InAThread,
    "lazy results": audited.Lazy,
    "picture dropped": audited.PictureDropped,
    "features ignored": audited.PicturesIgnored,
    "smaller pictures": audited.PicturesShrunk,
    "fewer pixels": audited.TowerShrunk,
}
TRIED: set[str] = set(BY_AUDIT)
Test = TypeVar("Test", bound=Callable[..., object])


def tries(*cheats: str) -> Callable[[Test], Test]:
    """Say which cheats of the table a test tries."""
    TRIED.update(cheats)
    return lambda test: test


@pytest.fixture
def clock_as_before() -> Iterator[None]:
    yield
    clock.use_device("cpu")


@tries("work on another stream")
@pytest.mark.usefixtures("clock_as_before")
def test_the_clock_waits_for_all_streams_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_for: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    clock.use_device("cuda:1")
    clock.now()
    assert waited_for == ["cuda:1"]


@tries("work on another stream")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.usefixtures("clock_as_before")
def test_work_on_another_stream_is_done_when_the_clock_stops() -> None:
    clock.use_device("cuda")
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(100_000_000)
        done = torch.cuda.Event()
        done.record()
    assert not done.query()
    clock.now()
    assert done.query()


@tries("timer patched")
def test_a_patched_timer_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    assert clock.now() < clock.now()


@pytest.fixture
def suite(tmp_path: Path) -> StubSuite:
    return StubSuite(tmp_path)


@tries("timer chosen")
def test_another_timer_is_refused(suite: Any) -> None:
    result = suite.run("--benchmark-timer=time.process_time")
    assert result.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--benchmark-timer: times are taken by harness.measuring.clock.now alone" in result.stderr
    assert not (suite.folder / "out").exists()


def test_without_a_configuration_times_are_taken_by_the_clock_all_the_same(suite: Any) -> None:
    ini = suite.folder / "pytest.ini"
    ini.write_text("\n".join(line for line in ini.read_text().splitlines() if "addopts" not in line))
    assert suite.run("-k", "load").returncode == 0
    timers = {each["options"]["timer"] for each in suite.json("benchmark.json")["benchmarks"]}
    assert timers == {"now"}


@tries("slow rounds that raise")
def test_a_round_that_raises_fails_its_test(suite: Any) -> None:
    result = suite.run("-k", "load and egpt", STUB_FAIL="load:s1:3")
    assert result.returncode == 1
    assert failed_tests(result) == {"test_load[egpt]"}


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run that may be part of a baseline, and its pytest-benchmark file."""
    ends = (ReferenceWorkRecord("start", (1.0,), (1.0,)), ReferenceWorkRecord("end", (1.0,), (1.0,)))
    measured = (stage_test("egpt", "load", {"s1": [1.5, 2.5]}), whole_pass("egpt"), whole_pass("egpt", "s2"))
    end = EndRecord(STARTED_AT, 0, "it ended")
    write_journal(tmp_path / JOURNAL_NAME, header(), loaded("egpt"), *measured, *ends, end)
    (tmp_path / "benchmark.json").write_text("{}")
    load_run(tmp_path)
    return tmp_path


@tries("statistics edited")
def test_edited_statistics_are_derived_again(run_folder: Path) -> None:
    assert main(["merge", str(run_folder)]) == 0
    file = run_folder / "run.json"
    derived = file.read_text()
    file.write_text(derived.replace("1.5", "0.5"))
    assert main(["merge", str(run_folder)]) == 0
    assert file.read_text() == derived


@tries("lines removed", "lines edited", "lines moved")
@pytest.mark.parametrize(
    "tamper",
    [
        lambda lines: [*lines[:3], *lines[4:]],
        lambda lines: [*lines[:2], lines[2].replace(b"1.5", b"0.5"), *lines[3:]],
        lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]],
    ],
    ids=("removed", "edited", "moved"),
)
def test_a_journal_that_was_changed_warns_and_is_no_baseline(
    tamper: Callable[[list[bytes]], list[bytes]], run_folder: Path
) -> None:
    journal = run_folder / JOURNAL_NAME
    journal.write_bytes(b"\n".join(tamper(journal.read_bytes().split(b"\n"))))
    (note,) = read_journal(journal).notes
    with pytest.raises(BaselineError, match=re.escape(note.rstrip("."))):
        load_run(run_folder)
    assert main(["report", str(run_folder)]) == 0
    assert note.rstrip(".") in (run_folder / "report.md").read_text()


@tries("baseline of a slower clock", "faster GPU clock")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_faster_clock_than_the_baseline_s_is_no_improvement(device: str) -> None:
    here = header(device=device)
    slow = [session(header=here)] * 10
    fast = tuple(ReferenceWorkRecord(moment, (0.9,), (0.9,)) for moment in ("start", "end"))
    assert verdict(session(0.9, header=here), baseline(*slow)).state == "improved"
    assert verdict(session(0.9, header=here, reference_work=fast), baseline(*slow)).state == "invalid"


@tries("other weights", "another dataset")
def test_other_work_has_no_baseline() -> None:
    measured = RunRecord(header(dataset_identity="ours"), models=(loaded("egpt"),))
    other_facts = msgspec.structs.replace(loaded("egpt"), facts=loaded("egpt").facts | {"weights": "others"})
    stored = [StoredSession(Path("0001.json"), SessionRecord(fingerprint(measured), measured, ()))] * 5
    assert find_baseline(stored, measured) is not None
    assert find_baseline(stored, msgspec.structs.replace(measured, models=(other_facts,))) is None
    assert find_baseline(stored, msgspec.structs.replace(measured, header=header(dataset_identity="easy"))) is None


@tries("limits loosened")
def test_loosened_limits_stand_in_the_run_and_no_run_is_resumed_by_them() -> None:
    strict, loose = (header(limits={"time.load.egpt": limit}) for limit in (1.0, 9.0))
    with pytest.raises(ResumeError, match=r"limit time\.load\.egpt was 1\.0, is 9\.0"):
        refuse_other_work(strict, loose, Path("run"))


def test_the_table_has_what_is_tried_and_the_rest_is_out_of_reach() -> None:
    section = (ROOT / "docs" / "security.md").read_text().partition("## Cheats")[2]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", section, re.MULTILINE)[1:]
    found = {cheat: shows for cheats, shows in rows for cheat in cheats.split("; ")}
    beyond = {cheat for cheat, shows in found.items() if shows.startswith("out of reach: ")}
    assert set(found) - beyond == TRIED
    assert not beyond & TRIED
    assert len(TRIED) >= 16
    assert {each for each in BY_AUDIT.values() if isinstance(each, type)} <= set(audited.CHEATS)
