"""report.md: a page of text in which nothing from outside is anything but text."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from harness.report.blocks import Report, Section, Sentences, Table
from harness.report.content import report_of
from harness.report.markdown import MAX_ROWS, markdown
from harness.stages import STAGES
from tests.harness.made_runs import cost, request, run_with, stage_test, whole_pass
from tests.harness.report.made_reports import everything_run
from tests.harness.report.reading import Page
from tests.harness.report.test_page import HOSTILE, hostile_run

RENDERER = MarkdownIt("commonmark").enable("table")


def shown(source: str) -> Page:
    """The Markdown as a web page that shows it has it."""
    return Page(RENDERER.render(source))


def of(*lines: str, table: Table | None = None) -> Report:
    blocks = [Sentences(lines), *([table] if table else [])]
    return Report("t", "s", [], [Section("k", "K", blocks, brief=True)])


@given(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=30))
def test_a_text_is_shown_as_it_is(some: str) -> None:
    assert some in shown(markdown(of(f"a{some}b"))).words


def test_hostile_words_are_words(tmp_path: object) -> None:
    page = shown(markdown(report_of(hostile_run(), HOSTILE)))
    assert not {"script", "img"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.words


def test_tables_come_out_as_tables_with_all_their_cells() -> None:
    page = shown(markdown(of(table=Table(("a", "b|c"), [["x|y", "1\n2"]]))))
    assert (page.tags.count("th"), page.tags.count("td")) == (2, 2)
    assert "x|y" in page.words


@pytest.mark.parametrize(("rows", "hidden"), [(MAX_ROWS, 0), (MAX_ROWS + 3, 3)])
def test_a_long_table_is_cut_and_says_so(rows: int, hidden: int) -> None:
    found = markdown(of(table=Table(("a",), [[str(n)] for n in range(rows)])))
    assert (f"… and {hidden} more rows" in found) == bool(hidden)


def test_the_verdict_the_problems_and_the_main_figures_stand_on_top() -> None:
    top = markdown(report_of(everything_run(), "x")).split("\n## ")[0]
    assert "✅ **passed** – exit status 0: no test failed" in top
    assert "- total speedup was 1x" in top
    for label in ("total speedup", "time per sample", "time to first token", "speculative decoding"):
        assert f"| {label} |" in top


def test_one_of_a_thing_is_in_the_singular() -> None:
    passes = [whole_pass(model, "s1", (0.1,) * 5) for model in ("egpt", "videollava")]
    tests = [stage_test("egpt", stage, {"s1": [0.1]}) for stage in STAGES]
    run = run_with(*passes, *tests, samples=("s1",))
    run = msgspec.structs.replace(run, speculations=(request("s1"),), speculation_costs=(cost(),))
    found = markdown(report_of(run, "x"))
    assert "Speculative decoding: eager, gamma 5, 1 request." in found
    assert not re.findall(r"\b1 (?:sample|round|request)s\b", found)


def test_it_is_a_page_and_not_a_book() -> None:
    found = markdown(report_of(everything_run(), "x"))
    assert len(found.splitlines()) < 300
    assert not re.search(r"\n\n\n", found)
