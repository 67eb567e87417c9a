from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.stages import comparisons, stage1_speedup
from harness.records.lines import EndRecord, RunRecord, VerdictRecord
from harness.report.formatting import milliseconds
from harness.report.terminal import MAX_ANSWER, MAX_LISTS, summary
from tests.harness.made_runs import (
    STARTED_AT,
    failed_pass,
    full_run,
    header,
    headline_run,
    loaded,
    stage_test,
    whole_pass,
)

FOLDER = Path("results/20260304_050607")
HOSTILE = "[bold]loud[/bold] [/] [link=x]"


def printed(run: RunRecord, *, width: int = 80, color: bool = False, files: tuple[Path, ...] = ()) -> str:
    return summary(run, FOLDER, files, width=width, color=color)


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
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
def test_a_printed_time_is_within_a_thousandth_of_the_time(seconds: float) -> None:
    assert float(milliseconds(seconds)) / 1000 == pytest.approx(seconds, rel=1e-3)


def test_published_figures_are_printed_as_published() -> None:
    text = printed(headline_run())
    assert ["1", "load", "851.0", "6858", "8.06x", "72.5", "78.9"] in rows(text)
    assert ["2", "preprocess", "23.00", "72.00", "3.13x", "0.8", "0.6"] in rows(text)
    assert ["3", "vision", "+", "LLM", "977.0", "2533", "2.59x", "26.8", "20.4"] in rows(text)
    assert ["total", "1851", "9463", "5.11x", "100"] in rows(text)
    assert "stage 3: 2.59x = 2.25x fewer tokens x 1.15x faster tokens" in text
    assert "c = 0.196; theoretical speculative speedup at gamma 5: 3.03x" in text


def test_both_kinds_of_share_have_their_names() -> None:
    text = printed(headline_run())
    assert "% of target's time" in text
    assert "% of time saved" in text


def test_every_stage_of_every_model_has_its_row() -> None:
    text = printed(full_run())
    assert ["egpt", "load", "150.0", "25.0", "9000", "6", "101"] in rows(text)
    assert ["llava", "decode", "450.0", "25.0", "9000", "6", "150", "505"] in rows(text)
    assert ["videollava", "load", "(legacy", "reader)", "1100", "4.5", "9000", "2"] in rows(text)


def test_whole_passes_have_means_tokens_and_number_of_samples() -> None:
    assert ["egpt", "300.0", "20.00", "100.0", "200.0", "700.0", "1320", "3.0", "2"] in rows(printed(full_run()))


def test_every_target_is_compared_with_the_draft() -> None:
    run = full_run()
    text = printed(run)
    for comparison in comparisons(run):
        assert f"egpt beside {comparison.target} (eager, 2 samples)" in text
        assert f"{comparison.acceptance_token_weighted:.3f} (all tokens)" in text
        assert f"at gamma 5: {comparison.theoretical_speedup:.2f}x" in text
    gated = stage1_speedup(run, "videollava")
    assert gated is not None
    assert ["1", "load", "as", "gated", "150.0", "1100", f"{gated.factor:.2f}x"] in rows(text)


def test_conditions_stand_above_the_figures() -> None:
    first = printed(full_run()).splitlines()[0]
    for condition in (
        "tiny",
        "cpu",
        "a processor",
        "2 usable cores",
        "torch 2.13.0",
        "transformers 5.23.0",
        "3 samples",
    ):
        assert condition in first


def test_verdicts_failures_advice_status_and_files_are_there() -> None:
    text = printed(full_run(), files=(FOLDER / "run.json", Path("/elsewhere/mine.json")))
    assert "PASS    eager.speedup.llava.total: it was fast" in text
    assert "egpt: load of sample 's3' failed: SampleError: no such file" in text
    assert "advice: use --rounds" in text
    assert "exit status 0: no test failed" in text
    assert f"files: {FOLDER}\n  run.json\n  /elsewhere/mine.json\n" in text


def test_what_needs_attention_is_nearest_to_the_end() -> None:
    verdicts = tuple(VerdictRecord(f"limit-{state}", state, "words") for state in ("broken", "pass", "not run"))
    text = printed(full_run(verdicts=verdicts))
    assert text.index("limit-not run") > text.index("limit-pass")
    assert text.index("limit-broken") > text.index("limit-pass")


def test_a_run_that_was_killed_at_once_has_a_summary_too() -> None:
    text = printed(RunRecord(header()))
    assert "model set tiny" in text
    assert "speedup" not in text
    assert "exit status" not in text


def test_answers_without_a_token_are_no_division_by_zero() -> None:
    passes = (whole_pass("egpt", token_ids=()), whole_pass("videollava"))
    assert "answers without a token" in printed(RunRecord(header(), passes=passes))


def test_a_long_list_of_failures_is_cut_and_says_so() -> None:
    for count, more in ((MAX_LISTS, False), (MAX_LISTS + 3, True)):
        run = RunRecord(header(), passes=tuple(failed_pass("egpt", f"s{number}") for number in range(count)))
        assert ("… and 3 more" in printed(run)) is more
        assert printed(run).count("failed: SampleError") == MAX_LISTS


def test_a_long_answer_is_cut_and_says_so() -> None:
    for length, cut in ((MAX_ANSWER, False), (MAX_ANSWER + 1, True)):
        text = printed(RunRecord(header(), passes=(whole_pass("egpt", text="x" * length),)))
        assert "x" * MAX_ANSWER in text
        assert ("x …" in text) is cut


def table_rows(text: str) -> list[str]:
    """Lines in columns; the others are sentences, left to the terminal to wrap so that they can be copied whole."""
    words = ("egpt ", "videollava ", "llava ", "model ", "stage ", "1 load", "2 pre", "3 vision", "total ")
    return [line for line in text.splitlines() if line.strip().startswith(words) and not set(line) & set(":;")]


@pytest.mark.parametrize("run", [full_run(), headline_run()], ids=["full", "headline"])
@pytest.mark.parametrize("width", [80, 40, 120])
def test_tables_never_exceed_the_terminal_or_80_columns_where_it_is_narrower(run: RunRecord, width: int) -> None:
    found = table_rows(printed(run, width=width))
    assert len(found) > 5
    assert max(len(line.rstrip()) for line in found) <= max(width, 80)


def test_slow_and_large_figures_still_fit_80_columns_unfolded() -> None:
    run = full_run()
    slow = tuple(whole_pass(each.model, each.sample, (80, 1.5, 12, 30, 999)) for each in run.passes if not each.failure)
    stages = tuple(
        stage_test(model, "preprocess", {"s1": [123.456, 9999.9]}, variant="legacy reader")
        for model in run.header.models
    )
    text = printed(full_run(passes=slow, stages=stages))
    assert max(len(line.rstrip()) for line in table_rows(text)) <= 80
    assert ["videollava", "80000", "1500", "12000", "30000", "999000", "1122500", "3.0", "2"] in rows(text)


def test_without_color_there_is_no_escape_code_and_with_color_there_is() -> None:
    assert "\x1b" not in printed(full_run(), color=False)
    assert "\x1b[" in printed(full_run(), color=True)


def test_color_changes_nothing_but_the_color() -> None:
    run = full_run()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed(run, color=True))
    assert [line.rstrip() for line in plain.splitlines()] == [line.rstrip() for line in printed(run).splitlines()]


def hostile_run(text: str) -> RunRecord:
    fields: dict[str, Any] = {
        "models": (loaded("egpt"),),
        "passes": (whole_pass("egpt", text=text), failed_pass("egpt", f"s{text}", text=text)),
        "verdicts": (VerdictRecord("limit", "pass", text),),
        "end": EndRecord(STARTED_AT, 0, text, (text,)),
    }
    return RunRecord(header(dataset=text), **fields)


@pytest.mark.parametrize("color", [True, False])
def test_text_that_looks_like_markup_appears_as_it_is(color: bool) -> None:
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed(hostile_run(HOSTILE), color=color, files=(Path(f"/{HOSTILE}"),)))
    # An answer, a verdict, a failure by text and by sample, advice, the reason for the status, a file.
    assert text.count(HOSTILE) == 7


@pytest.mark.parametrize("control", ["\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\b\b\b", "\r"])
def test_text_cannot_steer_the_terminal(control: str) -> None:
    text = printed(hostile_run(f"before{control}after"))
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\b", "\r"}
    assert text.count("before") == text.count("after") == 6


def verdicts_of(state: Literal["pass", "broken", "not run"], count: int) -> tuple[VerdictRecord, ...]:
    return tuple(
        VerdictRecord(f"eager.host_memory_mib.m{n}.load", state, f"words {n}", value=float(n), bound=1000.0)
        for n in range(1, count + 1)
    )


def test_of_many_limits_of_one_kind_that_held_the_nearest_is_shown() -> None:
    text = printed(full_run(verdicts=verdicts_of("pass", MAX_LISTS + 1)))
    assert f"words {MAX_LISTS + 1}" in text
    assert "words 1\n" not in text
    assert f"… and {MAX_LISTS} more of eager.host_memory_mib, none nearer to its bound" in text


def test_a_few_limits_of_one_kind_are_all_shown() -> None:
    text = printed(full_run(verdicts=verdicts_of("pass", MAX_LISTS)))
    assert all(f"words {n}\n" in text for n in range(1, MAX_LISTS + 1))


def test_broken_limits_are_all_shown_however_many() -> None:
    text = printed(full_run(verdicts=verdicts_of("broken", MAX_LISTS + 5)))
    assert all(f"words {n}\n" in text for n in range(1, MAX_LISTS + 6))
