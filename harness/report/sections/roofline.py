"""How far each stage on the device is from what the device could do: the roofline."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.roofline import StageRoofline, rooflines
from harness.records.lines import MachineRecord, RunRecord
from harness.report import charts
from harness.report.blocks import Chart, Section, Sentences, Table, Text, figure, joined, text
from harness.report.formatting import milliseconds, percent, significant
from harness.report.naming import colour, label


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the fractions of the roofline, where the stages' work and the machine's rates are known."""
    found = rooflines(run)
    if not found or run.machine is None:
        return
    bars = [
        charts.Bar(
            label(
                run, each.model, None, each.stage, *([each.engine] if len(run.header.engines) > 1 else []), each.variant
            ),
            (("of the roofline", 100 * each.fraction, colour(run, each.model)),),
            note=f"{100 * each.fraction:.0f} %",
        )
        for each in found
    ]
    columns = (
        "stage", "model", "roofline ms", "% of roofline", "bound by", "GB/s", "TFLOP/s", "roofline ms per token",
        "tokens/s",
    )  # fmt: skip
    blocks = (
        Chart(
            "Fraction of the roofline",
            "a bar a stage, in percent: at 100 the stage is as fast as the device allows",
            lambda: charts.bars(bars, "roofline's time in % of the measured time", legend=False),
        ),
        Table(columns, [_row(run, each) for each in found], text_columns=2),
        Sentences([_machine(run.machine)]),
    )
    lead = (
        "The roofline is the time in which the device could move a stage's bytes or do its operations, whichever takes "
        "longer, at the rates measured in this run. A stage at 100 % cannot get faster on this device."
    )
    yield Section("floors", "Distance from the roofline", blocks, lead, brief=True)


def _row(run: RunRecord, found: StageRoofline) -> list[Text]:
    names = (found.stage, found.model, found.engine, found.variant)
    per_token, tokens_per_s = found.roofline_ms_per_token, found.tokens_per_s
    return [
        label(run, found.stage, found.engine, f"({found.variant})" if found.variant else ""),
        found.model,
        figure(milliseconds, found.roofline_s, "floor", *names),
        figure(percent, found.fraction, "share_of_floor", *names),
        found.bound_by,
        figure(significant, found.bytes_per_s / 1e9, "gigabytes_per_s", *names),
        figure(significant, found.operations_per_s / 1e12, "teraflops", *names),
        figure(significant, per_token, "floor_ms_per_token", *names) if per_token else "",
        figure(significant, tokens_per_s, "tokens_per_s", *names) if tokens_per_s else "",
    ]


def _machine(machine: MachineRecord) -> Text:
    rates = (
        text(
            "{rate} TFLOP/s in products of {dtype}",
            rate=figure(significant, rate / 1e12, "machine", dtype),
            dtype=dtype,
        )
        for dtype, rate in machine.operations_per_s.items()
    )
    return text(
        "The device reads {read} GB/s, copies {copy} GB/s, and computes {rates}.",
        read=figure(significant, machine.read_bytes_per_s / 1e9, "machine.read"),
        copy=figure(significant, machine.copy_bytes_per_s / 1e9, "machine.copy"),
        rates=joined(rates, ", "),
    )
