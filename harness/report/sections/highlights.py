"""The run in sentences: each target's headline, what dominates, and what the data do not show."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.intervals import FEW_SAMPLES, mean_interval
from harness.figures.passes import Comparison, comparisons, pass_figures, speedup_interval
from harness.records.lines import RunRecord
from harness.report.blocks import Text, ends, figure, joined, text
from harness.report.formatting import milliseconds, percent, times, whole
from harness.report.naming import STAGE_NUMBERS, label, name_of_speedup
from harness.stages import LEGACY_STAGES


def headlines(run: RunRecord) -> Iterator[Text]:
    """Yield one sentence for each target: how much faster the draft is, and what takes most of the draft's time."""
    largest = {(each.model, each.engine): each for each in pass_figures(run)}
    for found in comparisons(run):
        of_draft = largest[run.header.draft or "", found.engine]
        stage = max(of_draft.stages, key=of_draft.share)
        names = ("total", found.target, found.engine)
        template = "{draft} is {factor} faster than {target}: {draft_ms} vs. {target_ms} ms per sample; "
        if found.total.factor < 1:
            template = template.replace("faster than", "as fast as")
        yield text(
            template + "{stage} is {share} % of {draft}'s time",
            draft=label(run, of_draft.model, found.engine),
            target=label(run, found.target, found.engine),
            factor=figure(times, found.total.factor, name_of_speedup(found)),
            draft_ms=figure(milliseconds, found.total.draft_mean_s, "draft", *names),
            target_ms=figure(milliseconds, found.total.target_mean_s, "target", *names),
            stage=stage,
            share=figure(percent, of_draft.share(stage), "share", stage, of_draft.model, found.engine),
        )


def highlights(run: RunRecord) -> Iterator[Text]:
    """Yield what stands out, the most important first."""
    for found in comparisons(run):
        interval = ends(speedup_interval(run, found), times, name_of_speedup(found))
        by_stage = (
            text("{stage} {factor}", stage=STAGE_NUMBERS[number][2:], factor=_factor(found, number))
            for number in LEGACY_STAGES
        )
        yield text(
            "{draft} vs. {target} over {samples} samples: {interval}by stage {by_stage}.",
            draft=label(run, run.header.draft or "", found.engine),
            target=label(run, found.target, found.engine),
            samples=str(found.total.samples),
            interval=text("95 % interval {ends}; ", ends=interval) if interval else "",
            by_stage=joined(by_stage, ", "),
        )
        yield _dominates(run, found)
    shares = []
    for each in pass_figures(run):
        stage = max(each.stages, key=each.share)
        share = figure(percent, each.share(stage), "share", stage, each.model, each.engine)
        template = "{stage} is {share} % of {model}'s time"
        shares.append(text(template, stage=stage, share=share, model=label(run, each.model, each.engine)))
    if shares:
        yield text("Largest stages: {shares}.", shares=joined(shares, ", "))
        if run.header.model_set == "tiny":
            yield "The tiny set's small models were measured: their times say nothing about the 7B models."


def caveats(run: RunRecord) -> Iterator[Text]:
    """Yield the claims that one might read out of the figures, and that the data do not support."""
    fewest = min((len(each.records) for each in pass_figures(run)), default=FEW_SAMPLES)
    if fewest < FEW_SAMPLES:
        yield text(
            "How other clips would do: there are only {samples} samples, and it takes {least} or more to say.",
            samples=figure(whole, fewest, "fewest_samples"),
            least=str(FEW_SAMPLES),
        )
    for comparison in comparisons(run):
        yield from _undecided_speedups(run, comparison)
    yield from _overlaps(run)


def _factor(found: Comparison, number: int) -> Text:
    return figure(times, found.stages[number].factor, name_of_speedup(found, number))


def _dominates(run: RunRecord, found: Comparison) -> Text:
    number = max(LEGACY_STAGES, key=found.share_of_target_time)
    names = (f"stage{number}", found.target, found.engine)
    saved = found.share_of_time_saved(number)
    return text(
        "{stage} is {own} % of {target}'s time" + (" and {saved} % of the time saved." if saved is not None else "."),
        stage=STAGE_NUMBERS[number][2:],
        own=figure(percent, found.share_of_target_time(number), "share_of_target_time", *names),
        target=label(run, found.target, found.engine),
        saved=figure(percent, saved or 0.0, "share_of_time_saved", *names),
    )


def _undecided_speedups(run: RunRecord, comparison: Comparison) -> Iterator[Text]:
    """Speedups whose interval holds 1."""
    for stage in (None, *LEGACY_STAGES):
        found = speedup_interval(run, comparison, stage)
        if found is not None and found.low <= 1 <= found.high:
            yield text(
                "Whether {draft} or {target} is faster {what}: the 95 % interval of the speedup is {ends}.",
                draft=label(run, run.header.draft or "", comparison.engine),
                target=label(run, comparison.target, comparison.engine),
                what="in all" if stage is None else f"in {STAGE_NUMBERS[stage][2:]}",
                ends=ends(found, times, name_of_speedup(comparison, stage)),
            )


def _overlaps(run: RunRecord) -> Iterator[Text]:
    """Pairs of targets whose mean totals differ by less than their intervals tell apart."""
    known = [(each, mean_interval(list(each.total_s.values()))) for each in pass_figures(run)]
    targets = [(each, found) for each, found in known if found and each.model != run.header.draft]
    for place, (one, mine) in enumerate(targets):
        for other, theirs in targets[place + 1 :]:
            if mine.low <= theirs.high and theirs.low <= mine.high:
                yield text(
                    "Whether {one} or {other} is faster: their intervals overlap, {mine} and {theirs} ms.",
                    one=label(run, one.model, one.engine),
                    other=label(run, other.model, other.engine),
                    mine=ends(mine, milliseconds, "pass", "total", one.model, one.engine),
                    theirs=ends(theirs, milliseconds, "pass", "total", other.model, other.engine),
                )
