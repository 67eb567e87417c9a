"""The run in sentences, each with its figures: what dominates, what would help most, what the data do not show."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.intervals import FEW_SAMPLES, mean_interval, speedup_interval
from harness.figures.passes import PassFigure, pass_figures
from harness.figures.stages import Comparison, comparisons
from harness.records.lines import RunRecord
from harness.report.blocks import Figure, Part, Words, between, count, factor, moved, seconds, share, words
from harness.report.naming import STAGE_NUMBERS, label, name, name_of_speedup
from harness.stages import LEGACY_STAGES


def story(run: RunRecord) -> Iterator[Words]:
    """Yield the sentences, the most important first."""
    figures = pass_figures(run)
    for comparison in comparisons(run):
        yield _headline(run, comparison)
        yield _dominates(comparison)
    if figures:
        yield _would_help(run, figures)
    if run.header.model_set == "tiny" and figures:
        yield words(
            "The models are the small ones of the tiny set: their figures tell of the code and not of the 7B models."
        )


def unsupported(run: RunRecord) -> Iterator[Words]:
    """Yield the claims that one might read out of the figures, and that the data do not support."""
    yield from _too_few(pass_figures(run))
    for comparison in comparisons(run):
        yield from _not_shown(run, comparison)
    yield from _overlaps(run)


def _headline(run: RunRecord, comparison: Comparison) -> Words:
    place = name("total", comparison.target, comparison.engine)
    draft, total = label(run, run.header.draft or "", comparison.engine), comparison.total
    ends = between(name_of_speedup(comparison), speedup_interval(run, comparison), factor)
    return words(
        f"{draft} takes ",
        seconds(name("draft", place), total.draft_mean_s),
        " ms a sample where ",
        label(run, comparison.target, comparison.engine),
        " takes ",
        seconds(name("target", place), total.target_mean_s),
        " ms: ",
        factor(name_of_speedup(comparison), total.factor),
        " faster in all",
        words(" (95 %: ", ends, ")") if ends else (),
        ", by stage: ",
        *_by_stage(comparison),
        f". Means of {total.samples} samples.",
    )


def _by_stage(comparison: Comparison) -> Iterator[Figure | str]:
    for number in LEGACY_STAGES:
        yield f"{', ' if number > 1 else ''}{STAGE_NUMBERS[number][2:]} "
        yield factor(name_of_speedup(comparison, number), comparison.stages[number].factor)


def _dominates(comparison: Comparison) -> Words:
    number = max(LEGACY_STAGES, key=comparison.share_of_target_time)
    place = name(f"stage{number}", comparison.target, comparison.engine)
    saved = comparison.share_of_time_saved(number)
    of_saved = (
        words(" and accounts for ", share(name("share_of_time_saved", place), saved), " % of the time that is saved")
        if saved is not None
        else words("; over all stages nothing is saved")
    )
    own = share(name("share_of_target_time", place), comparison.share_of_target_time(number))
    return words(f"{STAGE_NUMBERS[number][2:]} takes ", own, f" % of {comparison.target}'s own time", of_saved, ".")


def _would_help(run: RunRecord, figures: list[PassFigure]) -> Words:
    """The stage of each model whose absence would shorten its total most."""
    found: list[Part] = []
    for figure in figures:
        best = max(figure.stages, key=figure.share)
        place = name(best, figure.model, figure.engine)
        found += [
            f"{'; ' if found else ''}for {label(run, figure.model, figure.engine)} {best}, ",
            moved(name("if_free", place), -figure.share(best)),
            " % of the total if it were free",
        ]
    return words("What would help most: ", tuple(found), ".")


def _not_shown(run: RunRecord, comparison: Comparison) -> Iterator[Words]:
    """Speedups whose interval holds 1."""
    draft, target = run.header.draft, label(run, comparison.target, comparison.engine)
    for stage in (None, *LEGACY_STAGES):
        found = speedup_interval(run, comparison, stage)
        if found is not None and found.low <= 1 <= found.high:
            what = "in all" if stage is None else f"in {STAGE_NUMBERS[stage][2:]}"
            ends = between(name_of_speedup(comparison, stage), found, factor)
            yield words(f"That {draft} is faster or slower than {target} {what}: the 95 % interval is ", ends, ".")


def _too_few(figures: list[PassFigure]) -> Iterator[Words]:
    fewest = min((len(each.records) for each in figures), default=FEW_SAMPLES)
    if fewest < FEW_SAMPLES:
        of = count("fewest_samples", fewest)
        yield words(
            "That other samples would give the same: there are ",
            of,
            f" of them, and {FEW_SAMPLES} are the fewest for that.",
        )


def _overlaps(run: RunRecord) -> Iterator[Words]:
    """Pairs of models whose mean totals differ by less than their intervals tell apart."""
    known = [(each, mean_interval(list(each.total_s.values()))) for each in pass_figures(run)]
    targets = [(each, found) for each, found in known if found and each.model != run.header.draft]
    for place, (one, mine) in enumerate(targets):
        for other, theirs in targets[place + 1 :]:
            if mine.low <= theirs.high and theirs.low <= mine.high:
                names = [label(run, each.model, each.engine) for each in (one, other)]
                first = between(name("pass", "total", one.model, one.engine), mine, seconds)
                second = between(name("pass", "total", other.model, other.engine), theirs, seconds)
                yield words(
                    f"Whether {names[0]} or {names[1]} is faster: their intervals overlap, ",
                    first,
                    " and ",
                    second,
                    " ms.",
                )
