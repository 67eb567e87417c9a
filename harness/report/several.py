"""Several results side by side: a table, and curves where they are of clips of different lengths."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import ResultFileError
from harness.figures.intervals import mean_interval, speedup_interval
from harness.figures.passes import pass_figures
from harness.figures.stages import Comparison, comparisons
from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import (
    Block,
    Chart,
    Report,
    Section,
    Table,
    Words,
    between,
    count,
    factor,
    ratio,
    seconds,
    words,
)
from harness.report.naming import colour, label, name
from harness.report.sections.highlights import unsupported
from harness.stages import LEGACY_STAGES

_DURATION = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)(ms|s)(?![a-z0-9])")


def report_of_several(found: Sequence[tuple[Path, RunRecord | None]]) -> Report:
    """Return the report of at least two results; raise ResultFileError for one that has no times."""
    for path, run in found:
        if run is None:
            raise ResultFileError(f"{path}: has answers and no times; report it by itself")
    runs = [
        (_name(path) + (f", {machine}" if part is not run else ""), part, duration_s(path, run))
        for path, run in found
        if run is not None
        for machine, part in by_machine(run).items()
    ]
    if all(length is not None for *_, length in runs):
        runs.sort(key=lambda each: each[2] or 0.0)
    return Report(
        title=f"{len(runs)} results side by side",
        source=", ".join(title for title, *_ in runs),
        conditions=(words("as each file has them: machines and options may differ"),),
        verdict=None,
        slipped=(),
        tiles=(),
        story=tuple(_story(runs)),
        not_shown=tuple(words(f"{title}: ", line) for title, run, _ in runs for line in unsupported(run)),
        sections=(*_speedups(runs), *_times(runs)),
    )


Named = tuple[str, RunRecord, float | None]


def duration_s(path: Path, run: RunRecord) -> float | None:
    """Return the length of the clips: of the embedded set as it was asked for, else as folder or file name tells."""
    embedded = str(run.header.options.get("embedded") or "").split(":")
    if len(embedded) == 3:
        return float(embedded[2])
    for text in (path.name, path.parent.name, run.header.dataset_folder or "", run.header.dataset):
        lengths = {
            float(value) / (1000 if unit == "ms" else 1)
            for value, unit in _DURATION.findall(text.lower().replace("_", " "))
        }
        if len(lengths) == 1:
            return lengths.pop()
    return None


def _name(path: Path) -> str:
    return (
        path.parent.name if path.name in {"journal.jsonl", "run.json"} else path.stem if path.is_file() else path.name
    )


def _length(length: float | None) -> str:
    return "" if length is None else f"{length:g} s"


def _speedups(runs: Sequence[Named]) -> Iterator[Section]:
    known = [(title, run, length, each) for title, run, length in runs for each in comparisons(run)]
    if not known:
        return
    rows = tuple(
        (
            words(title),
            words(label(run, each.target, each.engine)),
            words(_length(length)),
            words(count(f"{place}.samples", each.total.samples)),
            words(factor(f"{place}.speedup.total", each.total.factor)),
            between(f"{place}.speedup.total", speedup_interval(run, each), factor),
            *(words(factor(f"{place}.speedup.stage{number}", each.stages[number].factor)) for number in LEGACY_STAGES),
            words(ratio(f"{place}.agreement", each.acceptance_per_sample)) if _compared(each) else (),
        )
        for place, (title, run, length, each) in enumerate(known)
    )
    columns = (
        "result",
        "target",
        "clips",
        "samples",
        "total faster",
        "95 % interval",
        "load",
        "preprocess",
        "vision + LLM",
        "agreement",
    )
    blocks: list[Block] = [Table(columns, rows, text_columns=2)]
    lines = _by_length([(each.target, length, each.total.factor, run) for _, run, length, each in known])
    if lines:
        chart = Chart(
            "Total speedup by length of the clips",
            "a line a target",
            lambda: charts.curves(lines, "seconds of a clip, logarithmic", "times faster", logarithmic=True),
        )
        blocks.insert(0, chart)
    lead = (
        "Over the samples that both models have. Faster is mean over mean; the interval is of the samples' own ratios."
    )
    yield Section("speedups", "Speedups", tuple(blocks), lead, brief=True)


def _compared(found: Comparison) -> int:
    return sum(each.compared for each in found.agreements.values())


def _times(runs: Sequence[Named]) -> Iterator[Section]:
    known = [(title, run, length, each) for title, run, length in runs for each in pass_figures(run)]
    if not known:
        return
    rows = tuple(
        (
            words(title),
            words(label(run, each.model, each.engine)),
            words(_length(length)),
            words(str(len(each.records))),
            words(seconds(name(str(place), "total", each.model), each.mean_total_s)),
            between(name(str(place), "total", each.model), mean_interval(list(each.total_s.values())), seconds),
        )
        for place, (title, run, length, each) in enumerate(known)
    )
    blocks: list[Block] = [
        Table(("result", "model", "clips", "samples", "ms a sample", "95 % interval"), rows, text_columns=2)
    ]
    lines = _by_length([(each.model, length, 1000 * each.mean_total_s, run) for _, run, length, each in known])
    if lines:
        chart = Chart(
            "Time of a sample by length of the clips",
            "a line a model",
            lambda: charts.curves(lines, "seconds of a clip, logarithmic", "ms a sample", logarithmic=True),
        )
        blocks.insert(0, chart)
    yield Section("times", "Times", tuple(blocks), "Mean time of a sample, all stages.", brief=True)


def _by_length(points: Sequence[tuple[str, float | None, float, RunRecord]]) -> list[charts.Group]:
    """Return a line for each model over the lengths; none where there are fewer than two lengths."""
    lengths = {length for _, length, _, _ in points}
    if None in lengths or len(lengths) < 2:
        return []
    lines = []
    for model in dict.fromkeys(model for model, *_ in points):
        of_model = [(length, value, run) for each, length, value, run in points if each == model and length is not None]
        lines.append(
            charts.Group(
                model, colour(of_model[0][2], model), [each[0] for each in of_model], [each[1] for each in of_model]
            )
        )
    return lines


def _story(runs: Sequence[Named]) -> Iterator[Words]:
    known = [(title, each) for title, run, _ in runs for each in comparisons(run)]
    if known:
        (least_title, least), (most_title, most) = (
            pick(known, key=lambda item: item[1].total.factor) for pick in (min, max)
        )
        yield words(
            "The total speedup goes from ",
            factor("least.speedup", least.total.factor),
            f" ({least_title}, {least.target}) to ",
            factor("most.speedup", most.total.factor),
            f" ({most_title}, {most.target}).",
        )
