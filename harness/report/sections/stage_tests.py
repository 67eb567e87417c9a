"""Stage tests: timed rounds, cold rounds, loading of models, A/B comparisons, and throughput."""

from collections.abc import Iterator
from itertools import product
from statistics import median

from harness.figures.passes import pass_figures, passes, samples_per_second, throughput
from harness.figures.stages import StageFigure, stage_figures, times_faster
from harness.records.lines import RunRecord
from harness.report.blocks import Section, Table, Text, cell, figure, filled
from harness.report.formatting import hundredths, mebibytes, milliseconds, percent, times, whole
from harness.report.naming import label


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the section on stage tests, where there are any."""
    figures, alone = stage_figures(run), not pass_figures(run)
    if figures:
        columns = ("stage", "model", "median ms", "± %", "first ms", "rounds", "ms per token")
        table = Table(columns, [_row(run, each) for each in figures], text_columns=2, in_summary=alone)
        first = {each.model: each for each in reversed(run.models)}
        loaded: list[list[Text]] = [
            [
                label(run, model),
                figure(hundredths, each.load_s, "load_s", model),
                figure(mebibytes, each.memory_bytes, "weights", model),
            ]
            for model, each in reversed(first.items())
        ]
        blocks = filled(table, Table(("model", "loaded in s, first time", "weights MiB"), loaded))
        lead = "Each stage by itself, its input made before the clock starts."
        title = "Stages by themselves, and cold start"
        yield Section("stage-tests", title, blocks, lead, brief=True, folded=not alone)


def throughputs(run: RunRecord) -> Iterator[Section]:
    """Yield the section on throughput with files loaded ahead, where it was measured."""
    rows: list[list[Text]] = []
    for model, engine in product(run.header.models, run.header.engines):
        ahead = throughput(run, model, engine)
        if ahead is not None:
            in_turn = samples_per_second(passes(run, "whole", model, engine).values())
            ahead_cell = figure(hundredths, ahead, "throughput", model, engine)
            rows.append([label(run, model, engine), ahead_cell, cell(hundredths, in_turn, "alone", model, engine)])
    if rows:
        ranks = len({each.rank for each in run.passes if each.kind == "throughput"})
        threads = run.header.options.get("loader_workers")
        together = f", by {ranks} ranks together" if ranks > 1 else ""
        lead = f"Every sample once, its files loaded ahead of the model by {threads} threads{together}."
        table = Table(("model", "samples/s", "samples/s, one after the other"), rows, in_summary=True)
        yield Section("throughput", "Throughput", [table], lead, brief=True)


def _row(run: RunRecord, each: StageFigure) -> list[Text]:
    how = ", ".join(filter(None, (each.variant, each.state)))
    return [
        label(run, each.stage, each.engine, f"({how})" if how else ""),
        label(run, each.model),
        figure(milliseconds, each.seconds.median, "time", *each.names),
        cell(percent, each.seconds.relative_spread if each.seconds.n > 1 else None, "spread", *each.names),
        figure(milliseconds, each.cold_s, "first", *each.names),
        figure(whole, each.seconds.n, "rounds", *each.names),
        cell(hundredths, each.median_ms_per_token or None, "ms_per_token", *each.names),
    ]


def ways(run: RunRecord) -> Iterator[Section]:
    """Yield the section on A/B comparisons, where there are any."""
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
        lead = "A/B, interleaved on the same input; faster is the median over pairs of rounds."
        yield Section("ways", "Readers and other ways", [Table(columns, rows, text_columns=3)], lead)
