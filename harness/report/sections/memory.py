"""Where the memory goes: peaks per stage against what the machine has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.figures.stages import peak_bytes
from harness.records.lines import RunRecord
from harness.records.quantities import MIB
from harness.report import charts
from harness.report.blocks import Chart, Section, Table, Text, figure
from harness.report.formatting import mebibytes, percent, with_unit
from harness.report.naming import STAGE_COLOURS, colour

GIB = 1024 * MIB


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the peaks, where any were measured."""
    peaks = peak_bytes(run)
    if not peaks:
        return
    models = [model for model in run.header.models if any(key[0] == model for key in peaks)]
    stages = dict.fromkeys(stage for _, stage in peaks)
    card = capacity(run)
    rows: list[list[Text]] = [
        [
            stage,
            *(
                figure(mebibytes, peaks[model, stage], "memory", stage, model) if (model, stage) in peaks else ""
                for model in models
            ),
        ]
        for stage in stages
    ]
    if card:
        highest = {model: max(value for (key, _), value in peaks.items() if key == model) for model in models}
        of_card = (figure(percent, highest[model] / card, "memory", "of_card", model) for model in models)
        rows.append([f"highest, % of {with_unit(card)}", *of_card])
    line = card if card and card < 4 * max(peaks.values()) else None  # else the peaks would be squeezed
    chart = Chart(
        "Peak of each stage",
        "a row a model, a point a stage, in GiB" + (", and a line where the card is full" if line else ""),
        lambda: _draw(run, models, peaks, line),
    )
    lead = f"Memory rounds are never timed ones. Shown is the highest peak: {kind(run)}."
    table = Table(["stage", *(f"{model} MiB" for model in models)], rows)
    yield Section("memory", "Where the memory goes", [chart, table], lead)


def capacity(run: RunRecord) -> int | None:
    """Return the bytes that the card has, on the CPU the host; None where the record does not tell."""
    gpu = run.header.environment.get("gpu")
    place = gpu if run.header.on_gpu else run.header.environment
    found: int | None = (place or {}).get("memory_bytes")
    return found


def kind(run: RunRecord) -> str:
    """Return in words what kind of memory is counted."""
    if run.header.on_gpu:
        return "allocated on the GPU"
    return "resident set of the process" if run.header.device == "cpu" else "as the file has it"


def _draw(run: RunRecord, models: Sequence[str], peaks: Mapping[tuple[str, str], int], line: int | None) -> str:
    rows = [
        (
            model,
            [
                (stage, value / GIB, STAGE_COLOURS.get(stage, colour(run, model)))
                for (key, stage), value in peaks.items()
                if key == model
            ],
        )
        for model in models
    ]
    return charts.dots(rows, f"GiB, {kind(run)}", (line / GIB, f"{line / GIB:.0f} GiB") if line else None)
