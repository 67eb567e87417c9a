"""report.html: whole, closed to the outside, true to its figures, and harmless whatever a run has in it."""

from __future__ import annotations

import colorsys
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.records.fingerprint import machine_name
from harness.records.lines import (
    EndRecord,
    Failure,
    GateRecord,
    OutcomeRecord,
    PassRecord,
    RunRecord,
    StageRecord,
    VerdictRecord,
)
from harness.records.quantities import MemoryPeak
from harness.report.blocks import Answers
from harness.report.content import report_of
from harness.report.markdown import markdown
from harness.report.page import page
from harness.report.several import report_of_several
from tests.harness.made_runs import STARTED_AT, failed_pass, full_run, header, headline_run, whole_pass
from tests.harness.records.test_machines import moved
from tests.harness.report.made_reports import everything_run, long_run
from tests.harness.report.reading import Page, figures_in

SCRIPT = "<script>alert(1)</script>"
LONG = "x" * 200  # nowhere to break
HOSTILE = f"\"'>{SCRIPT}<img src=x onerror=alert(2)>$\\frac{{1}}{{2}}$ %s {{{{ 7 * 7 }}}}\x1b[2J{LONG}"


def read(run: RunRecord) -> Page:
    return Page(page(report_of(run, "results/20260304_050607")))


@pytest.fixture(scope="module")
def everything() -> Page:
    return read(everything_run())


def test_every_figure_carries_its_exact_value(everything: Page) -> None:
    found = figures_in(report_of(everything_run(), "x"))
    assert len(found) > 150
    assert {(each.name, each.value, each.text) for each in found} == set(everything.figures)


def test_what_is_printed_is_the_value_rounded(everything: Page) -> None:
    """In one of the units that the page has: as it is, in percent, milliseconds, MiB or GiB."""
    for name, value, text in everything.figures:
        shown = float(re.sub(r"[x %]|MiB|GiB|m?s$", "", text))
        digits = len(text.partition(".")[2].strip("x MiBGms"))
        units = (1, 100, 1000, 2**-20, 2**-30)
        assert any(abs(shown - value * unit) <= 0.5 * 10**-digits + 1e-9 * abs(shown) for unit in units), (
            name,
            value,
            text,
        )


def test_a_name_stands_for_one_value(everything: Page) -> None:
    by_name: dict[str, set[float]] = {}
    for name, value, _ in everything.figures:
        by_name.setdefault(name, set()).add(value)
    assert not {name: values for name, values in by_name.items() if len(values) > 1}


def test_the_verdict_is_the_first_thing_and_the_problems_stand_in_it(everything: Page) -> None:
    start = everything.words[: everything.words.index("In words")]
    assert "total speedup was 1x" in start
    assert "regressed: time.decode.egpt.eager: decode got slower" in start
    assert everything.ids[0] == "verdict"


def test_a_page_fetches_nothing_and_runs_nothing(everything: Page) -> None:
    assert not [each for each in everything.addresses if not each.startswith(("#", "data:image/jpeg;base64,"))]
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(everything.tags)
    assert "default-src 'none'" in everything.source
    assert "url(" not in re.sub(r"url\(#\w+\)", "", everything.source)


def test_colours_are_the_pages_own_so_that_dark_and_print_follow(everything: Page) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", everything.source, flags=re.DOTALL))
    assert "var(--m1)" in drawings
    assert not re.findall(r"#[0-9a-f]{6}\b", drawings)


def test_no_stage_has_the_colour_of_what_is_bad() -> None:
    """By the hue, in light and dark."""
    style = (Path(page.__code__.co_filename).parent / "page.css").read_text(encoding="utf-8")
    for number in range(1, 7):
        for colour in re.findall(rf"--s{number}: #([0-9a-f]{{6}})", style):
            red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4))
            hue, _, saturation = colorsys.rgb_to_hls(red, green, blue)
            assert saturation < 0.2 or 25 < 360 * hue < 330, (number, colour)


def test_the_command_line_of_the_run_is_there_to_copy() -> None:
    recorded = {"command": ["/a/pytest/__main__.py", "perf_tests", "--query", "What's <this>?"]}
    run = RunRecord(header(environment=header().environment | recorded))
    typed = """python -m pytest perf_tests --query 'What'"'"'s <this>?'"""
    assert typed in read(run).words
    assert typed in markdown(report_of(run, "x"))


def test_the_same_record_gives_the_same_page() -> None:
    assert page(report_of(everything_run(), "x")) == page(report_of(everything_run(), "x"))


def hostile_run() -> RunRecord:
    passes = tuple(
        whole_pass(model, f"{HOSTILE}{number}", (1, 1, 1, 1, 1 + 100 * (number == 5)), text=HOSTILE)
        for model in ("egpt", "videollava")
        for number in range(6)
    )
    names = tuple(f"{HOSTILE}{number}" for number in range(6))
    fields: dict[str, Any] = {
        "passes": (*passes, failed_pass("egpt", HOSTILE, text=HOSTILE)),
        "verdicts": (VerdictRecord(HOSTILE, "broken", HOSTILE),),
        "gates": (GateRecord(HOSTILE, "regressed", HOSTILE, loss=0.2, limit=0.1),),
        "outcomes": (OutcomeRecord(HOSTILE, "failed", HOSTILE),),
        "end": EndRecord(STARTED_AT, 1, HOSTILE, (HOSTILE,)),
    }
    return RunRecord(header(names, dataset=HOSTILE), **fields)


def test_a_script_in_an_answer_or_a_samples_name_is_text() -> None:
    found = read(hostile_run())
    assert "script" not in found.tags
    assert "img" not in found.tags
    # An answer of two models and the samples' names at the least.
    assert found.words.count(SCRIPT) > 8
    assert "\x1b" not in found.source


def test_the_name_of_a_sample_that_stands_apart_is_text_in_the_drawing_too() -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", read(hostile_run()).source, flags=re.DOTALL))
    assert "&lt;script&gt;" in drawings
    assert "<script" not in drawings


def sections(run: RunRecord) -> set[str]:
    return {each.key for each in report_of(run, "x").sections}


def test_sections_whose_data_are_absent_are_absent() -> None:
    assert sections(RunRecord(header(), end=EndRecord(STARTED_AT, 0, "it ended"))) == {"conditions"}
    of_passes = {"stages", "beside.videollava.eager", "samples", "agreement", "answers"}
    assert sections(headline_run()) == of_passes | {"latency", "conditions"}


def test_a_run_with_everything_has_every_section() -> None:
    assert sections(everything_run()) == {
        "baseline", "stages", "beside.videollava.eager", "beside.llava.eager", "samples", "floors", "memory",
        "stage-tests", "ways", "throughput", "drafting.videollava.eager", "drafting.llava.eager", "agreement",
        "answers", "failures", "latency", "limits", "conditions",
    }  # fmt: skip


def test_random_weights_have_nothing_to_say() -> None:
    run = everything_run(header=header(("s1", "s2"), model_set="full", models=("egpt", "videollava")))
    assert "agreement" not in sections(run)
    (found,) = (each for each in report_of(run, "x").sections if each.key == "answers")
    assert not [each for each in found.blocks if isinstance(each, Answers)]


def test_a_run_that_was_killed_at_once_has_a_page_too() -> None:
    found = read(RunRecord(header()))
    assert "unfinished" in found.words
    assert "speedup" not in found.words


def test_a_failed_sample_is_named_with_its_error() -> None:
    failure = Failure("s9", "decode", "RuntimeError", "out of memory")
    found = read(full_run(passes=(failed_pass("egpt", "s9", "decode", failure=failure),)))
    assert "RuntimeError: out of memory" in found.words


@pytest.mark.slow
def test_a_report_of_1100_samples_is_under_3_mb() -> None:
    assert len(page(report_of(long_run(1100), "x")).encode()) < 3_000_000


def test_each_engine_has_its_own_bars_rows_and_sections() -> None:
    run = everything_run()
    again = tuple(msgspec.structs.replace(each, engine="graph") for each in (*run.passes, *run.stages) if each.engine)
    faster = tuple(each for each in again if isinstance(each, PassRecord))
    measured = tuple(each for each in again if isinstance(each, StageRecord))
    engines = msgspec.structs.replace(run.header, engines=("eager", "graph"), device="cuda")
    gpu = {"environment": run.header.environment | {"gpu": {"name": "a card", "memory_bytes": 24 * 2**30}}}
    both = msgspec.structs.replace(
        run,
        header=msgspec.structs.replace(engines, **gpu),
        passes=(*run.passes, *faster),
        stages=tuple(_on_gpu(each) for each in (*run.stages, *measured)),
    )
    assert {"beside.llava.eager", "beside.llava.graph"} < sections(both)
    found = read(both)
    assert {f"share_of_floor.decode.egpt.{engine}" for engine in ("eager", "graph")} < set(found.values)
    assert "videollava graph" in found.words
    assert found.values["memory.of_card.egpt"] == pytest.approx(505 * 2**20 / (24 * 2**30))


def _on_gpu(record: StageRecord) -> StageRecord:
    peaks = {sample: MemoryPeak(None, peak.host_bytes, None) for sample, peak in record.memory.items()}
    return msgspec.structs.replace(record, memory=peaks)


def test_a_run_on_two_machines_has_times_of_each_and_none_of_both() -> None:
    run = moved()
    found = read(run)
    here = machine_name(run.header.environment)
    for title in (
        f"Stages, mean ms per sample, on {here}",
        "Stages, mean ms per sample, on a fast one",
        "On a fast one: egpt is",
    ):
        assert title in found.words
    totals = [found.values[f"machine{place}.pass.total.videollava.eager"] for place in (1, 2)]
    assert totals == [5.0, 0.5]
    assert not [name for name, value in found.values.items() if value == 2.75], "the mean over both machines"
    assert "total speedup" not in found.words
    keys = [each.key for each in report_of(run, "x").sections]
    assert len(keys) == len(set(keys))
    by_name = {name: {value for each, value, _ in found.figures if each == name} for name in found.values}
    assert all(len(values) == 1 for values in by_name.values())


def test_results_side_by_side_keep_machines_apart(tmp_path: Path) -> None:
    report = report_of_several([(tmp_path / "moved.json", moved()), (tmp_path / "other.json", full_run())])
    found = Page(page(report))
    assert "moved.json, a fast one" in found.words
    assert 2.75 not in found.values.values()


def test_every_link_leads_to_its_place(everything: Page) -> None:
    links = {each[1:] for each in everything.addresses if each.startswith("#")}
    assert {each for each in links if each.startswith("term-")} > {"term-time-to-first-token", "term-faster"}
    assert links - set(everything.ids) == set()
