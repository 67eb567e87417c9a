"""What quantised weights save and cost, a line per model."""

from harness.figures.quantised import QuantisedFigures
from harness.records.lines import RunRecord
from harness.report.blocks import Text, figure, text
from harness.report.formatting import fraction, mebibytes, milliseconds, percent, times
from harness.report.naming import label


def quantised_line(run: RunRecord, found: QuantisedFigures) -> Text:
    """Return bytes, speed and agreement, and why the speed is not the bytes' ratio."""
    template = (
        "{model} in {kind}: {share} % of the bytes of {dtype} ({size} MiB), {factor} its time per token ({step} ms), "
        "{agreement} of its tokens"
    )
    size = found.facts["parameter_bytes"]
    why = "; moving bytes is {moving} % of a step, launches and unpacking the rest"
    return text(
        template + ("" if found.moving is None else why),
        model=label(run, found.model),
        kind=found.facts["quantisation"],
        dtype=found.unquantised["dtype"],
        share=figure(percent, size / found.unquantised["parameter_bytes"], "quantised.share", found.model),
        size=figure(mebibytes, size, "quantised.bytes", found.model),
        factor=figure(times, found.costs.c, "quantised.time", found.model),
        step=figure(milliseconds, found.costs.c * found.costs.step_s, "quantised.step", found.model),
        agreement=figure(fraction, found.agreement.rate, "quantised.agreement", found.model),
        moving=figure(percent, found.moving or 0.0, "quantised.moving", found.model),
    )
