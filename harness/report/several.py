"""Several results side by side: tables, and curves where their clips have different lengths."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.errors import ResultFileError
from harness.figures.intervals import mean_interval
from harness.figures.passes import PassFigure, comparisons, pass_figures
from harness.figures.stages import peak_bytes
from harness.grouping import grouped
from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import Block, Chart, Report, Section, Table, Text, cell, ends, figure, joined, text
from harness.report.formatting import fraction, mebibytes, milliseconds, tenths, times, whole
from harness.report.naming import colour, label
from harness.report.sections.highlights import caveats
from harness.report.sections.recorded import contradictions, notes
from harness.stages import LEGACY_STAGES

_DURATION = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)(ms|s)(?![a-z0-9])")


class Result(NamedTuple):
    """One result: its name, its record, and the length of its clips in seconds and as text, where known."""

    title: str
    run: RunRecord
    clip_s: float | None
    clips: str


def report_of_several(found: Sequence[tuple[Path, RunRecord | None]]) -> Report:
    """Return the report of at least two results; raise ResultFileError for one that has no times."""
    results = []
    places = [path.parent if path.name in {"journal.jsonl", "run.json"} else path for path, _ in found]
    titles = [place.stem if place.is_file() else place.resolve().name for place in places]
    for (path, run), place, title in zip(found, places, titles, strict=True):
        if [each.resolve() for each in places].count(place.resolve()) > 1:
            raise ResultFileError(f"{path}: is given twice; name each result once")
        if run is None:
            raise ResultFileError(f"{path}: has answers and no times; report it by itself")
        for machine, part in by_machine(run).items():
            clip_s = duration_s(path, run)
            name = title if titles.count(title) == 1 else str(place)
            name += f", {machine}" if part is not run else ""
            results.append(Result(name, part, clip_s, "" if clip_s is None else f"{clip_s:g} s"))
    if all(each.clip_s is not None for each in results):
        results.sort(key=lambda each: each.clip_s or 0.0)
    known = [(each.title, found) for each in results for found in comparisons(each.run)]
    ranges: list[Text] = []
    if len(known) > 1:
        slowest, low = min(known, key=lambda item: item[1].total.factor)
        fastest, high = max(known, key=lambda item: item[1].total.factor)
        ranges.append(
            text(
                "The total speedup ranges from {low} ({low_of}) to {high} ({high_of}).",
                low=figure(times, low.total.factor, "least.speedup"),
                low_of=f"{slowest}, {low.target}",
                high=figure(times, high.total.factor, "most.speedup"),
                high_of=f"{fastest}, {high.target}",
            )
        )
    warnings: list[tuple[Text, str]] = []
    for each in results:
        warnings += [] if pass_figures(each.run) else [(f"{each.title}: no whole pass, so no row.", "")]
        warnings += [(joined([each.title, line], ": "), way_out) for line, way_out in contradictions(each.run)]
    oddities = [f"{each.title}: {note}" for each in results for note in each.run.notes]
    return Report(
        title=f"{len(results)} results side by side",
        source=", ".join(each.title for each in results),
        conditions=["as each file has them: machines and options may differ"],
        highlights=ranges,
        warnings=warnings,
        caveats=[joined([each.title, line], ": ") for each in results for line in caveats(each.run)],
        sections=[*_speedups(results), *_times(results), *notes(oddities)],
    )


def duration_s(path: Path, run: RunRecord) -> float | None:
    """Return the length of the clips in seconds, from --embedded or else from a file or folder name."""
    embedded = str(run.header.options.get("embedded") or "").split(":")
    if len(embedded) == 3:
        return float(embedded[2])
    dataset = run.header.dataset
    for place in (path.name, Path(dataset).name, path.parent.name, run.header.dataset_folder or "", dataset):
        lengths = {
            float(value) / (1000 if unit == "ms" else 1)
            for value, unit in _DURATION.findall(place.lower().replace("_", " "))
        }
        if len(lengths) == 1:
            return lengths.pop()
    return None


def _speedups(results: Sequence[Result]) -> Iterator[Section]:
    known = [(each, found) for each in results for found in comparisons(each.run)]
    if not known:
        return
    rows: list[list[Text]] = [
        [
            each.title,
            label(each.run, found.target, found.engine),
            each.clips,
            figure(whole, found.total.samples, f"{place}.samples"),
            figure(times, found.total.factor, f"{place}.speedup.total"),
            ends(found.total.interval, times, f"{place}.speedup.total"),
            *(figure(times, found.stages[number].factor, f"{place}.speedup.stage{number}") for number in LEGACY_STAGES),
            figure(fraction, found.agreement_per_sample, f"{place}.agreement")
            if any(agreed.compared for agreed in found.agreements.values())
            else "",
        ]
        for place, (each, found) in enumerate(known)
    ]
    columns = (
        "result", "target", "clips", "samples", "total faster", "95 % interval", "load", "preprocess", "vision + LLM",
        "agreement",
    )  # fmt: skip
    lead = "Over the samples that both models have, mean over mean."
    points = [(found.target, each, found.total.factor) for each, found in known]
    chart = _by_length("Total speedup", "target", "times faster", points)
    table = Table(columns, rows, text_columns=2, in_summary=True)
    yield Section("speedups", "Speedups", [*chart, table], lead, brief=True, folded=False)


def _times(results: Sequence[Result]) -> Iterator[Section]:
    known = [(each, found) for each in results for found in pass_figures(each.run)]
    if not known:
        return
    rows = [_row_of_times(str(place), each, found) for place, (each, found) in enumerate(known)]
    points = [(found.model, each, 1000 * found.mean_total_s) for each, found in known]
    chart = _by_length("Time of a sample", "model", "ms per sample", points)
    columns = ("result", "model", "clips", "samples", "ms per sample", "95 % interval", "mean tokens", "peak MiB")
    lead = "Mean time of a sample, all stages; new tokens, and the highest peak of memory, where they are recorded."
    yield Section("times", "Times", [*chart, Table(columns, rows, text_columns=2)], lead, brief=True, folded=False)


def _row_of_times(place: str, each: Result, found: PassFigure) -> list[Text]:
    peaks = [size for (model, _), size in peak_bytes(each.run).items() if model == found.model]
    return [
        each.title,
        label(each.run, found.model, found.engine),
        each.clips,
        str(len(found.records)),
        figure(milliseconds, found.mean_total_s, place, "total", found.model),
        ends(mean_interval(found.total_s.values()), milliseconds, place, "total", found.model),
        cell(tenths, found.mean_tokens, place, "tokens", found.model),
        cell(mebibytes, max(peaks, default=None), place, "peak", found.model),
    ]


def _by_length(title: str, whose: str, y_label: str, points: Sequence[tuple[str, Result, float]]) -> list[Block]:
    """Return a chart with a line per model over the clips' lengths; none for fewer than two lengths."""
    lengths = {each.clip_s for _, each, _ in points}
    if None in lengths or len(lengths) < 2:
        return []
    of_model = grouped((model, (each, value)) for model, each, value in points)
    lines = []
    for model, found in of_model.items():
        run, x = found[0][0].run, [each.clip_s or 0.0 for each, _ in found]
        lines.append(charts.Group(label(run, model), colour(run, model), x, [value for _, value in found]))
    title, x_label = f"{title} by length of the clips", "seconds of a clip, logarithmic"
    return [Chart(title, f"one line per {whose}", lambda: charts.curves(lines, x_label, y_label))]
