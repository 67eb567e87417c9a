"""Memory by stage: on a GPU peaks, also relative to the card's memory; on a CPU the growth of the process."""

from collections.abc import Iterator

from harness.figures.stages import peak_bytes
from harness.records.lines import RunRecord
from harness.report.blocks import Section, Table, Text, cell, figure
from harness.report.formatting import mebibytes, percent, with_unit
from harness.report.naming import label


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the sizes, where any were measured."""
    on_host = run.header.device == "cpu"
    # A process hardly gives memory back, so that on a CPU its peaks only show the order of the tests.
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
    lead = f"The highest of the memory rounds, which are never timed: {counted}."
    columns = ["stage", *(f"{label(run, model)} MiB" for model in models)]
    yield Section("memory", "Where the memory goes", [Table(columns, rows)], lead)


def capacity(run: RunRecord) -> int | None:
    """Return the card's memory in bytes; None on a CPU, or where not recorded."""
    found: int | None = (run.header.environment.get("gpu") or {}).get("memory_bytes")
    return found if run.header.on_gpu else None


def kind(run: RunRecord) -> str:
    """Return words for the kind of memory that is counted."""
    return "allocated on the GPU" if run.header.on_gpu else "as recorded in the file"
