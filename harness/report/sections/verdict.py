"""The top of a report: how the run ended, its problems, and tiles with the main figures."""

from collections.abc import Iterator

from harness.figures.latency import latencies
from harness.figures.passes import comparisons
from harness.figures.speculation import speculation_figures
from harness.figures.stages import peak_bytes, stage_figures
from harness.gates.exit_status import FAILED, MISSING_BASELINE, NO_FIGURE, NOT_DECIDED
from harness.gates.witnesses import verdict_text
from harness.grouping import grouped
from harness.records.fingerprint import by_machine
from harness.records.lines import RunRecord
from harness.records.quantities import counted
from harness.report.blocks import Figure, Text, Tile, Tone, Verdict, ends, figure, text
from harness.report.formatting import duration, fraction, percent, times, with_unit
from harness.report.naming import label, name_of_speedup
from harness.report.sections.drafting import pays
from harness.report.sections.judgement import failed_samples, gate_groups
from harness.report.sections.memory import capacity, kind

MAX_FAILURES = 8  # failed samples among the problems; the section on failures lists all of them
MAX_TILES = 5
LABELS: dict[int, tuple[Tone, str]] = {
    0: ("good", "passed"),
    FAILED: ("bad", "failed"),
    NO_FIGURE: ("doubt", "not measured"),
    NOT_DECIDED: ("doubt", "not decided"),
    MISSING_BASELINE: ("doubt", "no baseline"),
}


def verdict(run: RunRecord) -> Verdict | None:
    """Return how the run ended; None for old files, which do not record it."""
    if run.end is None:
        return Verdict("doubt", "unfinished", "the run has not ended") if run.header.environment else None
    tone, words = LABELS.get(run.end.exit_status, ("bad", "ended early"))
    return Verdict(tone, words, f"exit status {run.end.exit_status}: {run.end.reason}")


def problems(run: RunRecord) -> Iterator[Text]:
    """Yield the reasons of a red build, one sentence each: broken limits, gate verdicts, failed tests and samples."""
    broken = [each.sentence for each in run.verdicts if each.state == "broken"]
    yield from broken
    for state, group in reversed(list(gate_groups(run.gates))):
        if state not in {"pass", "improved"}:
            more = f" and {len(group) - 1} more" if len(group) > 1 else ""
            yield f"{state}: {group[0].metric}{more}: {verdict_text(group[0])}"
    tests = grouped((each.reason, each.test) for each in run.outcomes if each.outcome == "failed")
    for reason, names in tests.items():
        if reason.removeprefix("call: ") in " ".join(broken):
            continue
        yield f"{names[0] if len(names) == 1 else f'{len(names)} tests'} failed: {reason}"
    failed = list(dict.fromkeys(f"{model}: {each.sentence()}" for model, each in failed_samples(run)))
    yield from failed[:MAX_FAILURES]
    if len(failed) > MAX_FAILURES:
        yield f"… and {len(failed) - MAX_FAILURES} more failed samples, listed below"


def tiles(run: RunRecord) -> Iterator[Tile]:
    """Yield tiles for the main measured figures; without times where the run is of several machines."""
    if len(by_machine(run)) == 1:
        yield from _times(run)
    yield from _drafting(run)
    peaks = peak_bytes(run) if run.header.device != "cpu" else {}
    if peaks:
        (model, stage), highest = max(peaks.items(), key=lambda item: item[1])
        details: list[Text] = [f"{label(run, model)}, {stage}; {kind(run)}"]
        card = capacity(run)
        if card:
            of_card = figure(percent, highest / card, "memory.peak_of_card")
            details.append(text("{share} % of {card}", share=of_card, card=with_unit(card)))
        yield Tile("peak memory", figure(with_unit, highest, "memory.peak"), details)


def _times(run: RunRecord) -> Iterator[Tile]:
    """Yield tiles on speedups and times of the whole passes, or else on the stage tests."""
    compared = comparisons(run)
    if compared:
        speedups = [
            (f"over {label(run, each.target, each.engine)}", figure(times, each.total.factor, name_of_speedup(each)))
            for each in compared
        ]
        interval = ends(compared[0].total.interval, times, name_of_speedup(compared[0]))
        yield _tile("total speedup", "", speedups, *([text("95 %: {ends}", ends=interval)] if interval else []))
    whole = latencies(run)
    for title, measure in (("time per sample", "end_to_end"), ("time to first token", "ttft")):
        means, of = [], [each for each in whole if each.measure == measure]
        for each in of:
            mean = figure(duration, each.mean.value, "latency", measure, "mean", each.model, each.engine)
            n = f" ({counted(len(each.values), 'sample')})" if len({len(other.values) for other in of}) > 1 else ""
            means.append((label(run, each.model, each.engine) + n, mean))
        if means:
            yield _tile(title, ", mean", means)
    if whole:
        return
    stages = grouped((each.stage, each) for each in stage_figures(run) if each.is_most_common and not each.variant)
    for stage, tests in list(stages.items())[:MAX_TILES]:
        medians = [
            (label(run, each.model, each.engine), figure(duration, each.seconds.median, "time", *each.names))
            for each in tests
        ]
        yield _tile(stage, f", median of {counted(tests[0].seconds.n, 'round')}", medians)


def _tile(title: str, what: str, shown: list[tuple[str, Figure]], *more: Text) -> Tile:
    """Return a tile with the first figure in large, and the other figures below."""
    (who, first), *others = shown
    rest = [text("{value} {who}", value=value, who=other) for other, value in others]
    return Tile(title, first, [text("{who}{what}", who=who, what=what), *more, *rest])


def _drafting(run: RunRecord) -> Iterator[Tile]:
    """Yield a tile on the first pair: its speedup, or else its acceptance."""
    for each in speculation_figures(run)[:1]:
        place, own, blind = (each.target, each.engine), each.acceptance.get("own"), each.acceptance.get("blind")
        details: list[Text] = [text("drafting for {target}", target=label(run, *place))]
        share = figure(fraction, own.value, "accepted", "own", *place) if own else None
        if share and each.speedup:
            details.append(text("{pays}; acceptance {share}", pays=pays(each.speedup), share=share))
        if blind:
            details.append(text("blind {share}", share=figure(fraction, blind.value, "accepted", "blind", *place)))
        if each.speedup:
            yield Tile("speculative decoding", figure(times, each.speedup.value, "pair_speedup", *place), details)
        elif share:
            yield Tile("acceptance", share, details)
