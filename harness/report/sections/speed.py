"""Times of the whole passes: latency, means by stage, each target versus the draft, and outliers."""

import math
from collections.abc import Iterator
from statistics import fmean

from harness.figures.intervals import mean_interval
from harness.figures.latency import PERCENTILES, Latency, latencies
from harness.figures.passes import Comparison, PassFigure, comparisons, load_s_by_state, pass_figures
from harness.figures.stages import LEGACY_READER, Speedup, stage1_speedup, stage1_variant
from harness.figures.summary import outliers
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import Chart, Section, Sentences, Table, Text, ends, figure, filled, joined, text, with_ends
from harness.report.formatting import duration, milliseconds, percent, significant, times
from harness.report.naming import STAGE_COLOURS, STAGE_NUMBERS, colour, label, name_of_speedup
from harness.report.sections.warnings import synchronised
from harness.stages import LEGACY_STAGES

MAX_NAMED = 3  # outliers of a model that are named
MEASURES = {
    "ttft": "time to first token, ms",
    "tpot": "time per output token, ms",
    "end_to_end": "end to end, ms",
    "tokens_per_s": "tokens/s",
}


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the sections on whole passes, where there are any."""
    figures = pass_figures(run)
    if not figures:
        return
    by_measure = sorted(latencies(run), key=lambda each: list(MEASURES).index(each.measure))
    rows = [_latency_row(run, each) for each in by_measure]
    columns = ("latency", "model", "mean", *(f"p{each}" for each in PERCENTILES), "n")
    outlier_lines = [line for each in figures for line in _outlier_line(run, each)]
    blocks = filled(Table(columns, rows, text_columns=2), Sentences(outlier_lines))
    lead = "Per sample, from the whole pass; 95 % intervals in brackets."
    yield Section("latency", "Latency", blocks, lead, brief=True, folded=False)
    yield _breakdown(run, figures)
    for comparison in comparisons(run):
        yield _comparison(run, comparison)
    groups = []
    for each in figures:
        places = {sample: index for index, sample in enumerate(each.total_s)}
        named = {places[sample]: sample for sample in list(outliers(each.total_s))[:MAX_NAMED]}
        seconds = list(each.total_s.values())
        groups.append(charts.Group(label(run, each.model, each.engine), colour(run, each.model), seconds, (), named))
    title = "Time of every sample"
    what = "one point per sample, a box over the middle half, a line at the median; outliers are named"
    yield Section("samples", "Samples", [Chart(title, what, lambda: charts.strips(groups, "per sample"))])


def _latency_row(run: RunRecord, found: Latency) -> list[Text]:
    digits = significant if found.measure == "tokens_per_s" else milliseconds
    names = (found.model, found.engine)
    percentiles = [(f"p{each}", found.percentile(each)) for each in PERCENTILES]
    return [
        MEASURES[found.measure],
        label(run, *names),
        with_ends(found.mean, digits, "latency", found.measure, "mean", *names),
        *(
            with_ends(each, digits, "latency", found.measure, which, *names) if each else "not known"
            for which, each in percentiles
        ),
        str(len(found.values)),
    ]


def _outlier_line(run: RunRecord, found: PassFigure) -> Iterator[Text]:
    """Yield a sentence with the outliers of a model, if any, which the means include."""
    far = outliers(found.total_s)
    names = (found.model, found.engine)
    shown = [
        text(
            "{sample} ({time}, {ratio} its mean)",
            sample=sample,
            time=figure(duration, far[sample], "sample", "total", *names, sample),
            ratio=figure(times, far[sample] / found.mean_total_s, "sample", "of_mean", *names, sample),
        )
        for sample in list(far)[:MAX_NAMED]
    ]
    if shown:
        if len(far) > MAX_NAMED:
            shown.append(f"{len(far) - MAX_NAMED} more")
        template = "Outliers of {model}, which all means include: {samples}."
        yield text(template, model=label(run, *names), samples=joined(shown, ", "))


def _breakdown(run: RunRecord, figures: list[PassFigure]) -> Section:
    stages = list(dict.fromkeys(stage for each in figures for stage in each.stages))
    rows: list[list[Text]] = [
        [
            label(run, each.model, each.engine),
            *(_stage_cell(each, stage) for stage in stages),
            figure(milliseconds, each.mean_total_s, "pass", "total", each.model, each.engine),
            str(len(each.records)),
        ]
        for each in figures
    ]
    bars = [
        charts.Bar(
            label(run, each.model, each.engine),
            tuple((stage, each.mean_s(stage), STAGE_COLOURS[stage]) for stage in each.stages),
            mean_interval(each.total_s.values()),
            milliseconds(each.mean_total_s),
        )
        for each in figures
    ]
    what = "one stacked bar per model; the line at the end is the 95 % interval of the total"
    chart = Chart("Mean time of a sample, by stage", what, lambda: charts.bars(bars, "per sample"))
    lines = [_load_by_state(run, each) for each in figures if each.load_is_mixed]
    table = Table(["model", *stages, "total", "n"], rows, in_summary=True)
    blocks = filled(chart, table, Sentences(lines, in_summary=True), Sentences(list(synchronised(run))))
    lead = "The whole pass: each of n samples once through all stages, until the answer ends."
    return Section("stages", "Stages, mean ms per sample", blocks, lead, brief=True, folded=False)


def _stage_cell(found: PassFigure, stage: str) -> Text:
    if stage not in found.stages:
        return ""
    if stage == "load" and found.load_is_mixed:  # times of files in different states do not mix
        return "see below"
    return figure(milliseconds, found.mean_s(stage), "pass", stage, found.model, found.engine)


def _load_by_state(run: RunRecord, found: PassFigure) -> Text:
    names = (found.model, found.engine)
    states = (
        (figure(duration, fmean(seconds), "pass", "load", *names, state), f" {state} (n = {len(seconds)})")
        for state, seconds in load_s_by_state(found.records).items()
    )
    model = label(run, *names)
    template = "load of {model} by state of the file, which the totals mix: {states}."
    return text(template, model=model, states=joined(states, ", "))


def _comparison(run: RunRecord, found: Comparison) -> Section:
    target, engine = found.target, found.engine
    draft_name, target_name = (label(run, model, engine) for model in (run.header.draft or "", target))
    rows = [
        [
            STAGE_NUMBERS[stage] + (" (mixed)" if stage == 1 and found.load_is_mixed else ""),
            *_speedup_cells(found.stages[stage], name_of_speedup(found, stage)),
            _share(found.share_of_target_time(stage), "share_of_target_time", f"stage{stage}", target, engine),
            _share(found.share_of_time_saved(stage), "share_of_time_saved", f"stage{stage}", target, engine),
        ]
        for stage in LEGACY_STAGES
    ]
    saved = "100" if found.total.saved_s > 0 else "nothing saved"
    rows.append(["total", *_speedup_cells(found.total, name_of_speedup(found)), "100", saved])
    gated = stage1_speedup(run, target)
    if gated:
        how = "old reader" if stage1_variant(run, target) == LEGACY_READER else "stage test"
        rows.append([f"1 load ({how}, gated)", *_speedup_cells(gated, f"speedup.stage1.{target}"), "", ""])
    columns = ["stage", f"{draft_name} ms", f"{target_name} ms", "faster", "95 % interval", "% of target's time",
               "% of time saved"]  # fmt: skip
    sides = [each for each in pass_figures(run) if each.engine == engine and each.model in {run.header.draft, target}]
    lines = [line for each in sides for line in _outlier_line(run, each)]
    if found.tokens_factor and found.pace_factor:
        lines.insert(0, _split(found, found.tokens_factor, found.pace_factor))
    blocks = filled(Table(columns, rows), Sentences(lines))
    # Only the first engine's section is open.
    folded = engine != run.header.engines[0]
    title = f"Why {draft_name} is faster than {target_name}"
    if found.total.factor <= 1:
        title = f"{draft_name} vs. {target_name}"
    lead = f"Mean over mean, n = {found.total.samples}."
    return Section(f"beside.{target}.{engine}", title, blocks, lead, brief=True, folded=folded)


def _speedup_cells(found: Speedup, of: str) -> list[Text]:
    return [
        figure(milliseconds, found.draft_mean_s, "draft", of),
        figure(milliseconds, found.target_mean_s, "target", of),
        figure(times, found.factor, of),
        ends(found.interval, times, of),
    ]


def _share(share: float | None, *names: str) -> Text:
    return "nothing saved" if share is None else figure(percent, share, *names)


def _split(found: Comparison, tokens: float, pace: float) -> Text:
    """Return stage 3's speedup as a product: fewer tokens, times less time per token."""
    total, names = found.stages[3].factor, ("stage3", found.target, found.engine)
    template = "Stage 3: {total} = {tokens} ({fewer} tokens) × {pace} ({faster} tokens)"
    if min(tokens, pace) > 1:
        template += "; in logarithms, which add up, {of_tokens} % and {of_pace} % of the speedup"
    return text(
        template + ".",
        total=figure(times, total, "split", *names),
        tokens=figure(times, tokens, "tokens_factor", *names),
        fewer="fewer" if tokens >= 1 else "more",
        pace=figure(times, pace, "pace_factor", *names),
        faster="faster" if pace >= 1 else "slower",
        of_tokens=figure(percent, math.log(tokens) / (math.log(total) or 1), "log_share_of_tokens", *names),
        of_pace=figure(percent, math.log(pace) / (math.log(total) or 1), "log_share_of_pace", *names),
    )
