"""`python -m harness sweep`, with sessions made by hand: what it measures, resumes, shows and ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import msgspec
import pytest

from harness.__main__ import main
from harness.commands import sweep as command
from harness.errors import SessionError
from harness.records.journal import JOURNAL_NAME, Journal
from harness.records.lines import EndRecord, Failure, MachineRecord, RunRecord, StageWork
from harness.report import charts
from harness.report.blocks import Chart, Figure, Table, parts
from harness.report.sweep import Point, report_of_sweep
from tests.harness.made_runs import STARTED_AT, header, run_with, stage_test, whole_pass
from tests.harness.report.reading import Page

MACHINE = MachineRecord(read_bytes_per_s=100.0, copy_bytes_per_s=80.0, operations_per_s={"float16": 1000.0})
BEFORE_DECODE = ("load", "preprocess", "vision", "prefill")


def seconds(value: str, stage: str) -> dict[str, list[float]]:
    """Two samples, three rounds each, of which the last is slow."""
    base = float(value.rstrip("ms")) * (1 + (*BEFORE_DECODE, "decode").index(stage))
    return {"s1": [base, base, 9 * base], "s2": [3 * base, 3 * base, 99 * base]}


@dataclass
class Sessions:
    """Stands for pytest in a process of its own: writes the journal that it would have written."""

    ended: dict[str, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    measures: bool = True
    words: list[list[str]] = field(default_factory=list)

    def run(self, words: Sequence[str], folder: Path, what: str) -> int:
        self.words.append(list(words))
        status = self.ended.get(folder.name, 0)
        if status == 130:
            raise KeyboardInterrupt
        if status < 0:
            raise SessionError(f"{what} was killed by SIGKILL. The log ends with\n    nothing")
        folder.mkdir(exist_ok=True)
        journal = Journal(folder / JOURNAL_NAME, reopen=(folder / JOURNAL_NAME).exists())
        journal.append(header(("s1", "s2"), models=("egpt",), targets=()))
        journal.append(MACHINE)
        for stage in (*BEFORE_DECODE, "decode") if self.measures else ():
            failure = self.failures.get(folder.name)
            failures = (Failure("s3", "load", "MediaError", failure),) if failure else ()
            work = {"s1": StageWork(100, 1, "float16")} if stage in {"vision", "decode"} else {}
            engine = "eager" if stage in {"vision", "prefill", "decode"} else None
            made = stage_test("egpt", stage, seconds(folder.name, stage), work=work, failures=failures, engine=engine)
            journal.append(made)
        if self.measures:
            journal.append(whole_pass("egpt", "s1", kind="throughput", whole_s=0.25))
        if status != 2:  # pytest's own for a run that was interrupted
            journal.append(EndRecord(STARTED_AT, status, "it said so"))
        journal.close()
        return status


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sessions:
    made = Sessions()
    monkeypatch.setattr(command, "run_session", made.run)
    monkeypatch.chdir(tmp_path)
    return made


def only_folder(root: Path) -> Path:
    (folder,) = (root / "results").glob("sweep_*")
    return folder


def test_each_value_is_a_run_and_all_are_in_one_table(
    sessions: Sessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "event-images", "1,4,100", "--", "--models", "egpt"]) == 0
    folder = only_folder(tmp_path)
    assert sessions.words == [
        ["perf_tests", "--models", "egpt", "--throughput", f"--event_images={value}", f"--output-dir={folder / value}"]
        for value in ("1", "4", "100")
    ]
    printed, text = capsys.readouterr().out, (folder / "report.md").read_text(encoding="utf-8")
    values = Page((folder / "report.html").read_text(encoding="utf-8")).values
    for value in ("1", "4", "100"):
        first = [sum(seconds(value, stage)[sample][0] for stage in BEFORE_DECODE) for sample in ("s1", "s2")]
        assert values[f"{value}.egpt.eager.first_token"] == pytest.approx(fmean(first))
        assert values[f"{value}.egpt.eager.throughput"] == 4.0
        assert values[f"{value}.egpt.eager.vision"] == 9 * float(value)  # 3, 3, 27, 9, 9, 297
        assert values[f"{value}.egpt.eager.vision.share_of_floor"] == pytest.approx(1 / (3 * float(value)))
        assert f"\n{value} " in printed
        assert f"| {value} | egpt | " in text
        assert values[f"{value}.egpt.eager.decode"] == pytest.approx(15 * float(value) / 3)  # four tokens, three steps


def test_a_sweep_that_was_cut_short_is_resumed(
    sessions: Sessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.ended = {"4": 2, "16": 130}
    with pytest.raises(SystemExit, match="130"):
        main(["sweep", "event_images", "1,4,16"])
    folder = only_folder(tmp_path)
    assert f"python -m harness sweep --resume {folder} resumes it" in capsys.readouterr().err
    sessions.ended, sessions.words = {}, []
    assert main(["sweep", "--resume", str(folder)]) == 0
    assert [words[-2:] for words in sessions.words] == [
        ["--event_images=4", f"--resume={folder / '4'}"],
        ["--event_images=16", f"--output-dir={folder / '16'}"],
    ]
    assert "event_images 1: measured already" in capsys.readouterr().out


def test_a_plan_that_names_other_folders_is_refused(
    sessions: Sessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = '{"format_version": 1, "started_at": "", "option": "event_images", "values": ["../4"], "arguments": []}'
    (tmp_path / "sweep.json").write_text(plan, encoding="utf-8")
    assert main(["sweep", "--resume", str(tmp_path)]) == 2
    assert "takes a whole number from 1 up, not '../4'" in capsys.readouterr().err
    assert not sessions.words


@pytest.mark.parametrize(
    ("command", "rest"),
    [
        ("sweep", {"started_at": "", "option": "gamma", "values": ["1"]}),
        ("bisect", {"commits": ["a", "b"], "pairs": 1}),
    ],
)
def test_a_plan_of_another_format_version_is_refused(
    command: str, rest: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"format_version": 2, "arguments": [], **rest}
    (tmp_path / f"{command}.json").write_bytes(msgspec.json.encode(plan))
    assert main([command, "--resume", str(tmp_path)]) == 2
    assert f"{command}.json: has format version 2, this reader knows 1" in capsys.readouterr().err


def test_a_value_that_cannot_be_measured_is_named_and_stops_no_other(
    sessions: Sessions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions.ended, sessions.failures = {"1000": -9, "20s": 1}, {"20s": "a.npy: has 1 s of events"}
    assert main(["sweep", "event_images", "1,1000,4"]) == 1
    assert "event_images 1000 was killed by SIGKILL" in capsys.readouterr().out
    assert "| 4 | egpt |" in (only_folder(tmp_path) / "report.md").read_text(encoding="utf-8")
    assert main(["sweep", "event_window", "5ms,20s"]) == 1
    assert "- event_window 20s: s3, load: a.npy: has 1 s of events" in capsys.readouterr().out


def test_a_sweep_without_a_figure_has_status_10(sessions: Sessions) -> None:
    sessions.measures = False
    assert main(["sweep", "event_images", "1,4"]) == 10


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep"], "sweep takes an option and its values, or --resume FOLDER"),
        (["sweep", "event_images", "1", "--resume", "x"], "sweep takes an option and its values, or --resume FOLDER"),
        (["sweep", "--resume", "x", "--", "-v"], "sweep takes an option and its values, or --resume FOLDER"),
        (["sweep", "--resume", "nowhere"], "nowhere/sweep.json"),
        (["sweep", "colours", "1"], "'colours' is no option of numbers"),
        (["sweep", "query", "1"], "'query' is no option of numbers"),
        (["sweep", "gamma", "1,2"], "'gamma' is no option of numbers that change figures"),
        (["sweep", "event_images", "1,x"], "--event_images takes a whole number from 1 up, not 'x'"),
        (["sweep", "event_window", "1s,1000ms"], "event_window has a value twice"),
        (
            ["sweep", "event_images", "1,2", "--", "--event-images=3"],
            "--event-images=3 cannot be given: the sweep",
        ),
        (["sweep", "event_images", "1,2", "--", "--output-dir", "x"], "--output-dir cannot be given"),
        (["sweep", "event_images", "1,2", "--", "--resume"], "--resume cannot be given"),
    ],
)
def test_what_cannot_be_swept_is_refused(
    words: list[str], said: str, sessions: Sessions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not sessions.words


def test_other_conditions_of_a_run_are_told_of_and_the_swept_option_is_none() -> None:
    loads = stage_test("egpt", "load", {"s1": [1.0]})
    runs = [run_with(loads, options={"gamma": 5, "event_images": count}) for count in (1, 4)]
    other = run_with(loads, options={"gamma": 5, "event_images": 16}, model_set="full")
    points = [Point(name, float(name), run) for name, run in zip(("1", "4", "16"), (*runs, other), strict=True)]
    report = report_of_sweep("sweep", "event_images", points, [])
    assert report.warnings == [("event_images 16: model set was tiny, is full", "")]


def test_a_sweep_of_one_stage_has_no_table_of_first_tokens() -> None:
    run = RunRecord(header(("s1",), models=("egpt",)), stages=(stage_test("egpt", "load", {"s1": [0.1]}),))
    report = report_of_sweep("sweep", "event_images", [Point("1", 1.0, run)], [])
    assert [each.key for each in report.sections] == ["stages"]
    assert report.title.endswith(" over 1 value of event images")


def swept(value: str) -> RunRecord:
    """Two models by two engines, each of whose stages takes another time at each value."""
    models, engines = ("egpt", "videollava"), ("eager", "graph")
    work = {"s1": StageWork(60 * float(value), 1, "float16")}
    stages = [
        stage_test(model, "decode", {"s1": [took(value, model, engine)]}, engine=engine, work=work)
        for model in models
        for engine in engines
    ]
    torn = [Failure(f"s{number}", "load", "MediaError", "torn") for number in (3, 3, 4, 5, 6, 7)]
    loads = [stage_test("egpt", "load", {"s1": [float(value)]}, failures=tuple(torn))]
    run = run_with(*loads, *stages, models=models, targets=models[1:], engines=engines)
    return msgspec.structs.replace(run, machine=MACHINE)


def took(value: str, model: str, engine: str) -> float:
    return float(value) * {"egpt": 3, "videollava": 60}[model] * {"eager": 1, "graph": 5}[engine]


def test_each_row_and_curve_is_of_its_own_model_and_engine_in_the_order_of_the_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = ("4", "20", "100")
    points = [Point(value, float(value), swept(value)) for value in ("100", "4", "20")]
    report = report_of_sweep("sweep", "event_images", points, [])
    (stages,) = (each for each in report.sections if each.key == "stages")
    (table,) = (each for each in stages.blocks if isinstance(each, Table))
    assert [*table.columns] == ["event images", "model", "load ms", "decode ms per token", "% of roofline"]
    found = [
        [part.value if isinstance(part, Figure) else part for cell in row for part in parts(cell)] for row in table.rows
    ]
    # Four tokens take three steps; a load has no engine.
    assert found == [
        [value, f"{model} {engine}", *([float(value)] if model == "egpt" else [""]),
         pytest.approx(took(value, model, engine) / 3), pytest.approx(0.6 * float(value) / took(value, model, engine))]
        for value in values
        for model in ("egpt", "videollava")
        for engine in ("eager", "graph")
    ]  # fmt: skip
    drawn: list[Sequence[charts.Group]] = []
    monkeypatch.setattr(charts, "curves", lambda lines, *_labels, **_how: drawn.append(lines) or "")
    for block in stages.blocks:
        if isinstance(block, Chart):
            block.draw()
    places = [(model, engine) for model in ("egpt", "videollava") for engine in ("eager", "graph")]
    for (model, engine), lines in zip(places, drawn, strict=True):
        curves = {line.label: (line.x, line.y) for line in lines}
        x = [4.0, 20.0, 100.0]
        assert curves["decode per token"] == (
            x,
            pytest.approx([1000 * took(value, model, engine) / 3 for value in values]),
        )
        assert curves["decode roofline"] == (x, pytest.approx([200 * each for each in x]))
    assert report.problems[:4] == [
        *(f"event_images 100: s{number}, load: torn" for number in (3, 4, 5)), "event_images 100: and 2 more",
    ]  # fmt: skip
