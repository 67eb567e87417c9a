"""The terminal shows the report's own blocks: a screen by default, three lines for -q, everything for -v."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.fingerprint import machine_name
from harness.records.lines import EndRecord, GateRecord, MachineRecord, RunRecord, StageWork, VerdictRecord
from harness.report.formatting import change, duration, fraction, milliseconds, percent
from harness.report.sections.verdict import MAX_FAILURES
from harness.report.terminal import MAX_PROBLEMS, MAX_WARNINGS, summary
from tests.harness.made_runs import (
    ENVIRONMENT,
    STARTED_AT,
    failed_pass,
    full_run,
    header,
    headline_run,
    loaded,
    side_by_side,
    stage_test,
    whole_pass,
)
from tests.harness.records.test_machines import moved
from tests.harness.report.made_reports import everything_run

FOLDER = Path("results/20260304_050607")
HOSTILE = "[bold]loud[/bold] [/] [link=x]"


def shown(
    run: RunRecord, *, width: int = 100, color: bool = False, files: tuple[Path, ...] = (), verbosity: int = 0
) -> str:
    return summary(run, FOLDER, files, width=width, color=color, verbosity=verbosity)


def everything(run: RunRecord) -> str:
    return shown(run, width=300, verbosity=1)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (122.714, "122.7 s"),
        (10.0, "10.00 s"),
        (9.464, "9464"),
        (1.0, "1000"),
        (0.9994, "999.4"),
        (0.1, "100.0"),
        (0.0714, "71.40"),
        (0.01, "10.00"),
        (0.00123, "1.230"),
    ],
)
def test_times_have_three_or_more_digits_that_mean_something(seconds: float, written: str) -> None:
    assert milliseconds(seconds) == written


@given(st.floats(1e-3, 1e5))
def test_a_shown_time_is_within_a_thousandth_of_the_time(seconds: float) -> None:
    number, _, unit = duration(seconds).partition(" ")
    assert duration(seconds) in {milliseconds(seconds), f"{milliseconds(seconds)} ms"}
    assert float(number) / {"ms": 1000, "s": 1}[unit] == pytest.approx(seconds, rel=1e-3)


def test_what_is_rounded_to_zero_has_no_sign() -> None:
    assert (percent(-1e-9), change(-1e-9), fraction(-1e-9), milliseconds(-1e-9)) == ("0.0", "+0.0", "0.000", "0.000")


def test_by_default_a_run_with_everything_fits_one_screen_of_100_columns() -> None:
    """Of our own words: what a test, a gate or a path says is left whole, to be searched for and copied."""
    quiet = everything_run(outcomes=(), gates=(), verdicts=full_run().verdicts)
    lines = shown(quiet, files=tuple(FOLDER / f"file{number}.json" for number in range(6))).splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


def test_published_figures_are_shown_as_published() -> None:
    text = everything(headline_run())
    assert ["1", "load", "851.0", "6858", "8.06x", "7.85x", "to", "8.27x", "72.5", "78.9"] not in rows(text)
    found = {tuple(row[:2]): row for row in rows(text)}
    assert found["1", "load"][2:5] + found["1", "load"][-2:] == ["851.0", "6858", "8.06x", "72.5", "78.9"]
    assert found["2", "preprocess"][2:5] + found["2", "preprocess"][-2:] == ["23.00", "72.00", "3.13x", "0.8", "0.6"]
    assert found["3", "vision"][4:7] + found["3", "vision"][-2:] == ["977.0", "2533", "2.59x", "26.8", "20.4"]
    assert found["total", "1851"][2:4] + found["total", "1851"][-2:] == ["9463", "5.11x", "100", "100"]
    assert "Stage 3: 2.59x = 2.25x (fewer tokens) × 1.15x (faster tokens)" in text


def test_by_default_each_target_has_a_headline_each_pair_a_line_and_each_model_a_row() -> None:
    text = shown(full_run())
    for headline in (
        "egpt is 5.00x faster than videollava: 1320 vs. 6600 ms per sample; decode is 53.0 % of its time",
        "egpt is 3.00x faster than llava: 1320 vs. 3960 ms per sample; decode is 53.0 % of its time",
        "egpt drafting for videollava: 2.00x, pays; acceptance 0.667, lift 0.333",
    ):
        assert headline in text.splitlines()
    assert ["egpt", "300.0", "20.00", "100.0", "200.0", "700.0", "1320"] in [row[:7] for row in rows(text)]
    assert "1 of 1 limits checked, 0 broken" in text


def test_quiet_is_the_headlines_the_verdict_and_the_folder() -> None:
    lines = shown(full_run(), verbosity=-1, files=(FOLDER / "run.json",)).splitlines()
    assert [line.split(" ")[0] for line in lines] == ["egpt"] * 4 + ["passed", "files:"]


def test_verbose_has_everything_that_the_report_has() -> None:
    text = everything(everything_run())
    for heading in (
        "Where the memory goes",
        "Readers and other ways",
        "Answers and their quality",
        "Conditions",
        "Distance from the roofline",
    ):
        assert heading in text.splitlines()
    assert "egpt, 3 tokens in 1320 ms: egpt says" in text
    assert ["load", "egpt", "150.0", "25.0", "9000", "6"] in rows(text)
    assert ["decode", "llava", "450.0", "25.0", "9000", "6", "150.00"] in rows(text)
    assert ["load", "(legacy", "reader)", "videollava", "1100", "4.5", "9000", "2"] in rows(text)
    assert "limits.toml" in text


def test_conditions_stand_above_the_figures() -> None:
    first = shown(full_run(), width=200).split("\n\n")[0].replace("\n", " ")
    for condition in (
        "tiny",
        "cpu",
        "a processor",
        "2 usable cores",
        "torch 2.13.0",
        "transformers 5.23.0",
        "3 samples",
    ):
        assert condition in " ".join(first.split())


def test_problems_advice_status_and_files_are_there() -> None:
    text = shown(full_run(), files=(FOLDER / "run.json", Path("/elsewhere/mine.json")))
    assert "- egpt: load of sample 's3' failed: SampleError: no such file" in text.splitlines()
    assert "advice: use --rounds" in text.splitlines()
    assert "passed – exit status 0: no test failed" in text.splitlines()
    assert f"files: {FOLDER}\n  run.json, /elsewhere/mine.json\n" in text


def test_what_needs_attention_is_nearest_to_the_end() -> None:
    verdicts = tuple(
        VerdictRecord(f"eager.kind-{state}", state, f"{state}!") for state in ("broken", "pass", "not run")
    )
    text = shown(full_run(verdicts=verdicts))
    assert "2 of 3 limits checked, 1 broken; 1 not measured" in text
    assert text.index("- broken!") > text.index("limits checked")
    assert "pass!" not in text


def test_limits_of_memory_that_the_device_has_not_got_do_not_apply() -> None:
    limits = ("eager.device_memory_mib.egpt.load", "eager.host_memory_mib.egpt.load", "eager.speedup.llava.total")
    verdicts = tuple(VerdictRecord(limit, "not run", "not measured") for limit in limits)
    assert "0 of 3 limits checked, 0 broken; 1 do not apply here, 2 not measured" in shown(full_run(verdicts=verdicts))


def test_warnings_are_shown_by_number_and_first_words_on_one_line_each() -> None:
    text = shown(everything_run())
    lines = [line for line in text.splitlines() if line.startswith("warning ")]
    assert lines[0].startswith(f"warning 1 of {len(lines)}: ")
    assert 2 < len(lines) <= MAX_WARNINGS
    assert max(map(len, lines)) <= 100
    assert lines[-1].endswith("…") or lines[-1].endswith(".")


def test_a_part_of_the_suite_shows_the_stages_that_it_measured() -> None:
    run = RunRecord(header(), stages=(stage_test("egpt", "load", {"s1": [0.1, 0.2, 0.15]}),))
    assert ["load", "egpt", "150.0", "16.7", "9000", "3"] in rows(shown(run))
    assert ["load", "egpt", "150.0"] not in [row[:3] for row in rows(shown(full_run()))]


def test_a_run_that_was_killed_at_once_has_a_summary_too() -> None:
    text = shown(RunRecord(header()))
    assert "model set tiny" in text
    assert "faster" not in text
    assert "exit status" not in text


def test_answers_without_a_token_are_no_division_by_zero() -> None:
    passes = (whole_pass("egpt", token_ids=()), whole_pass("videollava"))
    assert "Stage 3:" not in everything(RunRecord(header(), passes=passes))


@pytest.mark.parametrize("more", [0, 3])
def test_a_long_list_of_failures_is_cut_and_says_so(more: int) -> None:
    failed = tuple(failed_pass("egpt", f"s{number}") for number in range(MAX_FAILURES + more))
    text = everything(RunRecord(header(), passes=failed))
    assert (f"… and {more} more failed samples" in text) == bool(more)
    assert text.count("failed: SampleError") == MAX_FAILURES


@pytest.mark.parametrize("more", [0, 5])
def test_broken_limits_are_all_problems_and_a_screen_shows_the_first(more: int) -> None:
    verdicts = tuple(VerdictRecord(f"limit {n}", "broken", f"words {n}") for n in range(MAX_PROBLEMS + more))
    run = RunRecord(header(), verdicts=verdicts)
    assert all(f"- words {n}" in everything(run).splitlines() for n in range(MAX_PROBLEMS + more))
    assert (f"… and {more} more in report.md" in shown(run)) == bool(more)


def test_gated_figures_of_one_reason_are_one_problem() -> None:
    gates = [GateRecord(f"figure {number}", "invalid", "too hot") for number in range(5)]
    text = shown(full_run(gates=(*gates, GateRecord("another", "pass", "fine"))))
    assert "- invalid: figure 0 and 4 more: too hot" in text.splitlines()
    assert "1 of 6 figures under the gate pass." in text


def test_ways_that_were_timed_in_turn_stand_beside_each_other() -> None:
    run = full_run(side_by_side=(side_by_side((0.01, 0.01), (0.025, 0.025)),))
    assert ["8", "frames", "fast", "legacy", "10.00", "25.00", "2.50x", "2"] in rows(everything(run))


def test_throughput_stands_beside_the_rate_of_one_after_the_other() -> None:
    run = full_run(
        header=header(("s1", "s2"), options={"gamma": 5, "loader_workers": 3}),
        passes=(whole_pass("egpt"), whole_pass("egpt", kind="throughput", stage_s={}, whole_s=4.0)),
    )
    assert ["egpt", "0.25", "0.20"] in rows(shown(run))
    assert "ahead of the model by 3 threads." in everything(run)


def test_each_machine_has_its_own_means() -> None:
    text = everything(moved())
    assert "Stages, mean ms per sample, on a fast one" in text
    assert f"Stages, mean ms per sample, on {machine_name(ENVIRONMENT)}" in text
    assert "2750" not in text  # what the mean over both machines would be


def test_the_roofline_and_its_engines_are_shown() -> None:
    work = {"s1": StageWork(8e8, 1e9, "float16")}
    stage = stage_test("egpt", "decode", {"s1": [0.0016]}, engine="graph", work=work)
    machine = MachineRecord(1e12, 0.8e12, {"float16": 5e14})
    text = everything(RunRecord(header(engines=("eager", "graph")), stages=(stage,), machine=machine))
    assert ["decode", "graph", "egpt", "0.800", "50.0", "bandwidth", "500", "0.625"] in rows(text)
    assert "The device reads 1000 GB/s, copies 800 GB/s, and computes 500 TFLOP/s in products of float16." in text


@pytest.mark.parametrize("run", [full_run(), headline_run(), everything_run()], ids=["full", "headline", "everything"])
@pytest.mark.parametrize("width", [80, 40, 120])
@pytest.mark.parametrize("verbosity", [0, 1])
def test_tables_never_exceed_the_terminal_or_80_columns_where_it_is_narrower(
    run: RunRecord, width: int, verbosity: int
) -> None:
    whole_lines = ("- ", "advice", "files", "passed")
    lines = shown(run, width=width, verbosity=verbosity).splitlines()
    assert max(len(line.rstrip()) for line in lines if not line.startswith(whole_lines)) <= max(width, 80)


def test_slow_and_large_figures_still_fit_100_columns_unfolded() -> None:
    run = full_run()
    slow = tuple(whole_pass(each.model, each.sample, (80, 1.5, 12, 30, 999)) for each in run.passes if not each.failure)
    text = shown(msgspec.structs.replace(run, passes=slow))
    assert ["videollava", "80.00", "s", "1500", "12.00", "s", "30.00", "s", "999.0", "s", "1122", "s"] in [
        row[:12] for row in rows(text)
    ]


def test_without_color_there_is_no_escape_code_and_with_color_there_is() -> None:
    assert "\x1b" not in shown(full_run(), color=False)
    assert "\x1b[" in shown(full_run(), color=True)


def test_color_changes_nothing_but_the_color() -> None:
    run = everything_run()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown(run, color=True, verbosity=1))
    assert [line.rstrip() for line in plain.splitlines()] == [
        line.rstrip() for line in shown(run, verbosity=1).splitlines()
    ]


def hostile_run(text: str, state: Literal["pass", "broken"] = "broken") -> RunRecord:
    fields: dict[str, Any] = {
        "models": (loaded("egpt"),),
        "passes": (whole_pass("egpt", text=text), failed_pass("egpt", f"s{text}", text=text)),
        "verdicts": (VerdictRecord("limit", state, text),),
        "end": EndRecord(STARTED_AT, 0, text, (text,)),
    }
    return RunRecord(header(), **fields)


@pytest.mark.parametrize("color", [True, False])
def test_text_that_looks_like_markup_appears_as_it_is(color: bool) -> None:
    found = shown(hostile_run(HOSTILE), color=color, files=(Path(f"/{HOSTILE}"),), width=300, verbosity=1)
    # An answer; a broken limit and among all; a failure twice by text and sample; advice; the reason; a file.
    assert re.sub(r"\x1b\[[0-9;]*m", "", found).count(HOSTILE) == 10


@pytest.mark.parametrize("control", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\b\b\b", "\r"])
def test_text_cannot_steer_the_terminal(control: str) -> None:
    found = shown(hostile_run(f"before{control}afterwards"), width=300, verbosity=1)
    assert not set(found) & {"\x1b", "\x07", "\x9b", "\b", "\r"}
    assert found.count("before") == found.count("afterwards") == 9
