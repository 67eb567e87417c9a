"""Files that a run left behind, and how the commands read them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.__main__ import merge_folder, replay_file
from harness.ab import results
from harness.ab.plan import AbPlan, Side
from harness.ab.results import PairedFigure
from harness.ab.table import table
from harness.errors import HarnessError
from harness.figures.intervals import Interval
from harness.figures.metrics import Metric
from harness.gates.baselines import store
from harness.gates.exit_status import Status
from harness.gates.limits import Vocabulary, judge, load_limits
from harness.gates.session_gate import SessionGate
from harness.legacy.writing import legacy_records
from harness.records.folder import BENCHMARK_FILE_NAME, write_json
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import ReferenceWorkRecord, RunRecord
from harness.report.content import report_of
from harness.report.files import read_result
from harness.report.markdown import markdown
from harness.report.several import report_of_several
from harness.report.terminal import summary
from tests.harness.legacy.five_stage_files import five_stages
from tests.harness.made_files import lines_of
from tests.harness.made_runs import STARTED_AT, full_run, side_by_side

LIMITS = """
[tiny.eager.speedup.videollava]
stage1 = 1.2  # measured
total = 2
[tiny.eager.acceptance]
llava = 0.5
[tiny.eager.median_ms.egpt]
load = 20.5
[full.eager.device_memory_mib.llava]
decode = 15000
"""
_READINGS = tuple(ReferenceWorkRecord(moment, (0.1, 0.2), (0.1, 0.2)) for moment in ("start", "end"))


def _run() -> RunRecord:
    return full_run(reference_work=_READINGS, side_by_side=(side_by_side((1.0, 2.0), (2.0, 3.0)),))


def _lines(run: RunRecord) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines_of(run))


def make_journal(folder: Path) -> list[Path]:
    """The journal of a run with something of everything."""
    (folder / JOURNAL_NAME).write_bytes(_lines(_run()))
    return [folder / JOURNAL_NAME]


def read_run(folder: Path) -> Iterator[Exception]:
    """`python -m harness merge`, the summary, and the record that it wrote."""
    for derived in folder.glob("*.json"):
        derived.unlink()
    merge_folder(folder)
    summary(msgspec.json.decode((folder / "run.json").read_bytes(), type=RunRecord), folder, (), width=80, color=False)
    yield from ()


def _run_folder(folder: Path) -> Path:
    (folder / "run").mkdir(exist_ok=True)
    (folder / "run" / JOURNAL_NAME).write_bytes(_lines(full_run(passes=_run().passes[:6], reference_work=_READINGS)))
    (folder / "run" / BENCHMARK_FILE_NAME).write_text('{"machine_info": {"node": "n"}, "benchmarks": []}')
    return folder / "run"


def make_baseline(folder: Path) -> list[Path]:
    """A baseline of six equal sessions."""
    first = store(folder / "baselines", _run_folder(folder))
    for number in range(2, 7):
        first.with_name(f"{number:04}_20260304.json").write_bytes(first.read_bytes())
    return [first]


def read_baselines(folder: Path) -> Iterator[Exception]:
    """A gate, and the list of all sessions."""
    from harness.commands.baseline import list_all

    run = full_run(passes=_run().passes[:6], reference_work=_READINGS)
    SessionGate(folder / "baselines").verdicts(run)
    list_all(folder / "baselines")
    yield from ()


def make_benchmark(folder: Path) -> list[Path]:
    """The two files that become a session of a baseline."""
    return [_run_folder(folder) / BENCHMARK_FILE_NAME, _run_folder(folder) / JOURNAL_NAME]


def add_to_baseline(folder: Path) -> Iterator[Exception]:
    """`python -m harness baseline add`, into no baseline yet."""
    for path in (folder / "new").glob("*/*.json"):
        path.unlink()
    store(folder / "new", folder / "run")
    yield from ()


def make_limits(folder: Path) -> list[Path]:
    """Limits of every kind."""
    (folder / "limits.toml").write_text(LIMITS, encoding="utf-8")
    return [folder / "limits.toml"]


def read_limits(folder: Path) -> Iterator[Exception]:
    """Reading them, and judging a run by them."""
    known = Vocabulary(("tiny", "full"), ("eager",), ("egpt", "videollava", "llava"))
    limits = load_limits(folder / "limits.toml", known, "tiny", ["eager"])
    judge(limits, full_run())
    yield from ()


def make_legacy(folder: Path) -> list[Path]:
    """Result files of ours, of the old script, and of two later ones."""
    draft, target = [5, 6, 7, 8, 9], [5, 6, 1, 8, 4, 3]
    old = {"id": "a", "egpt": "t", "egpt_time": 1.5, "llava-1.5-7b-hf": "t", "llava_token_ids": target}
    old |= {f"{model}_stage{stage}_time": stage / 2 for model in ("egpt", "llava") for stage in (1, 2, 3)}
    old |= {"egpt_memory_inference_mb": 14000.5}
    files = {
        "ours.json": _answering(msgspec.json.decode(msgspec.json.encode(legacy_records(full_run()))), draft, target),
        "old.json": [
            old | {"egpt_token_ids": draft},
            old | {"id": "b", "egpt_token_ids": target, "llava_token_ids": draft},
        ],
        "later.json": {"results": [{"sample_id": "a", "egpt_tokens": draft, "vl_tokens": target}]},
        "third.json": {
            "results": [{"id": "a", "eventgpt": {"output_tokens": draft}, "videollava": {"output_tokens": target}}]
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return [folder / name for name in files]


def _answering(records: list[dict[str, Any]], draft: list[int], target: list[int]) -> list[dict[str, Any]]:
    """The records with token ids that could be an answer's."""
    for number, record in enumerate(records, start=2):
        sides = {key: draft if key.startswith("egpt") else target for key in record if key.endswith("_token_ids")}
        record.update({key: [*ids, number] for key, ids in sides.items()})
    return records


def read_legacy_results(folder: Path) -> Iterator[Exception]:
    """`python -m harness acceptance` of each file, and what `report` says of it."""
    for path in sorted(folder.glob("*.json")):
        try:
            replay_file(path, 5)
            run = read_result(path)
            if run:
                markdown(report_of(run, path.stem))
        except HarnessError as error:
            yield error


def make_comparison(folder: Path) -> list[Path]:
    """What a comparison of two revisions came to."""
    plan = AbPlan(STARTED_AT, Side("a1", "main", ()), Side("b2", "a branch", ("-x",)), ("perf_tests",), 4)
    time = Metric("time.load.egpt", "time", math.log(0.5), "s", True, 3, math.log(1.1))
    figure = PairedFigure(time.name, time, -0.7, -0.3, Interval(4, 0.4, 0.3, 0.5), "regressed")
    write_json(
        folder / results.FILE_NAME,
        results.RevisionComparison(1, plan, (), (figure,), ("a note",), Status(1, "it is worse")),
    )
    return [folder / results.FILE_NAME]


def make_five_stages(folder: Path) -> list[Path]:
    """Two files of five stages, of clips of different lengths."""
    for clip in ("2s", "20s"):
        (folder / f"five_stages_{clip}.json").write_text(json.dumps(five_stages(clip)), encoding="utf-8")
    return sorted(folder.glob("five_stages_*.json"))


def read_five_stages(folder: Path) -> Iterator[Exception]:
    """`python -m harness report` of both, of one by itself, and `acceptance`."""
    paths = sorted(folder.glob("five_stages_*.json"))
    runs = []
    for path in paths:
        try:
            replay_file(path, 5)
            runs.append((path, read_result(path)))
            if runs[-1][1]:
                markdown(report_of(runs[-1][1], path.stem)).encode()
        except HarnessError as error:
            yield error
    try:
        markdown(report_of_several(runs)).encode()
    except HarnessError as error:
        yield error


def read_comparison(folder: Path) -> Iterator[Exception]:
    """Reading it for its table."""
    table(results.read(folder), folder)
    yield from ()
