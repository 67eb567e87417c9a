"""How far each stage on the device is from what the device could do."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.roofline import StageFloor, floors
from harness.records.lines import MachineRecord, RunRecord
from harness.report import charts
from harness.report.blocks import Chart, Section, Sentences, Table, Words, seconds, share, significant, words
from harness.report.naming import colour, label, name


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the distances, where the stages' work and the machine's rates are known."""
    found = floors(run)
    if not found or run.machine is None:
        return
    bars = [
        charts.Bar(
            label(
                run, each.model, None, each.stage, each.engine if len(run.header.engines) > 1 else None, each.variant
            ),
            (("of the floor", 100 * each.share, colour(run, each.model)),),
            note=f"{100 * each.share:.0f} %",
        )
        for each in found
    ]
    blocks = (
        Chart(
            "Share of the floor in the measured time",
            "a bar a stage, in percent: at 100 the stage is as fast as the device allows",
            lambda: charts.bars(bars, "the floor in % of the measured time", legend=False),
        ),
        Table(
            (
                "stage",
                "model",
                "floor ms",
                "floor is % of the time",
                "bound by",
                "GB/s",
                "TFLOP/s",
                "floor ms a token",
                "tokens/s",
            ),
            tuple(_row(run, each) for each in found),
            text_columns=2,
        ),
        Sentences((_machine(run.machine),)),
    )
    lead = (
        "The floor is the time in which the device could move a stage's bytes, or do its operations, whichever takes "
        "longer, at the rates that it showed in this run."
    )
    yield Section("floors", "Distance from the hardware's floor", blocks, lead, brief=True)


def _row(run: RunRecord, found: StageFloor) -> tuple[Words, ...]:
    place = name(found.stage, found.model, found.engine, found.variant)
    return (
        words(label(run, found.stage, found.engine, f"({found.variant})" if found.variant else "")),
        words(found.model),
        words(seconds(name("floor", place), found.floor_s)),
        words(share(name("share_of_floor", place), found.share)),
        words(found.bound_by),
        words(significant(name("gigabytes_per_s", place), found.bytes_per_s / 1e9)),
        words(significant(name("teraflops", place), found.operations_per_s / 1e12)),
        words(significant(name("floor_ms_per_token", place), found.floor_ms_per_token))
        if found.floor_ms_per_token
        else (),
        words(significant(name("tokens_per_s", place), found.tokens_per_s)) if found.tokens_per_s else (),
    )


def _machine(machine: MachineRecord) -> Words:
    rates = [
        part
        for dtype, rate in machine.operations_per_s.items()
        for part in (", ", significant(name("machine", dtype), rate / 1e12), f" TFLOP/s in products of {dtype}")
    ]
    return words(
        "The device: reads ",
        significant("machine.read", machine.read_bytes_per_s / 1e9),
        " GB/s, copies ",
        significant("machine.copy", machine.copy_bytes_per_s / 1e9),
        " GB/s",
        *rates,
        ".",
    )
