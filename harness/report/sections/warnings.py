"""What makes one doubt the figures of a run: each with what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from harness.figures.intervals import FEW_SAMPLES
from harness.figures.passes import pass_figures
from harness.figures.stages import stage_figures, synchronisation_overhead
from harness.gates import machine_speed
from harness.gates.gate import injections
from harness.records.lines import RunRecord
from harness.report.blocks import Section, Table, Words, count, moved, share, words
from harness.report.naming import label, name
from harness.report.sections.by_machine import each_machine

NOISY = 0.10
"""Half the interquartile range over the median, from which on the rounds of a stage are called noisy."""
WAITING = 0.05
"""What waiting between the stages may add to a whole pass."""
DRIFT = math.log(1.05)
"""How far the machine's own speed may move between the ends of a run."""

Doubt = tuple[Words, Words]


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the doubts, if there are any."""
    found = tuple(doubts(run))
    if found:
        yield Section("doubts", "Doubts", (Table(("what", "what to do"), found, text_columns=2),), brief=True)


def doubts(run: RunRecord) -> Iterator[Doubt]:
    """Yield what speaks against trusting the figures, and the way out."""
    if run.end is None and run.header.environment:
        yield (
            words("The run has not come to its end."),
            words("What was measured counts; measure the rest in another run."),
        )
    yield from ((words(f"{each}."), words("Repeat on a quiet machine.")) for each in machine_speed.disturbances(run))
    yield from (
        (words(f"{each}."), words("Not a measurement of the program: do not compare it.")) for each in injections(run)
    )
    yield from _drift(run)
    for part, line_of in each_machine(run):
        for what, way_out in (*_few_samples(part), *_noisy(part), *_waiting(part)):
            yield line_of(what), way_out
    if (run.header.environment.get("git") or {}).get("dirty"):
        yield words("The code differed from its commit."), words("Commit before you measure what you want to publish.")
    if run.end:
        yield from ((words(advice), ()) for advice in run.end.advice)


def _drift(run: RunRecord) -> Iterator[Doubt]:
    speeds = machine_speed.speeds(run)
    for work in ("matrix product", "copy"):
        ends = [speeds.get(f"{work} at the {moment}") for moment in ("start", "end")]
        if None not in ends and abs(ends[1] - ends[0]) > DRIFT:  # type: ignore[operator]
            change = math.expm1(ends[1] - ends[0])  # type: ignore[operator]
            what = words(
                f"A fixed {work} changed by ",
                moved(name("drift", work.replace(" ", "_")), change),
                " % of its time between start and end of the run.",
            )
            yield what, words("Something else was running, or the clock moved: repeat on a quiet machine.")


def _few_samples(run: RunRecord) -> Iterator[Doubt]:
    fewest = min((len(each.records) for each in pass_figures(run)), default=FEW_SAMPLES)
    if fewest < FEW_SAMPLES:
        yield (
            words(
                count("fewest_samples", fewest),
                f" samples: below {FEW_SAMPLES} an interval says more of their number than of the models.",
            ),
            words("Take more: leave --max_samples out, name a larger dataset, or give --embedded a larger number."),
        )


def _noisy(run: RunRecord) -> Iterator[Doubt]:
    noisy = [each for each in stage_figures(run) if each.seconds.relative_spread > NOISY]
    if noisy:
        worst = max(noisy, key=lambda each: each.seconds.relative_spread)
        spread = share(name("worst_spread"), worst.seconds.relative_spread)
        yield (
            words(
                f"The rounds of {len(noisy)} stage tests spread widely, those of {worst.stage} of {worst.model} by ±",
                spread,
                " %.",
            ),
            words("Close what else runs, or raise --rounds."),
        )


def _waiting(run: RunRecord) -> Iterator[Doubt]:
    for each in pass_figures(run):
        gap = synchronisation_overhead(run, each.model, each.engine)
        if gap is not None and gap > WAITING:
            what = words(
                "Waiting between the stages adds ",
                moved(name("sync_gap", each.model, each.engine), gap),
                f" % to {label(run, each.model, each.engine)}.",
            )
            yield what, words("Take the stage times from the whole pass, and the total from the pass without waiting.")
