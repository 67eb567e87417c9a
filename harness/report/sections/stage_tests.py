"""Stages measured by themselves, the first time through each, ways of doing one thing, and files loaded ahead."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.stages import StageFigure, passes, samples_per_second, stage_figures, throughput, times_faster
from harness.figures.summary import median
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import (
    Block,
    Chart,
    Figure,
    Section,
    Table,
    Words,
    count,
    decimal,
    factor,
    seconds,
    share,
    size,
    words,
)
from harness.report.naming import colour, label, name


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield what the stage tests have to say, and the passes with files loaded ahead."""
    figures = stage_figures(run)
    if figures:
        yield _by_themselves(run, figures)
    rows = tuple(_throughput_rows(run))
    if rows:
        workers = run.header.options.get("loader_workers")
        lead = f"Every sample once, its files loaded ahead of the model by {workers} threads."
        columns = ("model", "samples a second", "one after the other")
        yield Section("throughput", "Throughput", (Table(columns, rows),), lead, brief=True)


def _by_themselves(run: RunRecord, figures: list[StageFigure]) -> Section:
    rows = tuple(
        (
            words(_stage(run, each)),
            words(each.model),
            words(seconds(_name("time", each), each.seconds.median)),
            words(share(_name("spread", each), each.seconds.relative_spread)),
            words(seconds(_name("first", each), each.cold_s)),
            words(count(_name("rounds", each), each.seconds.n)),
            words(decimal(_name("ms_per_token", each), each.ms_per_token, 2)) if each.ms_per_token else (),
        )
        for each in figures
    )
    columns = ("stage", "model", "median ms", "± %", "first ms", "rounds", "ms a token")
    lead = (
        "Each stage by itself, its input made before the clock starts. "
        "±: half the interquartile range over the median. "
        "The first time is what the first request pays: cold files, libraries and kernels set up on first use."
    )
    blocks = (Table(columns, rows, text_columns=2), *_cold_start(run, figures))
    return Section("stage-tests", "Stages by themselves, and cold start", blocks, lead, brief=True)


def _cold_start(run: RunRecord, figures: list[StageFigure]) -> Iterator[Block]:
    shown = [each for each in figures if not each.variant and each.is_most_common]
    rows = [
        (
            f"{each.model} {label(run, each.stage, each.engine)}",
            1000 * each.seconds.median,
            1000 * each.cold_s,
            colour(run, each.model),
        )
        for each in shown
    ]
    yield Chart(
        "First time through a stage",
        "two points a row on a logarithmic axis: the median of the timed rounds, and the very first time",
        lambda: charts.dumbbells(rows, "ms, logarithmic", ("median", "first time")),
    )
    if run.models:
        first = {each.model: each for each in reversed(run.models)}
        loaded = tuple(
            (
                words(model),
                words(decimal(name("load_s", model), each.load_s, 2)),
                words(size(name("weights", model), each.memory_bytes)),
            )
            for model, each in reversed(first.items())
        )
        yield Table(("model", "loaded in s, first time", "weights MiB"), loaded)


def ways(run: RunRecord) -> Iterator[Section]:
    """Yield the ways of doing one thing, where some were timed beside each other."""
    if not run.side_by_side:
        return
    rows = tuple(
        (
            words(each.what),
            words(each.way),
            words(each.reference),
            words(seconds(name("way", str(place)), median(each.way_s))),
            words(seconds(name("reference", str(place)), median(each.reference_s))),
            words(factor(name("ways", str(place)), times_faster(each))),
            words(str(len(each.way_s))),
        )
        for place, each in enumerate(run.side_by_side)
    )
    columns = ("what", "way", "beside", "ms", "beside ms", "faster", "pairs")
    lead = (
        "Two ways of doing one thing, timed in turn on the same input; faster is the median over the pairs of rounds."
    )
    yield Section("ways", "Readers and other ways", (Table(columns, rows, text_columns=3),), lead)


def _throughput_rows(run: RunRecord) -> Iterator[tuple[Words, ...]]:
    for model in run.header.models:
        for engine in run.header.engines:
            ahead = throughput(run, model, engine)
            if ahead is not None:
                alone = samples_per_second(passes(run, "whole", model, engine).values())
                place = name(model, engine)
                beside: tuple[Figure, ...] = (decimal(f"alone.{place}", alone, 2),) if alone else ()
                yield words(label(run, model, engine)), words(decimal(f"throughput.{place}", ahead, 2)), words(beside)


def _stage(run: RunRecord, figure: StageFigure) -> str:
    how = ", ".join(filter(None, (figure.variant, figure.state)))
    return label(run, figure.stage, figure.engine, f"({how})" if how else "")


def _name(kind: str, figure: StageFigure) -> str:
    return name(kind, figure.stage, figure.model, figure.engine, figure.variant, figure.state)
