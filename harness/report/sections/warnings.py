"""Warnings against trusting a run's figures, each with advice."""

import math
from collections.abc import Iterator

from harness.figures.intervals import FEW_SAMPLES
from harness.figures.passes import pass_figures, synchronisation_overhead
from harness.figures.stages import stage_figures
from harness.gates import machine_speed
from harness.gates.gate import injections
from harness.gates.witnesses import hidden_changes
from harness.records.lines import RunRecord
from harness.records.quantities import counted
from harness.report.blocks import Text, ends, figure, text
from harness.report.formatting import change, percent, whole
from harness.report.naming import label
from harness.report.sections.answers import unsound
from harness.report.sections.by_machine import lines_of_each
from harness.report.sections.recorded import contradictions

NOISY = 0.10  # largest half interquartile range over the median without a warning
WAITING = 0.05  # largest relative time that synchronising may add to a whole pass without a warning
DRIFT = math.log(1.05)  # largest change of the machine's speed between the ends of a run without a warning
REPEAT = "Repeat on a quiet machine."


def warnings(run: RunRecord) -> Iterator[tuple[Text, str]]:
    """Yield each warning with advice, which may be empty."""
    if run.end is None and run.header.environment:
        yield "The run has not ended.", "Its finished measurements count; --resume measures the rest."
    yield from ((note, "") for note in run.notes)
    yield from ((f"{each}.", REPEAT) for each in machine_speed.disturbances(run))
    yield from ((f"{each}.", "Not a measurement of the program: do not compare it.") for each in injections(run))
    yield from contradictions(run)
    for moved_work, names in hidden_changes(run.gates).items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield (
            f"The program's work changed, which its time does not show: {names[0]}{more}: {moved_work}.",
            "If that is intended, record the baseline anew.",
        )
    unseen = [work for work in run.works if not work.profiler]
    for reason in dict.fromkeys(work.reason for work in unseen):
        count = (figure(whole, sum(work.reason == reason for work in unseen), "unwatched"), f" of {len(run.works)}")
        yield text("The work of {count} stages was not counted: {reason}.", count=count, reason=reason), ""
    speeds = machine_speed.speeds_at_ends(run)
    for work in ("matrix product", "copy"):
        start, end = (speeds.get(f"{work} at the {moment}") for moment in ("start", "end"))
        if start is not None and end is not None and abs(end - start) > DRIFT:
            moved = figure(change, math.expm1(end - start), "drift", work.replace(" ", "_"))
            template = f"The time of a fixed {work} changed by {{moved}} % between start and end of the run."
            yield text(template, moved=moved), f"Something else was running, or the clock moved. {REPEAT}"
    for lines, way_out in (
        (unsound, "Times of such answers mean nothing: look at the model first."),
        (_few_samples, "Take more: leave --max_samples out, name a larger dataset, or raise --embedded."),
        (_noisy, "Close what else runs, or raise --rounds."),
        (
            lambda part: synchronised(part, WAITING),
            "Take stage times from the whole pass, and the total from the pass without synchronisation.",
        ),
    ):
        yield from ((line, way_out) for line in lines_of_each(run, lines))
    git = run.header.environment.get("git") or {}
    if git.get("changes", git.get("dirty")):  # `dirty` counts new files that are no code, such as baselines
        yield "The code differed from its commit.", "Commit before you measure what you want to publish."


def synchronised(run: RunRecord, least: float = -math.inf) -> Iterator[Text]:
    """Yield a sentence per model on the time that synchronising adds, where that is surely more than `least`."""
    if not run.header.on_gpu:  # on a CPU nothing is synchronised
        return
    for each in pass_figures(run):
        gap = synchronisation_overhead(run, each.model, each.engine)
        if gap is not None and gap.low >= least:
            names = "sync_gap", each.model, each.engine
            bounds = ends(gap, change, *names)
            yield text(
                "Synchronising between the stages adds {gap} %{bounds} to a sample of {model}.",
                gap=figure(change, gap.value, *names),
                bounds=text(" (95 %: {ends})", ends=bounds) if bounds else "",
                model=label(run, each.model, each.engine),
            )


def _few_samples(run: RunRecord) -> Iterator[Text]:
    fewest = min((len(each.records) for each in pass_figures(run)), default=FEW_SAMPLES)
    if fewest < FEW_SAMPLES:
        template = f"Few samples ({{samples}}): {FEW_SAMPLES} or more are needed to generalise to other clips."
        yield text(template, samples=figure(whole, fewest, "fewest_samples"))


def _noisy(run: RunRecord) -> Iterator[Text]:
    figures = stage_figures(run)
    noisy = [each for each in figures if each.seconds.relative_spread > NOISY]
    if noisy:
        worst = max(noisy, key=lambda each: each.seconds.relative_spread)
        yield text(
            "Rounds of {count} are noisy, most of all {stage} of {model}: ±{spread} %.",
            count=f"{len(noisy)} of {counted(len(figures), 'stage test')}",
            stage=worst.stage,
            model=label(run, worst.model),
            spread=figure(percent, worst.seconds.relative_spread, "worst_spread"),
        )
