"""The roofline: time and rates of each stage relative to the device's peak rates."""

from collections.abc import Iterator

from harness.figures.roofline import StageRoofline, rooflines
from harness.records.lines import MachineRecord, RunRecord
from harness.report import charts
from harness.report.blocks import Chart, Section, Sentences, Table, Text, figure, joined, text
from harness.report.formatting import milliseconds, percent, significant
from harness.report.naming import colour, label


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the fractions of the roofline, where the stages' work and the machine's rates are known."""
    found, machine = rooflines(run), run.machine
    if not found or machine is None:
        return
    by_model: dict[str, list[StageRoofline]] = {}
    for each in found:
        by_model.setdefault(each.model, []).extend([each] if each.bytes_per_s and each.operations_per_s else [])
    groups = [
        charts.Group(
            label(run, model),
            colour(run, model),
            [each.operations_per_s / each.bytes_per_s for each in of],
            [each.operations_per_s / 1e12 for each in of],
            # Only the first model's points have labels: those of other models lie near them.
            {} if place else {each: label(run, of[each].stage, of[each].engine) for each in range(len(of))},
        )
        for place, (model, of) in enumerate(by_model.items())
    ]
    bandwidth = max(machine.read_bytes_per_s, machine.copy_bytes_per_s)
    what = "one point per stage: operations per second over operations per byte, below the device's two roofs"
    chart = Chart("Roofline", what, lambda: charts.roofline(groups, bandwidth, machine.operations_per_s))
    columns = ("stage", "model", "roofline ms", "% of roofline", "bound by", "GB/s", "TFLOP/s")
    table = Table(columns, [_row(run, each) for each in found], text_columns=2)
    lead = (
        "The time in which the device could move a stage's bytes or do its operations, whichever takes longer, at the "
        "rates measured in this run. A stage at 100 % cannot get faster on this device."
    )
    blocks = (chart, table, Sentences([_machine(machine)]))
    yield Section("floors", "Distance from the roofline", blocks, lead, brief=True)


def _row(run: RunRecord, found: StageRoofline) -> list[Text]:
    names = (found.stage, found.model, found.engine, found.variant)
    return [
        label(run, found.stage, found.engine, f"({found.variant})" if found.variant else ""),
        label(run, found.model),
        figure(milliseconds, found.roofline_s, "floor", *names),
        figure(percent, found.fraction, "share_of_floor", *names),
        found.bound_by,
        figure(significant, found.bytes_per_s / 1e9, "gigabytes_per_s", *names),
        figure(significant, found.operations_per_s / 1e12, "teraflops", *names),
    ]


def _machine(machine: MachineRecord) -> Text:
    rates = (
        (figure(significant, rate / 1e12, "machine", dtype), f" TFLOP/s in products of {dtype}")
        for dtype, rate in machine.operations_per_s.items()
    )
    return text(
        "The device reads {read} GB/s, copies {copy} GB/s, and computes {rates}.",
        read=figure(significant, machine.read_bytes_per_s / 1e9, "machine.read"),
        copy=figure(significant, machine.copy_bytes_per_s / 1e9, "machine.copy"),
        rates=joined(rates, ", "),
    )
