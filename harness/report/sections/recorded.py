"""What an old result file recorded: totals, the models' memory, and the figures that its script called c and S."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

from harness.figures.passes import Comparison, comparisons, paired, pass_figures, passes
from harness.legacy.reading import NOT_RECORDED
from harness.records.lines import RunRecord
from harness.report.blocks import Section, Sentences, Table, Text, figure
from harness.report.formatting import change, fraction, mebibytes, milliseconds, times

SCRIPT_ENGINE = (NOT_RECORDED,)


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the totals as they were recorded, vs. the sums of the stages, of an old result file."""
    figures = pass_figures(run) if run.header.engines == SCRIPT_ENGINE else []
    if not figures:
        return
    weights = {each.model: each.memory_bytes for each in run.models}
    rows: list[list[Text]] = []
    for each in figures:
        totals = [record.whole_s for record in each.records if record.whole_s > 0]
        sums = fmean(each.total_s[record.sample] for record in each.records if record.whole_s > 0) if totals else 0.0
        rows.append(
            [
                each.model,
                figure(milliseconds, fmean(totals), "recorded_total", each.model) if totals else NOT_RECORDED,
                figure(milliseconds, sums or each.mean_total_s, "sum_of_stages", each.model),
                figure(change, fmean(totals) / sums - 1, "recorded_over_sum", each.model) if totals and sums else "",
                figure(mebibytes, weights[each.model], "recorded_weights", each.model)
                if each.model in weights
                else NOT_RECORDED,
            ]
        )
    blocks = [Table(("model", "recorded total ms", "sum of stages ms", "total over sum %", "model memory MiB"), rows)]
    found = [_speedups(run, each) for each in comparisons(run)]
    if found:
        columns = ("target", "speedup, recorded totals", "speedup, sums", "c (cost ratio)", "S (theoretical speedup)")
        blocks.append(Table(columns, found))
    lead = (
        "Totals as the file has them, over the samples that have one; all other figures add the stages up. c is the "
        f"draft's total over the target's; S is the old script's forecast at gamma {run.header.options.get('gamma')}, "
        "not a measurement."
    )
    yield Section("recorded", "As the old script recorded it", blocks, lead, brief=True)


def notes(lines: Sequence[str]) -> list[Section]:
    """Return the section on what is unusual in files, where there is something."""
    return [Section("notes", "Notes on the files", [Sentences(lines)], brief=True)] if lines else []


def _speedups(run: RunRecord, found: Comparison) -> list[Text]:
    draft, target = (passes(run, "whole", model, found.engine) for model in (run.header.draft or "", found.target))
    both = [(mine, theirs) for mine, theirs in paired(draft, target) if mine.whole_s > 0 and theirs.whole_s > 0]
    recorded = sum(theirs.whole_s for _, theirs in both) / sum(mine.whole_s for mine, _ in both) if both else None
    agreed = any(each.compared for each in found.agreements.values())
    return [
        found.target,
        NOT_RECORDED if recorded is None else figure(times, recorded, "recorded_speedup", found.target),
        figure(times, found.total.factor, "speedup_of_sums", found.target),
        figure(fraction, found.cost_ratio, "recorded_c", found.target),
        figure(times, found.theoretical_speedup, "recorded_s", found.target) if agreed else "no token ids",
    ]
