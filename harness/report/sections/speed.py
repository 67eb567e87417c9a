"""Where the time goes: stages side by side, shares, tokens, samples that stand apart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

from harness.figures.intervals import mean_interval
from harness.figures.passes import (
    Comparison,
    PassFigure,
    comparisons,
    legacy_stage_s,
    load_s_by_state,
    pass_figures,
    speedup_interval,
    synchronisation_overhead,
)
from harness.figures.stages import Speedup, stage1_speedup
from harness.figures.summary import outliers
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import Block, Chart, Section, Sentences, Table, Text, ends, figure, joined, name, text
from harness.report.formatting import change, milliseconds, percent, tenths, times, whole
from harness.report.naming import (
    NUMBER_COLOURS,
    STAGE_COLOURS,
    STAGE_NUMBERS,
    colour,
    gated_load,
    label,
    name_of_speedup,
)
from harness.stages import LEGACY_STAGES

MAX_NAMED = 3
"""Of a model's samples that stand apart: the farthest have their names in the chart, and MAX_LISTED in the table."""
MAX_LISTED = 8


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield what the whole passes have to say."""
    figures = pass_figures(run)
    if figures:
        yield _breakdown(run, figures)
    for comparison in comparisons(run):
        yield _comparison(run, comparison)
    if figures:
        yield _samples(run, figures)


def _breakdown(run: RunRecord, figures: list[PassFigure]) -> Section:
    stages = list(dict.fromkeys(stage for each in figures for stage in each.stages))
    rows: list[list[Text]] = [
        [
            label(run, each.model, each.engine),
            *(_stage_cell(each, stage) for stage in stages),
            figure(milliseconds, each.mean_total_s, "pass", "total", each.model, each.engine),
            ends(mean_interval(list(each.total_s.values())), milliseconds, "pass", "total", each.model, each.engine),
            str(len(each.records)),
        ]
        for each in figures
    ]
    chart = Chart(
        "Mean time of a sample, by stage",
        "stacked bars of milliseconds, a bar a model; the line at the end is the 95 % interval of the total",
        lambda: charts.bars([_bar(run, each) for each in figures], "ms per sample"),
    )
    columns = ["model", *(f"{stage} ms" for stage in stages), "total ms", "95 % interval", "n"]
    blocks: list[Block] = [chart, Table(columns, rows, in_summary=True)]
    mixed = [_load_by_state(run, each) for each in figures if each.load_is_mixed]
    if mixed:
        blocks.append(Sentences(mixed, in_summary=True))
    added = list(_synchronisation(run, figures))
    if added:
        blocks.append(Sentences(added))
    lead = "The whole pass: each of n samples once through all stages, one after the other, until the answer ends."
    return Section("stages", "Where the time goes", blocks, lead, brief=True)


def _stage_cell(found: PassFigure, stage: str) -> Text:
    """The mean of a stage; of stage 1 only where it found all files in the same state."""
    if stage not in found.stages:
        return ""
    if stage == "load" and found.load_is_mixed:
        return "see below"
    return figure(milliseconds, found.mean_s(stage), "pass", stage, found.model, found.engine)


def _load_by_state(run: RunRecord, found: PassFigure) -> Text:
    states = (
        text(
            "{ms} ms {state} ({samples} samples)",
            ms=figure(milliseconds, fmean(seconds), "pass", "load", found.model, found.engine, state),
            state=state,
            samples=str(len(seconds)),
        )
        for state, seconds in load_s_by_state(found.records).items()
    )
    model = label(run, found.model, found.engine)
    return text("load of {model}, which the totals mix: {states}.", model=model, states=joined(states, ", "))


def _synchronisation(run: RunRecord, figures: list[PassFigure]) -> Iterator[Text]:
    """What waiting for the GPU adds; on a CPU there is nothing to wait for."""
    for each in figures if run.header.on_gpu else ():
        gap = synchronisation_overhead(run, each.model, each.engine)
        if gap is not None:
            yield text(
                "Synchronising between the stages adds {gap} % to a sample of {model}.",
                gap=figure(change, gap, "sync_gap", each.model, each.engine),
                model=label(run, each.model, each.engine),
            )


def _bar(run: RunRecord, found: PassFigure) -> charts.Bar:
    total = mean_interval(list(found.total_s.values()))
    return charts.Bar(
        label(run, found.model, found.engine),
        tuple((stage, 1000 * found.mean_s(stage), STAGE_COLOURS[stage]) for stage in found.stages),
        1000 * total.low if total else None,
        1000 * total.high if total else None,
        milliseconds(found.mean_total_s),
    )


def _comparison(run: RunRecord, found: Comparison) -> Section:
    target, engine, draft = found.target, found.engine, run.header.draft or ""
    rows: list[list[Text]] = [
        [
            STAGE_NUMBERS[stage] + (" (mixed)" if stage == 1 and found.load_is_mixed else ""),
            *_speedup_cells(found.stages[stage], "pass", f"stage{stage}", target, engine),
            figure(times, found.stages[stage].factor, name_of_speedup(found, stage)),
            ends(speedup_interval(run, found, stage), times, name_of_speedup(found, stage)),
            _share(found.share_of_target_time(stage), "share_of_target_time", f"stage{stage}", target, engine),
            _share(found.share_of_time_saved(stage), "share_of_time_saved", f"stage{stage}", target, engine),
        ]
        for stage in LEGACY_STAGES
    ]
    rows.append(
        [
            "total",
            *_speedup_cells(found.total, "total", target, engine),
            figure(times, found.total.factor, name_of_speedup(found)),
            ends(speedup_interval(run, found), times, name_of_speedup(found)),
            "100",
            "100" if found.total.saved_s > 0 else "nothing saved",
        ]
    )
    gated = stage1_speedup(run, target)
    if gated:
        factor = figure(times, gated.factor, "speedup", "stage1", target)
        rows.append(
            [f"1 load ({gated_load(run, target)})", *_speedup_cells(gated, "stage1", target), factor, "", "", ""]
        )
    columns = [
        "stage", f"{draft} ms", f"{target} ms", "faster", "95 % interval", f"% of {target}'s time", "% of time saved",
    ]  # fmt: skip
    blocks: list[Block] = [Table(columns, rows)]
    if found.total.saved_s > 0:
        blocks.append(_shares_chart(found))
    if found.tokens_factor and found.pace_factor:
        blocks.append(Sentences([_split(found, found.tokens_factor, found.pace_factor)]))
    lead = (
        f"{found.total.samples} samples. Faster is mean over mean; the interval is of the samples' own ratios. "
        f"Where {target} spends its time and where the speedup comes from are two questions, so there are two shares."
    )
    title = f"{draft} vs. {target}" + (f", {engine}" if len(run.header.engines) > 1 else "")
    return Section(name("beside", target, engine), title, blocks, lead, brief=True)


def _speedup_cells(found: Speedup, *names: str) -> tuple[Text, Text]:
    draft = figure(milliseconds, found.draft_mean_s, "draft", *names)
    return draft, figure(milliseconds, found.target_mean_s, "target", *names)


def _share(share: float | None, *names: str) -> Text:
    return "nothing saved" if share is None else figure(percent, share, *names)


def _shares_chart(found: Comparison) -> Chart:
    def draw() -> str:
        own = [(STAGE_NUMBERS[n], 100 * found.share_of_target_time(n), NUMBER_COLOURS[n]) for n in LEGACY_STAGES]
        saved = [(n, found.share_of_time_saved(n) or 0.0) for n in LEGACY_STAGES]
        # A stage in which the draft is slower saves less than nothing: no part of a bar.
        positive = [(STAGE_NUMBERS[n], 100 * max(part, 0), NUMBER_COLOURS[n]) for n, part in saved]
        rows = [charts.Bar(f"{found.target}'s own time", tuple(own)), charts.Bar("time saved", tuple(positive))]
        return charts.bars(rows, "%")

    return Chart("The two shares", f"where {found.target} spends its time, and where the time is saved", draw)


def _split(found: Comparison, tokens: float, pace: float) -> Text:
    """Stage 3's speedup as a product: fewer tokens, times less time per token."""
    total, names = found.stages[3].factor, ("stage3", found.target, found.engine)
    template = "Stage 3: {total} = {tokens} ({fewer} tokens) × {pace} ({faster} tokens)"
    if total > 1:
        template += "; in logarithms, which add up, {of_tokens} % and {of_pace} % of it"
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


def _samples(run: RunRecord, figures: list[PassFigure]) -> Section:
    apart = [(each, outliers(each.total_s)) for each in figures]
    groups = []
    for each, far in apart:
        places = {sample: index for index, sample in enumerate(each.total_s)}
        named = {places[sample]: sample for sample in list(far)[:MAX_NAMED]}
        values = [1000 * value for value in each.total_s.values()]
        groups.append(charts.Group(label(run, each.model, each.engine), colour(run, each.model), values, (), named))
    rows: list[list[Text]] = [
        [
            label(run, each.model, each.engine),
            sample,
            figure(milliseconds, value, "sample", "total", each.model, each.engine, sample),
            figure(times, value / each.mean_total_s, "sample", "of_mean", each.model, each.engine, sample),
        ]
        for each, far in apart
        for sample, value in list(far.items())[:MAX_LISTED]
    ]
    chart = Chart(
        "Time of every sample",
        "a point a sample, a box over the middle half, a line at the median; samples far outside have their names",
        lambda: charts.strips(groups, "ms per sample"),
    )
    blocks: list[Block] = [chart, *_tokens(run, [each for each in figures if each.mean_tokens])]
    if rows:
        blocks.append(Table(["model", "sample that stands apart", "ms", "of the mean"], rows, text_columns=2))
    hidden = sum(max(0, len(far) - MAX_LISTED) for _, far in apart)
    lead = "Far outside is more than three interquartile ranges from the middle half." + (
        f" {hidden} more stand apart than are listed." if hidden else "" if rows else " No sample is."
    )
    return Section("samples", "Samples", blocks, lead)


def _tokens(run: RunRecord, figures: list[PassFigure]) -> Iterator[Block]:
    """Time against the number of tokens, where the file has the tokens."""
    if not figures:
        return
    counts = {(each.model, each.engine): [len(record.token_ids) for record in each.records] for each in figures}

    def draw() -> str:
        groups = [
            charts.Group(
                label(run, each.model, each.engine),
                colour(run, each.model),
                counts[each.model, each.engine],
                [1000 * legacy_stage_s(record, 3) for record in each.records],
            )
            for each in figures
        ]
        return charts.cloud(groups, "output tokens", "ms of stage 3")

    rows: list[list[Text]] = [
        [
            label(run, *key),
            figure(tenths, fmean(tokens), "tokens", *key),
            figure(whole, min(tokens), "tokens_min", *key),
            figure(whole, max(tokens), "tokens_max", *key),
        ]
        for key, tokens in counts.items()
    ]
    yield Chart(
        "Time against output tokens",
        "a point a sample: tokens of its answer across, time of stage 3 (vision, prefill and decode) upwards",
        draw,
    )
    yield Table(["model", "mean tokens", "fewest", "most"], rows)
