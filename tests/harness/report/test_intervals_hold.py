"""No interval is shown that does not hold the figure beside it, whatever was measured."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.records.lines import RunRecord
from harness.report.blocks import Report
from harness.report.content import report_of
from harness.report.markdown import markdown
from tests.harness.made_runs import header, whole_pass
from tests.harness.report.distinct_run import distinct_run
from tests.harness.report.reading import figures_in

SECONDS = st.tuples(*[st.floats(1e-4, 1e3)] * 5)


def beyond(report: Report) -> list[str]:
    """The names of figures that lie outside their intervals, by more than rounding."""
    values = {each.name: each.value for each in figures_in(report)}
    found = []
    for name, value in values.items():
        low, high = values.get(f"{name}.low", -math.inf), values.get(f"{name}.high", math.inf)
        if not low - 1e-9 * abs(value) <= value <= high + 1e-9 * abs(value):
            found.append(f"{name}: {value} is not in {low} to {high}")
    return found


def test_every_interval_of_a_report_holds_its_figure() -> None:
    for device in ("cpu", "cuda"):
        report = report_of(distinct_run(device), "x")
        assert len([each for each in figures_in(report) if each.name.endswith(".low")]) > 100
        assert beyond(report) == []


def test_an_interval_of_two_samples_that_have_nothing_in_common_is_said_to_be_wide() -> None:
    passes = [whole_pass("egpt", f"s{number}", (10.0**number,) * 5) for number in (0, 3)]
    passes += [whole_pass("videollava", f"s{number}", (10.0 ** (3 - number),) * 5) for number in (0, 3)]
    shown = markdown(report_of(RunRecord(header(("s0", "s3")), passes=tuple(passes)), "x"))
    assert "95 %: too wide to tell" in shown
    assert "interval of the speedup is too wide to tell" in shown


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=2, max_size=12))
def test_so_does_one_of_times_of_any_size(seconds: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    ids = tuple(f"s{number}" for number in range(len(seconds)))
    passes = tuple(
        whole_pass(model, sample, pair[side])
        for side, model in enumerate(("egpt", "videollava"))
        for sample, pair in zip(ids, seconds, strict=True)
    )
    assert beyond(report_of(RunRecord(header(ids), passes=passes), "x")) == []
