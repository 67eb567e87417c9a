"""`python -m harness history`: from files to a page; what is wrong with one is a sentence, and the rest is drawn."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness.__main__ import main
from harness.errors import RevisionError
from harness.history.sessions import read_history
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import RunRecord
from harness.records.work import WatchedWork
from harness.report import charts
from tests.harness.history.made_histories import COMMIT, factors, session
from tests.harness.legacy.five_stage_files import five_stages
from tests.harness.made_files import write_baseline, write_run
from tests.harness.made_runs import ENVIRONMENT, loaded

SESSIONS = 45


@pytest.fixture(scope="module")
def runs() -> list[RunRecord]:
    """Sessions of which decoding is slower from the 36th on."""
    draw = np.random.default_rng(1)
    drawn = [factors(draw) for _ in range(SESSIONS)]
    return [session(n, each | {"decode": each["decode"] * (1.06 if n >= 35 else 1)}) for n, each in enumerate(drawn)]


@pytest.fixture
def folder(runs: list[RunRecord], tmp_path: Path) -> Path:
    """Ten of them in a baseline, the others as runs."""
    write_baseline(tmp_path / "baselines" / "tiny-cpu", *runs[:10])
    for number, run in enumerate(runs[10:], start=10):
        write_run(tmp_path / "results" / f"{number:03}", run)
    return tmp_path


def test_the_page_says_what_changed_when_and_by_how_much(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(folder), "--output-dir", str(folder / "out")]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) <= 40
    text, page = ((folder / "out" / name).read_text(encoding="utf-8") for name in ("report.md", "report.html"))
    assert f"45 sessions · 7 figures · 2026-01-01 02:00, {COMMIT(1)[:8]} to 2026-02-14 02:00" in text
    found = re.search(r"since session 36 \(2026-02-05.*time\.decode\.egpt\.eager \+([0-9.]+) % \(\+", text)
    assert found
    assert 5 < float(found[1]) < 7
    assert page.count("<svg") == 7
    assert "Sessions behind the points" in page
    assert "results/044/journal.jsonl" in page
    assert "1 change" in printed


def test_times_that_move_together_are_one_sentence_about_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = np.random.default_rng(2)
    for n in range(40):
        slower = {stage: factor * (1.04 if n >= 33 else 1) for stage, factor in factors(draw).items()}
        write_run(tmp_path / "results" / f"{n:03}", session(n, slower))
    assert main(["history", str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"since session 34 .*: (\d) of \1 times slower together, \+3\.\d % to \+4\.\d %: the machine", printed
    )


def test_bad_sessions_are_a_sentence_each_and_the_rest_is_drawn(folder: Path, runs: list[RunRecord]) -> None:
    results = folder / "results"
    write_run(results / "twice", runs[3])
    other = session(
        90, dict.fromkeys(("load", "vision"), 1.0), environment={**ENVIRONMENT, "cpu": "another", "pid": 90}
    )
    write_run(results / "elsewhere", other)
    newer = (results / "020" / JOURNAL_NAME).read_text().replace('"format_version":1', '"format_version":99')
    (results / "newer").mkdir()
    (results / "newer" / JOURNAL_NAME).write_text(newer)
    torn = results / "030" / JOURNAL_NAME
    torn.write_bytes(torn.read_bytes()[:-40])
    (folder / "answers_results_n1.json").write_text('[{"id": "a", "egpt_token_ids": [1], "videollava_token_ids": [1]}]')
    found = read_history([folder])
    said = "\n".join(found.notes)
    assert len(found.ordered) == SESSIONS + 1
    assert re.search(r"0004_20260304\.json is the same session as \S+twice/journal\.jsonl", said)
    assert "other conditions from session 46 on, the only one, so no change can be found: CPU was" in said
    assert "format version 99" in said
    assert "030/journal.jsonl has not ended: its finished measurements count" in said
    assert "has answers and no times" in said
    assert len(found.notes) == 5


@pytest.mark.parametrize(("count", "label"), [(14, "not known"), (15, "no change")])
def test_nothing_is_called_unchanged_before_a_change_could_be_named(tmp_path: Path, count: int, label: str) -> None:
    draw = np.random.default_rng(7)
    for n in range(count):
        all_stages = factors(draw)
        write_run(tmp_path / "runs" / f"{n:03}", session(n, all_stages if n else {"decode": all_stages["decode"]}))
    assert main(["history", str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert f"**{label}**" in text
    assert ("figures could be reported: a change needs 15 sessions" in text) == (label == "no change")
    assert re.search(rf"\| time\.decode\.egpt\.eager \| +{count} \| +[0-9.]+ ms \| +[0-9.]+ ms \|", text)


def test_a_run_of_one_stage_contributes_its_figures(folder: Path) -> None:
    write_run(folder / "results" / "load", session(60, {"load": 1.0}))
    found = read_history([folder])
    assert set(found.ordered[-1].metrics) == {"time.load.egpt"}
    assert len(found.conditions) == 1


def test_a_session_that_was_slowed_on_purpose_is_left_out_with_the_reason(folder: Path) -> None:
    slowed = msgspec.structs.replace(loaded("egpt"), facts={"extra": {"injected work": "a sleep"}})
    write_run(folder / "results" / "slow", msgspec.structs.replace(session(70, {"load": 1.0}), models=(slowed,)))
    found = read_history([folder])
    assert len(found.ordered) == SESSIONS
    assert [note for note in found.notes if "slow/journal.jsonl: work was injected" in note] == found.notes


@pytest.mark.parametrize("made", ["nothing", "no_times"])
def test_a_page_that_would_be_empty_is_an_error(made: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if made == "no_times":
        write_run(tmp_path / "run", session(1, {}))
    assert main(["history", str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 2
    assert f"{tmp_path}: no session to draw\n" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def commit(repository: Path, message: str, *instead: str) -> str:
    """Commit, or do something else that leaves a commit; return it."""
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(repository)]
    subprocess.run([*command, *(instead or ("commit", "-q", "--allow-empty", "-m", message))], check=True)
    return subprocess.run([*command, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def write_runs_of(commits: list[str], folder: Path) -> None:
    for number, each in enumerate(commits):
        environment = {**ENVIRONMENT, "pid": number, "git": {"commit": each}}
        write_run(folder / str(number), session(number, {"load": 1.0}, environment=environment))


def test_sessions_stand_in_the_order_of_their_commits(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    commits = [commit(tmp_path, str(number)) for number in range(3)]
    write_runs_of([commits[1], commits[2], commits[0]], tmp_path / "results")
    found = read_history([tmp_path / "results"], repository=tmp_path)
    assert [each.commit for each in found.ordered] == commits
    assert any("order of their commits" in note for note in found.notes)
    later = read_history([tmp_path / "results"], commits[1], tmp_path)
    assert [each.commit for each in later.ordered] == commits[1:]
    assert any(f"sessions that are not of {commits[1]} or a later commit: 1" in note for note in later.notes)


def test_an_unknown_revision_is_named(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    write_runs_of([commit(tmp_path, "one")], tmp_path / "results")
    with pytest.raises(RevisionError, match="'v9' is no revision"):
        read_history([tmp_path / "results"], "v9", tmp_path)


def test_since_begins_with_that_revision_be_it_the_newest_or_merged_into(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    fork, revision = commit(tmp_path, "fork"), commit(tmp_path, "revision")
    write_runs_of([fork, revision], tmp_path / "newest")
    newest = read_history([tmp_path / "newest"], revision, tmp_path)
    assert [each.commit for each in newest.ordered] == [revision]
    commit(tmp_path, "", "checkout", "-q", "-b", "side", fork)
    side = commit(tmp_path, "side")
    commit(tmp_path, "", "checkout", "-q", revision)
    merge = commit(tmp_path, "", "merge", "-q", "--no-ff", "-m", "merge", side)
    write_runs_of([fork, side, revision, merge], tmp_path / "merged")
    merged = read_history([tmp_path / "merged"], revision, tmp_path)
    assert [each.commit for each in merged.ordered] == [revision, side, merge]
    assert merged.notes[0].startswith("sessions that are not of ")


def test_a_session_that_confirms_another_is_left_out_with_the_reason(folder: Path) -> None:
    confirming = session(80, {"load": 1.3}, options={"gamma": 5, "confirm": "results/044"})
    write_run(folder / "results" / "044" / "confirm", confirming)
    found = read_history([folder])
    assert len(found.ordered) == SESSIONS
    assert len(found.notes) == 1
    assert found.notes[0].endswith("044/confirm/journal.jsonl: it confirms the session in results/044")


def test_old_files_without_a_date_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    for number in range(3):
        content = {key: each for key, each in five_stages("2s").items() if key not in {"datetime", "timestamp"}}
        for sample in content["results"]:
            sample["eventgpt"]["stage1_time"] = 0.002 if number == 2 else 0.001
        (tmp_path / f"a_results_{number}.json").write_text(json.dumps(content))
    found = read_history([tmp_path])
    assert [each.path.name for each in found.ordered] == ["a_results_0.json", "a_results_2.json"]
    assert [note for note in found.notes if note.startswith("counted once: ")] == found.notes
    assert "a_results_1.json is the same session as" in found.notes[0]


def test_counted_work_that_was_none_is_named_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(6)
    for n in range(34):
        counts = {"copies": 4 if n >= 30 else 0, "launches": 320}
        place = {"model": "egpt", "engine": "eager", "stage": "decode", "sample": "s1"}
        work = WatchedWork(**place, counts=counts, calls={}, seconds=0.1, profiler="cpu")
        write_run(tmp_path / "runs" / str(n), msgspec.structs.replace(session(n, factors(draw)), works=(work,)))
    found = read_history([tmp_path])
    assert found.ordered[0].metrics["work.copies.decode.egpt.eager"].value < -20
    assert main(["history", str(tmp_path), "--output-dir", str(tmp_path / "out")]) == 0
    assert "since session 31 (2026-01-31 02:00" in (printed := capsys.readouterr().out)
    assert "work.copies.decode.egpt.eager from none" in printed
    assert "launches" not in printed


def test_creep_against_a_release_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = np.random.default_rng(4)
    crept = folder / "crept"
    for n in range(6):
        write_run(crept / str(n), session(200 + n, {stage: factor * 1.02 for stage, factor in factors(draw).items()}))
    command = ["history", str(crept), "--release", str(folder / "baselines"), "--output-dir", str(folder / "out")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert re.search(r"against the release: time\.vision\.egpt \+[12]\.\d % \(\+", printed)
    write_run(crept / "other", session(300, {"load": 1.0}, environment={**ENVIRONMENT, "cpu": "another"}))
    assert main(command) == 0
    assert "CPU was a processor, is another" in (folder / "out" / "report.md").read_text()


class Metric(msgspec.Struct, forbid_unknown_fields=True):
    """A metric as https://bencher.dev/bmf.json has it: one number, and two that may be missing."""

    value: float
    lower_value: float | None = None
    upper_value: float | None = None


def test_bencher_gets_every_figure_with_its_interval(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(folder), "--format", "bmf"]) == 0
    printed = capsys.readouterr().out
    found = msgspec.json.decode(printed, type=dict[str, dict[str, Metric]])
    assert json.loads(printed).keys() == set(read_history([folder]).ordered[-1].metrics)
    latency = found["time.decode.egpt.eager"]["latency"]
    assert latency.lower_value is not None
    assert latency.upper_value is not None
    assert 1.03e8 < latency.lower_value < latency.value < latency.upper_value < 1.09e8  # nanoseconds


@pytest.fixture
def back_again(tmp_path: Path) -> Path:
    """Sessions on one machine, in a baseline, then on another, and one more on the first, with a limit."""
    times = {number: {"load": factor, "vision": 1.0} for number, factor in enumerate((1.0, 1.0, 5.0, 5.0))}
    other, limit = {**ENVIRONMENT, "cpu": "another"}, {"eager.median_ms.load.egpt": 150.0}
    write_baseline(tmp_path / "baselines" / "tiny-cpu", *(session(number, times[number]) for number in (0, 1)))
    for number in (2, 3):
        run = session(number, times[number], environment={**other, "pid": number})
        write_run(tmp_path / "results" / str(number), run)
    write_run(tmp_path / "results" / "4", session(4, {"load": 2.0}, limits=limit))
    return tmp_path


def test_bencher_gets_what_the_latest_session_measured(back_again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(back_again), "--format", "bmf"]) == 0
    found = msgspec.json.decode(capsys.readouterr().out, type=dict[str, dict[str, Metric]])
    assert found.keys() == {"time.load.egpt"}
    assert found["time.load.egpt"]["latency"].value == pytest.approx(0.2e9)


def test_a_line_ends_with_the_latest_session_its_limit_and_its_baseline(
    back_again: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(charts, "line", lambda *given: drawn.append(given) or "<svg></svg>")
    assert main(["history", str(back_again), "--output-dir", str(back_again / "out")]) == 0
    assert "from 100 ms to 200 ms" in (back_again / "out" / "report.html").read_text(encoding="utf-8")
    breaks, bounds = next((breaks, bounds) for _, _, breaks, _, bounds in drawn if "bad" in bounds)
    assert breaks == [2.5]
    assert bounds == pytest.approx({"muted": 100.0, "bad": 150.0})
