"""How far stages are from their floors, and what the engines are, as words and cells for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.roofline import StageFloor, floors
from harness.records.lines import EngineRecord, MachineRecord, RunRecord
from harness.report.formatting import milliseconds

COLUMNS = ("model", "stage", "floor ms", "% of time", "bound by", "GB/s", "TFLOP/s", "tokens/s")


def title(machine: MachineRecord) -> str:
    """Return what the floors are made of, as measured in this run."""
    rates = ", ".join(f"{dtype} {rate / 1e12:.3g} TFLOP/s" for dtype, rate in machine.operations_per_s.items())
    return (
        f"distance from the hardware's floor: read {machine.read_bytes_per_s / 1e9:.4g} GB/s, "
        f"copy {machine.copy_bytes_per_s / 1e9:.4g} GB/s, products of {rates}"
    )


def rows(run: RunRecord) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each stage whose floor is known, in the order of `COLUMNS`."""
    several = len(run.header.engines) > 1
    for floor in floors(run):
        stage = f"{floor.stage} {floor.engine}" if several and floor.engine else floor.stage
        yield (floor.model, stage, *_cells(floor))


def engine_line(record: EngineRecord) -> str:
    """Return what an engine is and what it took, in one line."""
    facts = record.facts
    captured = f", {facts['captures']} graphs captured in {facts['capture_s']:.2f} s" if facts["captures"] else ""
    compiled = f", {facts['compile_s']:.1f} s of compiling before" if facts["compile_s"] else ""
    made = f", {facts['compiled_graphs']} functions by torch.compile" if facts["compiled_graphs"] else ""
    late = f"; {facts['uncaptured']} calls of a shape too many for a graph" if facts["uncaptured"] else ""
    return f"{record.model} {record.engine}: {facts['kernels']}, {facts['cache_class']}{captured}{compiled}{made}{late}"


def _cells(floor: StageFloor) -> tuple[str, ...]:
    return (
        milliseconds(floor.floor_s),
        f"{100 * floor.share:.1f}",
        floor.bound_by,
        f"{floor.bytes_per_s / 1e9:.4g}",
        f"{floor.operations_per_s / 1e12:.3g}",
        f"{floor.tokens_per_s:.4g}" if floor.tokens_per_s else "",
    )
