"""What stands on top: how the run ended, what slipped, and the five figures that everybody looks for."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.intervals import speedup_interval
from harness.figures.replay import replay
from harness.figures.speculation import speculation_figures
from harness.figures.stages import Comparison, comparisons, peak_bytes, stage1_speedup
from harness.gates.exit_status import FAILED, MISSING_BASELINE, NO_FIGURE, NOT_DECIDED
from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord
from harness.report.blocks import Figure, Tile, Tone, Verdict, Words, between, count, factor, ratio, share, size, words
from harness.report.naming import label, name, name_of_speedup
from harness.report.sections.drafting import answer_pairs
from harness.report.sections.memory import capacity, kind
from harness.report.sections.trust import failed_samples
from harness.report.speculation_text import SEES

WORDS: dict[int, tuple[Tone, str]] = {
    0: ("good", "passed"),
    FAILED: ("bad", "failed"),
    NO_FIGURE: ("doubt", "not measured"),
    NOT_DECIDED: ("doubt", "not decided"),
    MISSING_BASELINE: ("doubt", "no baseline"),
}


def verdict(run: RunRecord) -> Verdict | None:
    """Return how the run ended; None for files that do not tell."""
    if run.end is None:
        return Verdict("doubt", "unfinished", "the run has not come to its end") if run.header.environment else None
    tone, word = WORDS.get(run.end.exit_status, ("bad", "ended early"))
    return Verdict(tone, word, f"exit status {run.end.exit_status}: {run.end.reason}")


def slipped(run: RunRecord) -> Iterator[Words]:
    """Yield what a maintainer looks for behind a red build: each in one sentence with its figures."""
    for each in run.verdicts:
        if each.state == "broken":
            yield words(each.sentence)
    for gate in run.gates:
        if gate.state in {"regressed", "flagged", "invalid", "unstable", "missing baseline", "not run"}:
            yield words(f"{gate.state}: {gate.metric}: {gate.sentence}")
    known = " ".join(each.sentence for each in run.verdicts if each.state == "broken")
    for outcome in run.outcomes:
        if outcome.outcome == "failed" and not any(part in known for part in (outcome.reason.removeprefix("call: "),)):
            yield words(f"{outcome.test} failed: {outcome.reason}")
    failed = {(model, each.sample) for model, each in failed_samples(run)}
    if failed:
        yield words("failed samples, listed below: ", count("failed_samples", len(failed)))


def tiles(run: RunRecord) -> Iterator[Tile]:
    """Yield the five figures, as far as the run has them; there is no speedup over times of several machines."""
    found = comparisons(run) if len(by_machine(run)) == 1 else []
    if found:
        yield _speedup("total speedup", run, found, None)
        yield _speedup("stage 1, load", run, found, 1)
        yield _speedup("stage 3, vision + LLM", run, found, 3)
    yield from _acceptance(run)
    yield from _memory(run)


def _speedup(title: str, run: RunRecord, found: list[Comparison], stage: int | None) -> Tile:
    figures = [(each, *_of(run, each, stage)) for each in found]
    first, figure, interval = figures[0]
    details = [words("over ", label(run, first.target, first.engine))]
    details += [words("95 %: ", interval)] if interval else []
    if stage == 1:
        gated = stage1_speedup(run, first.target)
        details += [words("as gated ", factor(name("speedup", "stage1", first.target), gated.factor))] if gated else []
    details += [words(other, " over ", label(run, each.target, each.engine)) for each, other, _ in figures[1:]]
    return Tile(title, figure, tuple(details))


def _of(run: RunRecord, found: Comparison, stage: int | None) -> tuple[Figure, Words]:
    key, speedup = name_of_speedup(found, stage), found.total if stage is None else found.stages[stage]
    return factor(key, speedup.factor), between(key, speedup_interval(run, found, stage), factor)


def _acceptance(run: RunRecord) -> Iterator[Tile]:
    """Teacher-forced acceptance and what other pictures give, where measured; else agreement and what chance gives."""
    for found in speculation_figures(run):
        own, other = found.acceptance.get("own"), found.acceptance.get("shuffled")
        if own:
            place = name(found.target, found.engine)
            details = [words(f"for {found.target}, teacher-forced")]
            if other:
                shuffled = ratio(name("accepted", "shuffled", place), other.value)
                details.append(words("control: ", shuffled, f", seeing {SEES['shuffled']}"))
            yield Tile("acceptance", ratio(name("accepted", "own", place), own.value), tuple(details))
            return
    for target, pairs in answer_pairs(run).items():
        agreed = replay(pairs, 1)
        details = [words(f"with {target}, by position")]
        if agreed.shuffled_per_sample is not None:
            shuffled = ratio(name("agreement", "shuffled", target), agreed.shuffled_per_sample)
            details.append(words("control: ", shuffled, ", shuffled pairs"))
        figure = ratio(name("agreement", "per_sample", target), agreed.per_sample)
        yield Tile("agreement of the answers", figure, tuple(details))
        return


def _memory(run: RunRecord) -> Iterator[Tile]:
    peaks = peak_bytes(run)
    if peaks:
        (model, stage), highest = max(peaks.items(), key=lambda item: item[1])
        card = capacity(run)
        of_card = (
            [words(share("memory.peak_of_card", highest / card), f" % of {size('', card, unit=True).text}")]
            if card
            else []
        )
        details = (words(f"{model}, {stage}; {kind(run)}"), *of_card)
        yield Tile("peak memory", size("memory.peak", highest, unit=True), details)
