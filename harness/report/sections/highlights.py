"""The run in sentences: headlines of targets and quantised models, what dominates, and what the data do not show."""

from collections.abc import Iterator

from harness.figures.passes import comparisons, pass_figures
from harness.figures.quantised import QuantisedFigures
from harness.records.lines import RunRecord
from harness.report.blocks import Text, ends, figure, joined, text
from harness.report.formatting import duration, fraction, mebibytes, milliseconds, percent, times
from harness.report.naming import STAGE_NUMBERS, label, name_of_speedup
from harness.stages import LEGACY_STAGES


def headlines(run: RunRecord) -> Iterator[Text]:
    """Yield one sentence for each target: the draft's speedup, and the stage with most of the draft's time."""
    by_model = {(each.model, each.engine): each for each in pass_figures(run)}
    for found in comparisons(run):
        of_draft = by_model[run.header.draft or "", found.engine]
        stage = max(of_draft.stages, key=of_draft.share)
        template = "{draft} is {factor} faster than {target}: {draft_s} vs. {target_s} per sample; "
        if found.total.factor < 1:
            template = template.replace("faster than", "as fast as")
        seconds = found.total.draft_mean_s, found.total.target_mean_s
        digits = milliseconds if max(seconds) < 10 else duration
        yield text(
            template + "{stage} is {share} % of its time",
            draft=label(run, of_draft.model, found.engine),
            target=label(run, found.target, found.engine),
            factor=figure(times, found.total.factor, name_of_speedup(found)),
            draft_s=figure(digits, seconds[0], "draft", name_of_speedup(found)),
            target_s=figure(duration, seconds[1], "target", name_of_speedup(found)),
            stage=stage,
            share=figure(percent, of_draft.share(stage), "share", stage, of_draft.model, found.engine),
        )


def highlights(run: RunRecord) -> Iterator[Text]:
    """Yield a sentence per target, with speedups by stage and its largest stage, and a caution for the set tiny."""
    for found in comparisons(run):
        target = label(run, found.target, found.engine)
        by_stage = (
            (f"{STAGE_NUMBERS[n][2:]} ", figure(times, each.factor, name_of_speedup(found, n)))
            for n, each in found.stages.items()
        )
        number = max(LEGACY_STAGES, key=found.share_of_target_time)
        names = (f"stage{number}", found.target, found.engine)
        saved = found.share_of_time_saved(number)
        template = "Over {target} by stage: {by_stage}; {stage} is {own} % of {target}'s time"
        yield text(
            template + (" and {saved} % of the time saved." if saved is not None else "."),
            target=target,
            by_stage=joined(by_stage, ", "),
            stage=STAGE_NUMBERS[number][2:],
            own=figure(percent, found.share_of_target_time(number), "share_of_target_time", *names),
            saved=figure(percent, saved or 0.0, "share_of_time_saved", *names),
        )
    if run.header.model_set == "tiny" and run.passes:
        yield "The tiny set's small models were measured: their times say nothing about the 7B models."


def quantised_line(run: RunRecord, found: QuantisedFigures) -> Text:
    """Return one sentence with bytes, speed and agreement, and the part of a step that moving bytes takes."""
    template = (
        "{model} in {kind}: {share} % of the bytes of {dtype} ({size} MiB), {factor} its time per token ({step} ms), "
        "{agreement} of its tokens"
    )
    size = found.facts["parameter_bytes"]
    why = "; moving bytes is {moving} % of a step, launches and unpacking the rest"
    return text(
        template + ("" if found.bandwidth_fraction is None else why),
        model=label(run, found.model),
        kind=found.facts["quantisation"],
        dtype=found.unquantised["dtype"],
        share=figure(percent, size / found.unquantised["parameter_bytes"], "quantised.share", found.model),
        size=figure(mebibytes, size, "quantised.bytes", found.model),
        factor=figure(times, found.costs.c, "quantised.time", found.model),
        step=figure(milliseconds, found.costs.c * found.costs.step_s, "quantised.step", found.model),
        agreement=figure(fraction, found.agreement.rate, "quantised.agreement", found.model),
        moving=figure(percent, found.bandwidth_fraction or 0.0, "quantised.moving", found.model),
    )


def caveats(run: RunRecord) -> Iterator[Text]:
    """Yield a sentence for each speedup whose interval includes 1."""
    for found in comparisons(run):
        for stage, speedup in ((None, found.total), *found.stages.items()):
            interval = speedup.interval
            if interval is not None and interval.low <= 1 <= interval.high:
                yield text(
                    "Whether {draft} or {target} is faster {what}: the 95 % interval of the speedup is {ends}.",
                    draft=label(run, run.header.draft or "", found.engine),
                    target=label(run, found.target, found.engine),
                    what="in all" if stage is None else f"in {STAGE_NUMBERS[stage][2:]}",
                    ends=ends(interval, times, name_of_speedup(found, stage)),
                )
