"""Where the time goes: stages side by side, shares, tokens, samples that stand apart."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.figures.intervals import Interval, mean_interval, outliers, speedup_interval
from harness.figures.passes import PassFigure, pass_figures
from harness.figures.stages import Comparison, comparisons, legacy_stage_s, stage1_speedup
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import (
    Block,
    Chart,
    Section,
    Sentences,
    Table,
    Words,
    between,
    count,
    decimal,
    factor,
    seconds,
    share,
    words,
)
from harness.report.naming import NUMBER_COLOURS, STAGE_COLOURS, STAGE_NUMBERS, colour, label, name, name_of_speedup
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
    stages = list(dict.fromkeys(stage for figure in figures for stage in figure.stages))
    rows = tuple(
        (
            words(label(run, each.model, each.engine) + (" (mixed)" if each.load_is_mixed else "")),
            *(_stage_cell(each, stage) for stage in stages),
            words(seconds(name("pass", "total", each.model, each.engine), each.mean_total_s)),
            between(name("pass", "total", each.model, each.engine), _total_interval(each), seconds),
            words(str(len(each.records))),
        )
        for each in figures
    )
    blocks: list[Block] = [
        Chart(
            "Mean time of a sample, by stage",
            "stacked bars of milliseconds, a bar a model; the line at the end is the 95 % interval of the total",
            lambda: charts.bars([_bar(run, each) for each in figures], "ms a sample"),
        ),
        Table(("model", *(f"{stage} ms" for stage in stages), "total ms", "95 % interval", "samples"), rows),
    ]
    if any(each.load_is_mixed for each in figures):
        blocks.append(
            Sentences(
                (words("mixed: some files were read in another state than others, and the mean of load mixes them"),)
            )
        )
    lead = "The whole pass: every sample once through all stages, one after the other, as long as the answer is."
    return Section("stages", "Where the time goes", tuple(blocks), lead, brief=True)


def _stage_cell(figure: PassFigure, stage: str) -> Words:
    if stage not in figure.stages:
        return ()
    return words(seconds(name("pass", stage, figure.model, figure.engine), figure.mean_s(stage)))


def _total_interval(figure: PassFigure) -> Interval | None:
    return mean_interval(list(figure.total_s.values()))


def _bar(run: RunRecord, figure: PassFigure) -> charts.Bar:
    total = _total_interval(figure)
    return charts.Bar(
        label(run, figure.model, figure.engine),
        tuple((stage, 1000 * figure.mean_s(stage), STAGE_COLOURS[stage]) for stage in figure.stages),
        1000 * total.low if total else None,
        1000 * total.high if total else None,
        seconds("", figure.mean_total_s).text,
    )


def _comparison(run: RunRecord, comparison: Comparison) -> Section:
    target, engine = comparison.target, comparison.engine
    draft = run.header.draft or ""
    rows = [_speedup_row(run, comparison, stage) for stage in LEGACY_STAGES]
    place = name("total", target, engine)
    rows.append(
        (
            words("total"),
            words(seconds(name("draft", place), comparison.total.draft_mean_s)),
            words(seconds(name("target", place), comparison.total.target_mean_s)),
            words(factor(name_of_speedup(comparison), comparison.total.factor)),
            between(name_of_speedup(comparison), speedup_interval(run, comparison), factor),
            words("100"),
            words("100") if comparison.total.saved_s > 0 else words("nothing saved"),
        )
    )
    gated = stage1_speedup(run, target)
    if gated:
        rows.append(
            (
                words("1 load, as gated"),
                words(seconds(name("draft", "stage1", target), gated.draft_mean_s)),
                words(seconds(name("target", "stage1", target), gated.target_mean_s)),
                words(factor(name("speedup", "stage1", target), gated.factor)),
                (),
                (),
                (),
            )
        )
    columns = (
        "stage",
        f"{draft} ms",
        f"{target} ms",
        "faster",
        "95 % interval",
        f"% of {target}'s time",
        "% of time saved",
    )
    blocks: list[Block] = [Table(columns, tuple(rows))]
    split = tuple(_split(comparison))
    blocks += split[:1]
    if comparison.total.saved_s > 0:
        blocks.append(_shares_chart(comparison))
    blocks += split[1:]
    lead = (
        f"{comparison.total.samples} samples. Faster is mean over mean; the interval is of the samples' own ratios. "
        f"Where {target} spends its time and where the speedup comes from are two questions, so there are two shares."
    )
    title = f"{draft} beside {target}" + (f", {engine}" if len(run.header.engines) > 1 else "")
    return Section(name("beside", target, engine), title, tuple(blocks), lead, brief=True)


def _speedup_row(run: RunRecord, comparison: Comparison, stage: int) -> tuple[Words, ...]:
    place = name(f"stage{stage}", comparison.target, comparison.engine)
    speedup, saved = comparison.stages[stage], comparison.share_of_time_saved(stage)
    of_pass = name_of_speedup(comparison, stage)
    return (
        words(STAGE_NUMBERS[stage] + (" (mixed)" if stage == 1 and comparison.load_is_mixed else "")),
        words(seconds(name("draft", "pass", place), speedup.draft_mean_s)),
        words(seconds(name("target", "pass", place), speedup.target_mean_s)),
        words(factor(of_pass, speedup.factor)),
        between(of_pass, speedup_interval(run, comparison, stage), factor),
        words(share(name("share_of_target_time", place), comparison.share_of_target_time(stage))),
        words(share(name("share_of_time_saved", place), saved)) if saved is not None else words("nothing saved"),
    )


def _shares_chart(comparison: Comparison) -> Chart:
    def draw() -> str:
        own = [(STAGE_NUMBERS[n], 100 * comparison.share_of_target_time(n), NUMBER_COLOURS[n]) for n in LEGACY_STAGES]
        saved = [(n, comparison.share_of_time_saved(n) or 0.0) for n in LEGACY_STAGES]
        # A stage in which the draft is slower saves less than nothing: no part of a bar.
        parts = [(STAGE_NUMBERS[n], 100 * max(part, 0), NUMBER_COLOURS[n]) for n, part in saved]
        rows = [charts.Bar(f"{comparison.target}'s own time", tuple(own)), charts.Bar("time saved", tuple(parts))]
        return charts.bars(rows, "%")

    return Chart("The two shares", f"where {comparison.target} spends its time, and where the time is saved", draw)


def _split(comparison: Comparison) -> Iterator[Block]:
    """Stage 3's speedup as a product: fewer tokens, each of them faster."""
    tokens, pace, whole = comparison.tokens_factor, comparison.pace_factor, comparison.stages[3].factor
    if not tokens or not pace:
        return
    place = name("stage3", comparison.target, comparison.engine)
    sentence = words(
        "Stage 3: ",
        factor(name("split", place), whole),
        " = ",
        factor(name("tokens_factor", place), tokens),
        " fewer tokens × ",
        factor(name("pace_factor", place), pace),
        " faster tokens" if pace >= 1 else " as fast a token",
    )
    if whole > 1:
        sentence = words(
            sentence,
            "; in logarithms, which add up, ",
            share(name("log_share_of_tokens", place), math.log(tokens) / math.log(whole)),
            " % and ",
            share(name("log_share_of_pace", place), math.log(pace) / math.log(whole)),
            " % of it",
        )
    yield Sentences((words(sentence, "."),))
    steps = (
        ("fewer tokens", 1.0, tokens, "m1"),
        ("faster tokens" if pace >= 1 else "slower tokens", tokens, whole, "m2"),
        ("stage 3", 1.0, whole, "s3"),
    )
    yield Chart(
        "Where stage 3's speedup comes from",
        "two factors on a logarithmic axis, where the lengths of the bars add up to that of their product",
        lambda: charts.factors(steps, "times faster, logarithmic"),
    )


def _samples(run: RunRecord, figures: list[PassFigure]) -> Section:
    apart = {(each.model, each.engine): outliers(each.total_s) for each in figures}
    groups = []
    for each in figures:
        places = {sample: index for index, sample in enumerate(each.total_s)}
        named = {places[sample]: sample for sample in list(apart[each.model, each.engine])[:MAX_NAMED]}
        milliseconds = [1000 * value for value in each.total_s.values()]
        groups.append(
            charts.Group(label(run, each.model, each.engine), colour(run, each.model), milliseconds, (), named)
        )
    rows = tuple(
        (
            words(label(run, each.model, each.engine)),
            words(sample),
            words(seconds(name("sample", "total", each.model, each.engine, sample), value)),
            words(factor(name("sample", "of_mean", each.model, each.engine, sample), value / each.mean_total_s)),
        )
        for each in figures
        for sample, value in list(apart[each.model, each.engine].items())[:MAX_LISTED]
    )
    blocks: list[Block] = [
        Chart(
            "Time of every sample",
            "a point a sample, a box over the middle half, a line at the median; samples far outside have their names",
            lambda: charts.strips(groups, "ms a sample"),
        )
    ]
    blocks += _tokens(run, [figure for figure in figures if figure.mean_tokens])
    if rows:
        blocks.append(Table(("model", "sample that stands apart", "ms", "of the mean"), rows, text_columns=2))
    hidden = sum(max(0, len(each) - MAX_LISTED) for each in apart.values())
    lead = "Far outside is more than three interquartile ranges from the middle half." + (
        f" {hidden} more stand apart than are listed." if hidden else "" if rows else " No sample is."
    )
    return Section("samples", "Samples", tuple(blocks), lead)


def _tokens(run: RunRecord, figures: list[PassFigure]) -> Iterator[Block]:
    """Time against the number of tokens, where the file has the tokens."""
    if not figures:
        return

    def draw() -> str:
        groups = [
            charts.Group(
                label(run, each.model, each.engine),
                colour(run, each.model),
                [len(record.token_ids) for record in each.records],
                [1000 * legacy_stage_s(record, 3) for record in each.records],
            )
            for each in figures
        ]
        return charts.cloud(groups, "output tokens", "ms of stage 3")

    rows = tuple(
        (
            words(label(run, each.model, each.engine)),
            words(decimal(name("tokens", each.model, each.engine), each.mean_tokens or 0)),
            words(count(name("tokens_min", each.model, each.engine), min(len(one.token_ids) for one in each.records))),
            words(count(name("tokens_max", each.model, each.engine), max(len(one.token_ids) for one in each.records))),
        )
        for each in figures
    )
    yield Chart(
        "Time against output tokens",
        "a point a sample: tokens of its answer across, time of stage 3 (vision, prefill and decode) upwards",
        draw,
    )
    yield Table(("model", "mean tokens", "fewest", "most"), rows)
