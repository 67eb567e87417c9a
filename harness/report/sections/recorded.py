"""Figures that only an old result file has: recorded totals, the models' memory, and the old script's c and S."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from harness.figures.passes import Comparison, PassFigure, comparisons, paired, pass_figures, passes
from harness.legacy.reading import NOT_RECORDED
from harness.records.lines import PassRecord, RunRecord
from harness.report.blocks import Section, Sentences, Table, Text, cell, figure, filled, text
from harness.report.formatting import change, fraction, mebibytes, milliseconds, times

TITLE = "As the old script recorded it"
CONTRADICTS = 0.1  # largest relative difference without a warning; totals include some ms between the stages


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the totals as they were recorded, vs. the sums of the stages, of an old result file."""
    figures = pass_figures(run) if run.header.engines == (NOT_RECORDED,) else []
    if not figures:
        return
    weights = {each.model: each.memory_bytes for each in run.models}
    blocks = filled(
        Table(
            ("model", "recorded total ms", "sum of stages ms", "total over sum %", "model memory MiB"),
            [_totals(each, weights.get(each.model)) for each in figures],
        ),
        Table(
            ("target", "speedup, recorded totals", "speedup, sums", "c (cost ratio)", "S (theoretical speedup)"),
            [_speedups(run, each) for each in comparisons(run)],
        ),
    )
    lead = (
        "Totals as the file has them, where all samples have one; all other figures add the stages up. c is the "
        f"draft's total over the target's; S is the old script's forecast at gamma {run.header.options.get('gamma')}, "
        "not a measurement."
    )
    yield Section("recorded", TITLE, blocks, lead, brief=True)


def contradictions(run: RunRecord) -> Iterator[tuple[Text, str]]:
    """Yield a warning, with advice, per model whose recorded totals are not about the sums of its stages."""
    for each in pass_figures(run) if run.header.engines == (NOT_RECORDED,) else []:
        total, template = (
            _mean_total(each.records),
            "{model}: recorded totals differ from the sums of stages by {share} %.",
        )
        if total and abs(total / each.mean_total_s - 1) > CONTRADICTS:
            share = figure(change, total / each.mean_total_s - 1, "contradicts_sum", each.model)
            advice = f"All figures add the stages up; “{TITLE}” has the totals."
            yield text(template, model=each.model, share=share), advice


def notes(lines: Sequence[str]) -> list[Section]:
    """Return the section with notes on oddities of the files, if any."""
    return [Section("notes", "Notes on the files", [Sentences(lines)], brief=True)] if lines else []


def _totals(found: PassFigure, weights: int | None) -> list[Text]:
    total = _mean_total(found.records)
    return [
        found.model,
        cell(milliseconds, total or None, "recorded_total", found.model, unknown=NOT_RECORDED),
        figure(milliseconds, found.mean_total_s, "sum_of_stages", found.model),
        figure(change, total / found.mean_total_s - 1, "recorded_over_sum", found.model) if total else "",
        cell(mebibytes, weights, "recorded_weights", found.model, unknown=NOT_RECORDED),
    ]


def _speedups(run: RunRecord, found: Comparison) -> list[Text]:
    draft = passes(run, "whole", run.header.draft or "", found.engine)
    both = paired(draft, passes(run, "whole", found.target, found.engine))
    mine, theirs = _mean_total([mine for mine, _ in both]), _mean_total([theirs for _, theirs in both])
    agreed = any(each.compared for each in found.agreements.values())
    return [
        found.target,
        figure(times, theirs / mine, "recorded_speedup", found.target) if mine and theirs else NOT_RECORDED,
        figure(times, found.total.factor, "speedup_of_sums", found.target),
        figure(fraction, found.cost_ratio, "recorded_c", found.target),
        figure(times, found.theoretical_speedup, "recorded_s", found.target) if agreed else "no token ids",
    ]


def _mean_total(records: Sequence[PassRecord]) -> float:
    """Return the mean recorded total; 0 where not all samples have one."""
    totals = [record.whole_s for record in records]
    return fmean(totals) if all(totals) else 0.0
