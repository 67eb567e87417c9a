"""Where the memory goes: on a GPU peaks against what the card has, on a CPU how far the process grew."""

from collections.abc import Iterator

from harness.figures.stages import peak_bytes
from harness.records.lines import RunRecord
from harness.report.blocks import Section, Table, Text, cell, figure
from harness.report.formatting import mebibytes, percent, with_unit
from harness.report.naming import label


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the sizes, where any were measured."""
    on_host = run.header.device == "cpu"
    # A process hardly gives memory back: on a CPU its peak tells in which order the tests ran.
    sizes = peak_bytes(run, growth=on_host)
    if not sizes:
        return
    card = capacity(run)
    what = "growth" if on_host else "memory"
    models = [model for model in run.header.models if any(key[0] == model for key in sizes)]
    rows: list[list[Text]] = [
        [stage, *(cell(mebibytes, sizes.get((model, stage)), what, stage, model) for model in models)]
        for stage in dict.fromkeys(stage for _, stage in sizes)
    ]
    if card:
        highest = {model: max(value for (key, _), value in sizes.items() if key == model) for model in models}
        of_card = (figure(percent, highest[model] / card, "memory", "of_card", model) for model in models)
        rows.append([f"highest, % of {with_unit(card)}", *of_card])
    counted = "growth of the process in a stage" if on_host else kind(run)
    lead = f"Memory rounds are never timed ones. Shown is the highest of them: {counted}."
    columns = ["stage", *(f"{label(run, model)} MiB" for model in models)]
    yield Section("memory", "Where the memory goes", [Table(columns, rows)], lead)


def capacity(run: RunRecord) -> int | None:
    """Return the bytes that the card has; None where the record does not tell."""
    found: int | None = (run.header.environment.get("gpu") or {}).get("memory_bytes")
    return found if run.header.on_gpu else None


def kind(run: RunRecord) -> str:
    """Return in words what kind of memory is counted."""
    return "allocated on the GPU" if run.header.on_gpu else "as the file has it"
