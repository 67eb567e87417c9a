"""A sweep: runs that differ in one option, as tables and curves over its values."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from harness.figures.intervals import mean_interval
from harness.figures.passes import pass_figures, throughput
from harness.figures.roofline import rooflines
from harness.figures.stages import seconds_by_sample, stage_figures
from harness.records.fingerprint import differences, fingerprint, machine_name
from harness.records.lines import RunRecord
from harness.records.quantities import counted
from harness.report import charts
from harness.report.blocks import Block, Chart, Report, Section, Table, Text, figure
from harness.report.formatting import milliseconds, percent, significant
from harness.report.naming import STAGE_COLOURS, colour, label
from harness.stages import STAGES

FIRST, ANSWER, RATE = "first_token", "answer", "throughput"
Columns = Mapping[str, tuple[str, Callable[[float], str]]]
FIRST_COLUMNS: Columns = {
    FIRST: ("ms to first token", milliseconds),
    f"{FIRST}.low": ("95 % from", milliseconds),
    f"{FIRST}.high": ("to", milliseconds),
    ANSWER: ("ms per answer", milliseconds),
    RATE: ("answers/s", significant),
}
STAGE_COLUMNS: Columns = {
    key: column
    for stage in STAGES
    for key, column in (
        (stage, (f"{stage} ms" + (" per token" if stage == "decode" else ""), milliseconds)),
        (f"{stage}.share_of_floor", ("% of roofline", percent)),
    )
}


class Point(NamedTuple):
    """One run: the option's value as typed, as a number (times in seconds), and the run's record."""

    value: str
    x: float
    run: RunRecord


class _Row(NamedTuple):
    """Figures of one model by one engine in a run, by key of the columns; times in seconds."""

    point: Point
    names: tuple[str, str]
    values: dict[str, float]

    @property
    def label(self) -> str:
        return label(self.point.run, *self.names)


def report_of_sweep(title: str, option: str, points: Sequence[Point], problems: Sequence[str]) -> Report:
    """Return the report of at least one run."""
    first, axis = points[0].run, option.replace("_", " ")
    header = first.header
    rows = [
        _Row(point, (model, engine), values)
        for point in sorted(points, key=lambda each: each.x)
        for model in header.models
        for engine in header.engines
        if (values := _values(point.run, model, engine))
    ]
    models = ", ".join(label(first, model) for model in header.models)
    failures = [f"{option} {each.value}: {line}" for each in points for line in _failures(each.run)]
    return Report(
        title=f"{models} over {counted(len(points), 'value')} of {axis}",
        source=title,
        conditions=[
            f"model set {header.model_set} on {header.device}",
            machine_name(header.environment),
            counted(len(header.samples), "sample"),
        ],
        problems=[*problems, *failures],
        warnings=[
            (f"{option} {each.value}: {line}", "")
            for each in points
            for line in differences(fingerprint(first), fingerprint(each.run))
            if not line.startswith(f"option {option} ")
        ],
        sections=[
            section(axis, rows)
            for section, columns in ((_answers, FIRST_COLUMNS), (_stages, STAGE_COLUMNS))
            if any(columns.keys() & row.values.keys() for row in rows)
        ],
    )


def _values(run: RunRecord, model: str, engine: str) -> dict[str, float]:
    """Return the measured figures by key of the columns, and `<stage>.roofline` in seconds; decode is per token."""
    found: dict[str, float] = {}
    for each in stage_figures(run):
        if each.is_most_common and (each.model, each.engine or engine, each.variant) == (model, engine, ""):
            per_token = each.median_ms_per_token
            found[each.stage] = each.seconds.median if per_token is None else per_token / 1000
    before = [seconds_by_sample(run, model, stage, engine=engine) for stage in STAGES[:-1]]
    complete = [sample for sample in before[0] if all(sample in each for each in before)]
    if complete:
        first_s = [sum(each[sample] for each in before) for sample in complete]
        interval = mean_interval(first_s)
        found[FIRST] = fmean(first_s)
        if interval and interval.is_bounded:
            found |= {f"{FIRST}.low": interval.low, f"{FIRST}.high": interval.high}
    for whole in pass_figures(run):
        if (whole.model, whole.engine) == (model, engine):
            found[ANSWER] = whole.mean_total_s
    if rate := throughput(run, model, engine):
        found[RATE] = rate
    for floor in rooflines(run):
        if (floor.model, floor.engine, floor.variant) == (model, engine, ""):
            per_token = floor.roofline_ms_per_token
            found[f"{floor.stage}.roofline"] = floor.roofline_s if per_token is None else per_token / 1000
            found[f"{floor.stage}.share_of_floor"] = floor.fraction
    return found


def _answers(axis: str, rows: Sequence[_Row]) -> Section:
    lines = {key: [line for name in _labels(rows) for line in _line(rows, name, key)] for key in (FIRST, RATE)}
    blocks: list[Block] = [
        *_chart("Time to first token", axis, "ms, logarithmic", lines[FIRST]),
        *_chart("Throughput", axis, "answers per second, logarithmic", lines[RATE]),
        _table(axis, rows, FIRST_COLUMNS),
    ]
    lead = (
        "Time to first token: the sum of load, preprocess, vision and prefill, from medians of each sample's timed "
        "rounds; mean over samples. An answer is a whole pass. Answers/s: with files loaded ahead of the model."
    )
    return Section("first_token", "Time to first token and throughput", blocks, lead, brief=True, folded=False)


def _stages(axis: str, rows: Sequence[_Row]) -> Section:
    blocks: list[Block] = []
    for name in _labels(rows):
        lines = [line for stage in STAGES for key in (stage, f"{stage}.roofline") for line in _line(rows, name, key)]
        blocks += _chart(f"Stages of {name}", axis, "ms, logarithmic", lines)
    lead = (
        "Medians of the timed rounds; decode per token. Dashed: the roofline, the least time in which the device could "
        "move a stage's bytes or do its operations."
    )
    blocks.append(_table(axis, rows, STAGE_COLUMNS))
    return Section("stages", "Stages, and their roofline", blocks, lead, brief=True, folded=False)


def _table(axis: str, rows: Sequence[_Row], columns: Columns) -> Table:
    """Return a table with a row for each run and model, without empty columns."""
    shown = {key: column for key, column in columns.items() if any(key in row.values for row in rows)}
    cells: list[list[Text]] = [
        [
            row.point.value,
            row.label,
            *(
                figure(digits, row.values[key], row.point.value, *row.names, key) if key in row.values else ""
                for key, (_, digits) in shown.items()
            ),
        ]
        for row in rows
    ]
    return Table([axis, "model", *(name for name, _ in shown.values())], cells, text_columns=2, in_summary=True)


def _labels(rows: Sequence[_Row]) -> list[str]:
    return list(dict.fromkeys(row.label for row in rows))


def _line(rows: Sequence[_Row], name: str, key: str) -> Iterator[charts.Group]:
    """Yield the curve of one model's figure, unless fewer than two runs have it."""
    known = [row for row in rows if row.label == name and key in row.values]
    stage, _, floor = key.partition(".")
    if len(known) > 1:
        is_stage = stage in STAGES
        words = f"{stage} per token" if stage == "decode" and not floor else key.replace(".", " ")
        yield charts.Group(
            words if is_stage else name,
            STAGE_COLOURS[stage] if is_stage else colour(known[0].point.run, known[0].names[0]),
            [row.point.x for row in known],
            [row.values[key] * (1 if key == RATE else 1000) for row in known],
            dashed=bool(floor),
        )


def _chart(title: str, axis: str, y_label: str, lines: Sequence[charts.Group]) -> Iterator[Chart]:
    if lines:
        x_label = f"{axis}{', s' if axis.endswith('window') else ''}, logarithmic"
        description = f"curves over {axis}: {', '.join(line.label for line in lines)}"
        yield Chart(title, description, lambda: charts.curves(lines, x_label, y_label, both=True))


def _failures(run: RunRecord) -> list[str]:
    """Return the first three failures as text, and the number of further ones."""
    found = [*(each for stage in run.stages for each in stage.failures), *(p.failure for p in run.passes if p.failure)]
    named = (each.text if each.sample in each.text else f"{each.sample}, {each.stage}: {each.text}" for each in found)
    lines = list(dict.fromkeys(named))
    return [*lines[:3], *([f"and {len(lines) - 3} more"] if len(lines) > 3 else [])]
