"""Stages measured by themselves, the first time through each, ways of doing one thing, and files loaded ahead."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from harness.figures.passes import pass_figures, passes, samples_per_second, throughput
from harness.figures.stages import StageFigure, stage_figures, times_faster
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import Block, Chart, Section, Table, Text, figure
from harness.report.formatting import hundredths, mebibytes, milliseconds, percent, times, whole
from harness.report.naming import colour, label


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield what the stage tests have to say, and the passes with files loaded ahead."""
    figures = stage_figures(run)
    if figures:
        yield _by_themselves(run, figures)
    rows = list(_throughput_rows(run))
    if rows:
        ranks = len({each.rank for each in run.passes if each.kind == "throughput"})
        lead = (
            "Every sample once, its files loaded ahead of the model by "
            f"{run.header.options.get('loader_workers')} threads"
            + (f", by {ranks} ranks together." if ranks > 1 else ".")
        )
        columns = ("model", "samples/s", "samples/s, one after the other")
        yield Section("throughput", "Throughput", [Table(columns, rows, in_summary=True)], lead, brief=True)


def _by_themselves(run: RunRecord, figures: list[StageFigure]) -> Section:
    rows: list[list[Text]] = []
    for each in figures:
        names = (each.stage, each.model, each.engine, each.variant, each.state)
        how = ", ".join(filter(None, (each.variant, each.state)))
        per_token = (
            figure(hundredths, each.median_ms_per_token, "ms_per_token", *names) if each.median_ms_per_token else ""
        )
        rows.append(
            [
                label(run, each.stage, each.engine, f"({how})" if how else ""),
                each.model,
                figure(milliseconds, each.seconds.median, "time", *names),
                figure(percent, each.seconds.relative_spread, "spread", *names),
                figure(milliseconds, each.cold_s, "first", *names),
                figure(whole, each.seconds.n, "rounds", *names),
                per_token,
            ]
        )
    columns = ("stage", "model", "median ms", "± %", "first ms", "rounds", "ms per token")
    lead = (
        "Each stage by itself, its input made before the clock starts. "
        "±: half the interquartile range over the median. "
        "The first time is what the first request pays: cold files, libraries and kernels set up on first use."
    )
    table = Table(columns, rows, text_columns=2, in_summary=not pass_figures(run))
    blocks = [table, *_cold_start(run, figures)]
    return Section("stage-tests", "Stages by themselves, and cold start", blocks, lead, brief=True)


def _cold_start(run: RunRecord, figures: list[StageFigure]) -> Iterator[Block]:
    shown = [
        (
            f"{each.model} {label(run, each.stage, each.engine)}",
            1000 * each.seconds.median,
            1000 * each.cold_s,
            colour(run, each.model),
        )
        for each in figures
        if not each.variant and each.is_most_common
    ]
    yield Chart(
        "First time through a stage",
        "two points a row on a logarithmic axis: the median of the timed rounds, and the very first time",
        lambda: charts.dumbbells(shown, "ms, logarithmic", ("median", "first time")),
    )
    first = {each.model: each for each in reversed(run.models)}
    rows: list[list[Text]] = [
        [
            model,
            figure(hundredths, each.load_s, "load_s", model),
            figure(mebibytes, each.memory_bytes, "weights", model),
        ]
        for model, each in reversed(first.items())
    ]
    if rows:
        yield Table(("model", "loaded in s, first time", "weights MiB"), rows)


def ways(run: RunRecord) -> Iterator[Section]:
    """Yield the ways of doing one thing, where some were timed in turn."""
    rows: list[list[Text]] = [
        [
            each.what,
            each.way,
            each.reference,
            figure(milliseconds, median(each.way_s), "way", str(place)),
            figure(milliseconds, median(each.reference_s), "reference", str(place)),
            figure(times, times_faster(each.way_s, each.reference_s), "ways", str(place)),
            str(len(each.way_s)),
        ]
        for place, each in enumerate(run.side_by_side)
    ]
    if rows:
        columns = ("what", "way", "reference", "ms", "reference ms", "faster", "pairs")
        lead = (
            "Two ways of doing one thing, timed in turn on the same input; faster is the median over pairs of rounds."
        )
        yield Section("ways", "Readers and other ways", [Table(columns, rows, text_columns=3)], lead)


def _throughput_rows(run: RunRecord) -> Iterator[list[Text]]:
    for model in run.header.models:
        for engine in run.header.engines:
            ahead = throughput(run, model, engine)
            if ahead is not None:
                alone = samples_per_second(passes(run, "whole", model, engine).values())
                yield [
                    label(run, model, engine),
                    figure(hundredths, ahead, "throughput", model, engine),
                    figure(hundredths, alone, "alone", model, engine) if alone else "",
                ]
