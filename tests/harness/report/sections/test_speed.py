"""What the whole passes say in sentences: files in several states, and samples far outside the others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pytest

from harness.report import charts
from harness.report.blocks import Chart
from harness.report.content import report_of
from harness.report.formatting import milliseconds
from harness.report.sections.speed import MAX_NAMED
from harness.stages import STAGES
from tests.harness.made_runs import run_with, whole_pass
from tests.harness.report.distinct_run import distinct_run
from tests.harness.report.expected_figures import EACH, mean_ends, passes, total
from tests.harness.report.reading import section, sentences

SAMPLES = tuple(f"s{number}" for number in range(40))


def test_files_in_several_states_have_a_mean_and_a_number_for_each() -> None:
    loads = {"s0": (1.0, "cold"), "s1": (4.0, "cold"), "s2": (1.0, "cold"), "s3": (0.25, "cache hit")}
    passes = [whole_pass("egpt", sample, (load, 1, 1, 1, 1), state=state) for sample, (load, state) in loads.items()]
    (line,) = sentences(section(report_of(run_with(*passes, samples=SAMPLES[:4]), "x"), "stages"))
    states = "2000 ms cold (n = 3), 250.0 ms cache hit (n = 1)"
    assert line == f"load of egpt by state of the file, which the totals mix: {states}."


def test_of_many_samples_far_outside_the_farthest_are_named_and_the_others_counted() -> None:
    far = {f"s{number}": 10.0 * number for number in range(5, 10)}
    passes = [whole_pass("egpt", sample, (far.get(sample, 1.0), 0.1, 0.1, 0.1, 0.1)) for sample in SAMPLES]
    (line,) = sentences(section(report_of(run_with(*passes, samples=SAMPLES), "x"), "latency"))
    assert [line.find(f"{sample} (") >= 0 for sample in ("s9", "s8", "s7", "s6", "s5")] == [True] * MAX_NAMED + [
        False
    ] * 2
    assert line.endswith(f"its mean), {len(far) - MAX_NAMED} more.")


def test_each_bar_has_the_stages_and_the_interval_of_its_own_model(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Sequence[charts.Bar]] = []
    monkeypatch.setattr(charts, "bars", lambda rows, _x_label: drawn.append(rows) or "")
    (chart,) = (each for each in section(report_of(distinct_run(), "x"), "stages").blocks if isinstance(each, Chart))
    chart.draw()
    for (model, engine), bar in zip(EACH, drawn[0], strict=True):
        one = list(passes(model, engine).values())
        assert (bar.label, bar.note) == (f"{model} {engine}", milliseconds(fmean(map(total, one))))
        means = [(stage, fmean(each.stage_s[stage] for each in one)) for stage in STAGES]
        assert [part[:2] for part in bar.parts] == [(stage, pytest.approx(seconds)) for stage, seconds in means]
        assert bar.ends is not None
        assert (bar.ends.low, bar.ends.high) == pytest.approx(mean_ends(map(total, one)))
