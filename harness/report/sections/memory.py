"""Where the memory goes: peaks per stage against what the machine has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.figures.stages import MIB, peak_bytes
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import Chart, Section, Table, share, size, words
from harness.report.naming import STAGE_COLOURS, colour, name

GIB = 1024 * MIB


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the peaks, where any were measured."""
    peaks = peak_bytes(run)
    if not peaks:
        return
    models = [model for model in run.header.models if any(key[0] == model for key in peaks)]
    stages = list(dict.fromkeys(stage for _, stage in peaks))
    card = capacity(run)
    rows = tuple(
        (
            words(stage),
            *(
                words(size(name("memory", stage, model), peaks[model, stage])) if (model, stage) in peaks else ()
                for model in models
            ),
        )
        for stage in stages
    )
    highest = {model: max(value for (key, _), value in peaks.items() if key == model) for model in models}
    if card:
        of_card = (words(share(name("memory", "of_card", model), highest[model] / card)) for model in models)
        rows += ((words(f"highest, % of {size('', card, unit=True).text}"), *of_card),)
    blocks = (
        Chart(
            "Peak of each stage",
            "a row a model, a point a stage, in GiB"
            + (", and a line where the card is full" if _near(card, peaks) else ""),
            lambda: _draw(run, models, peaks, card),
        ),
        Table(("stage", *(f"{model} MiB" for model in models)), rows),
    )
    lead = f"Memory rounds are never timed ones. Shown is the highest peak: {kind(run)}."
    yield Section("memory", "Where the memory goes", blocks, lead)


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


def _near(card: int | None, peaks: Mapping[tuple[str, str], int]) -> bool:
    """Whether the card's size can be drawn beside the peaks without squeezing them."""
    return card is not None and card < 4 * max(peaks.values())


def _draw(run: RunRecord, models: Sequence[str], peaks: Mapping[tuple[str, str], int], card: int | None) -> str:
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
    line = (card / GIB, f"{card / GIB:.0f} GiB") if card and _near(card, peaks) else None
    return charts.dots(rows, f"GiB, {kind(run)}", line)
