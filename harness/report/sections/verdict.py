"""What stands on top: how the run ended, its problems, and the five figures that everybody looks for."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.agreement import replay
from harness.figures.passes import Comparison, comparisons, speedup_interval
from harness.figures.speculation import speculation_figures
from harness.figures.stages import peak_bytes, stage1_speedup
from harness.gates.exit_status import FAILED, MISSING_BASELINE, NO_FIGURE, NOT_DECIDED
from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord
from harness.report.blocks import Figure, Text, Tile, Tone, Verdict, ends, figure, text
from harness.report.formatting import fraction, percent, times, with_unit
from harness.report.naming import gated_load, label, name_of_speedup
from harness.report.sections.drafting import SEES, answer_pairs
from harness.report.sections.judgement import failed_samples, gate_groups
from harness.report.sections.memory import capacity, kind

MAX_FAILURES = 8
"""Failed samples among the problems; the section on failures lists all of them."""
LABELS: dict[int, tuple[Tone, str]] = {
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
    tone, words = LABELS.get(run.end.exit_status, ("bad", "ended early"))
    return Verdict(tone, words, f"exit status {run.end.exit_status}: {run.end.reason}")


def problems(run: RunRecord) -> Iterator[Text]:
    """Yield what a maintainer looks for behind a red build: each in one sentence with its figures."""
    broken = [each.sentence for each in run.verdicts if each.state == "broken"]
    yield from broken
    for state, group in reversed(list(gate_groups(run.gates))):
        if state not in {"pass", "improved"}:
            more = f" and {len(group) - 1} more" if len(group) > 1 else ""
            yield f"{state}: {group[0].metric}{more}: {group[0].sentence}"
    tests: dict[str, list[str]] = {}
    for outcome in run.outcomes:
        if outcome.outcome == "failed" and outcome.reason.removeprefix("call: ") not in " ".join(broken):
            tests.setdefault(outcome.reason, []).append(outcome.test)
    for reason, names in tests.items():
        yield f"{names[0] if len(names) == 1 else f'{len(names)} tests'} failed: {reason}"
    failed = list(dict.fromkeys(f"{model}: {each.sentence()}" for model, each in failed_samples(run)))
    yield from failed[:MAX_FAILURES]
    if len(failed) > MAX_FAILURES:
        yield f"… and {len(failed) - MAX_FAILURES} more failed samples, listed below"


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
    first, *others = found
    interval = ends(speedup_interval(run, first, stage), times, name_of_speedup(first, stage))
    details = [text("over {target}", target=label(run, first.target, first.engine))]
    details += [text("95 %: {ends}", ends=interval)] if interval else []
    gated = stage1_speedup(run, first.target) if stage == 1 else None
    if gated:
        factor = figure(times, gated.factor, "speedup", "stage1", first.target)
        details.append(text("{factor} by the {how}", factor=factor, how=gated_load(run, first.target)))
    details += [
        text("{factor} over {target}", factor=_factor(each, stage), target=label(run, each.target, each.engine))
        for each in others
    ]
    return Tile(title, _factor(first, stage), details)


def _factor(found: Comparison, stage: int | None) -> Figure:
    speedup = found.total if stage is None else found.stages[stage]
    return figure(times, speedup.factor, name_of_speedup(found, stage))


def _acceptance(run: RunRecord) -> Iterator[Tile]:
    """Teacher-forced acceptance and what other pictures give, where measured; else agreement and what chance gives."""
    for found in speculation_figures(run):
        own, other = found.acceptance.get("own"), found.acceptance.get("shuffled")
        if own:
            names = (found.target, found.engine)
            details = [text("for {target}, teacher-forced", target=found.target)]
            if other:
                shuffled = figure(fraction, other.value, "accepted", "shuffled", *names)
                details.append(text("control: {share}, seeing {sees}", share=shuffled, sees=SEES["shuffled"]))
            yield Tile("acceptance", figure(fraction, own.value, "accepted", "own", *names), details)
            return
    for target, pairs in answer_pairs(run).items():
        agreed = replay(pairs, 1)
        details = [text("with {target}, by position", target=target)]
        if agreed.shuffled_per_sample is not None:
            shuffled = figure(fraction, agreed.shuffled_per_sample, "agreement", "shuffled", target)
            details.append(text("control: {share}, shuffled pairs", share=shuffled))
        own_share = figure(fraction, agreed.per_sample, "agreement", "per_sample", target)
        yield Tile("agreement of the answers", own_share, details)
        return


def _memory(run: RunRecord) -> Iterator[Tile]:
    peaks = peak_bytes(run)
    if peaks:
        (model, stage), highest = max(peaks.items(), key=lambda item: item[1])
        details: list[Text] = [f"{model}, {stage}; {kind(run)}"]
        card = capacity(run)
        if card:
            of_card = figure(percent, highest / card, "memory.peak_of_card")
            details.append(text("{share} % of {card}", share=of_card, card=with_unit(card)))
        yield Tile("peak memory", figure(with_unit, highest, "memory.peak"), details)
