"""The summary at the end of a run, as text for a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from string import ascii_lowercase

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.figures.speculation import speculation_figures
from harness.figures.stages import (
    Comparison,
    Speedup,
    StageFigure,
    comparisons,
    load_s_by_state,
    pass_s,
    passes,
    peak_bytes,
    samples_per_second,
    stage1_speedup,
    stage_figures,
    synchronisation_overhead,
    throughput,
    times_faster,
)
from harness.figures.summary import mean, median
from harness.records.fingerprint import by_machine
from harness.records.lines import Failure, GateRecord, GateState, PassRecord, RunRecord, VerdictRecord
from harness.report import floor_text
from harness.report.formatting import (
    change,
    fraction,
    mebibytes,
    milliseconds,
    percent,
    strip_control_characters,
    times,
)
from harness.report.speculation_text import text, title
from harness.stages import LEGACY_STAGES, STAGES

STAGE_NUMBER_NAMES = {1: "1 load", 2: "2 preprocess", 3: "3 vision + LLM"}
MAX_LISTS = 8
SAMPLES_WITH_ANSWERS = 2
MAX_ANSWER = 600
GATE_STYLES: dict[GateState, str] = {
    "pass": "green",
    "improved": "bold green",
    "missing baseline": "yellow",
    "unstable": "yellow",
    "invalid": "yellow",
    "not run": "yellow",
    "flagged": "bold yellow",
    "regressed": "bold red",
}


def summary(run: RunRecord, folder: Path, files: Iterable[Path], *, width: int, color: bool) -> str:
    """Return the whole summary: what was measured, what it means, which limits held, where the files are."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=max(width, 80), force_terminal=color, color_system="standard" if color else None
    )
    for part in map(_harmless, _parts(run)):
        console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str | Text))
    console.print("files: " + str(folder), highlight=False, markup=False, soft_wrap=True)
    for path in files:
        name = path.relative_to(folder) if path.is_relative_to(folder) else path
        console.print(f"  {name}", highlight=False, markup=False, soft_wrap=True)
    return stream.getvalue()


def gate_lines(gates: Iterable[GateRecord]) -> str:
    """Return the verdicts as text, the worst last; of those that passed, the nearest to its limit alone."""
    return strip_control_characters(_gate_text(list(gates)).plain)


def _parts(run: RunRecord) -> Iterator[str | Text | Table]:
    yield _conditions(run)
    machines = by_machine(run)
    for name, part in machines.items():
        if len(machines) > 1:
            yield _heading(f"measured on {name}")
        yield from _measured(part)
    for speculation in speculation_figures(run):
        yield _heading(title(speculation))
        yield text(speculation)
    if run.verdicts:
        yield _verdict_lines(run.verdicts)
    if run.gates:
        yield _gate_text(run.gates)
    failures = _failures(run)
    if failures:
        yield _failure_text(failures)
    if run.end:
        yield from (f"advice: {advice}" for advice in run.end.advice)
        yield f"\nexit status {run.end.exit_status}: {run.end.reason}"


def _measured(run: RunRecord) -> Iterator[str | Text | Table]:
    """All figures that are made of times, of one machine."""
    figures = stage_figures(run)
    if figures:
        yield _heading("stages by themselves: median, ± half the interquartile range, first time through")
        yield _stage_table(run, figures)
        yield from (f"{mark} {state}" for state, mark in _state_marks(figures).items())
    if run.machine and (cells := list(floor_text.rows(run))):
        yield _heading(floor_text.title(run.machine))
        yield _filled(_table(*floor_text.COLUMNS), cells)
    yield from (floor_text.engine_line(each) for each in run.engines)
    if run.side_by_side:
        yield _heading("side by side, in turn: medians, and the median over pairs of rounds of how they compare")
        yield from _side_by_side_lines(run)
    if any(record.kind == "whole" and record.failure is None for record in run.passes):
        yield _heading("whole pass: mean ms a sample (sync: what waiting between the stages adds)")
        yield _pass_table(run)
        yield from _load_lines(run)
        if run.header.model_set != "full":  # random weights have nothing to say
            yield from _answers(run)
    yield from _throughput_lines(run)
    for comparison in comparisons(run):
        samples = f"{comparison.engine}, {comparison.total.samples} samples"
        yield _heading(f"{run.header.draft} beside {comparison.target} ({samples})")
        yield _comparison_table(run, comparison)
        yield _comparison_text(comparison)


def _harmless(part: str | Text | Table) -> str | Text | Table:
    """Put a mark in the place of control characters: answers and error texts must not steer the user's terminal."""
    if isinstance(part, str):
        return strip_control_characters(part)
    if isinstance(part, Text):
        part.plain = strip_control_characters(part.plain)
    return part


def _conditions(run: RunRecord) -> str:
    environment = run.header.environment
    libraries, gpu = environment.get("libraries") or {}, environment.get("gpu")
    cpu = f"{environment.get('cpu')}, {environment.get('usable_cores')} usable cores"
    device = gpu.get("name") if gpu else cpu
    return (
        f"model set {run.header.model_set} on {run.header.device} ({device}); torch {libraries.get('torch')}, "
        f"transformers {libraries.get('transformers')}; {len(run.header.samples)} samples"
    )


def _stage_table(run: RunRecord, figures: list[StageFigure]) -> Table:
    peak = "GPU MiB" if run.header.on_gpu else "RSS MiB"
    table = _table("model", "stage", "ms", "± %", "first ms", "rounds", "ms/token", peak)
    peaks, marks = peak_bytes(run), _state_marks(figures)
    for figure in figures:
        table.add_row(
            figure.model,
            " ".join(filter(None, (_stage_name(run, figure), marks.get(figure.state)))),
            milliseconds(figure.seconds.median),
            percent(figure.seconds.relative_spread),
            milliseconds(figure.cold_s),
            str(figure.seconds.n),
            f"{figure.ms_per_token:.3g}" if figure.ms_per_token else "",
            _mib(None if figure.variant else peaks.get((figure.model, figure.stage))),
        )
    return table


def _stage_name(run: RunRecord, figure: StageFigure) -> str:
    """Stage and variant; the engine too where there are several to tell apart."""
    engine = figure.engine if len(run.header.engines) > 1 else None
    return " ".join(filter(None, (figure.stage, engine, f"({figure.variant})" if figure.variant else "")))


def _state_marks(figures: Iterable[StageFigure]) -> dict[str, str]:
    """A letter for each state in which stage 1 found its files: the words would not fit beside the figures."""
    states = dict.fromkeys(figure.state for figure in figures if figure.state)
    return {state: f"[{letter}]" for state, letter in zip(states, ascii_lowercase, strict=False)}


def _side_by_side_lines(run: RunRecord) -> Iterator[str]:
    for record in run.side_by_side:
        ours, theirs = milliseconds(median(record.way_s)), milliseconds(median(record.reference_s))
        yield (
            f"{record.what}: {record.way} {ours} ms, {times(times_faster(record))} as fast as {record.reference} "
            f"({theirs} ms; {len(record.way_s)} pairs)"
        )


def _pass_table(run: RunRecord) -> Table:
    table = _table("model", *STAGES, "total", "tokens", "n", "sync %")
    for model in run.header.models:
        for engine in run.header.engines:
            records = list(passes(run, "whole", model, engine).values())
            if not records:
                continue
            gap = synchronisation_overhead(run, model, engine)
            table.add_row(
                f"{model} {engine}" if len(run.header.engines) > 1 else model,
                *(_pass_cell(records, stage) for stage in STAGES),
                milliseconds(mean([pass_s(record) for record in records])),
                f"{mean([len(record.token_ids) for record in records]):.1f}",
                str(len(records)),
                change(gap) if gap is not None else "",
            )
    return table


def _throughput_lines(run: RunRecord) -> Iterator[str]:
    for model in run.header.models:
        for engine in run.header.engines:
            rate = throughput(run, model, engine)
            if rate is not None:
                alone = samples_per_second(passes(run, "whole", model, engine).values())
                beside = f"; {alone:.3g} in the whole pass, one after the other" if alone else ""
                ranks = len({each.rank for each in run.passes if each.kind == "throughput"})
                by = f" by {ranks} ranks together" if ranks > 1 else ""
                ahead = f"files loaded ahead by {run.header.options['loader_workers']} threads"
                yield f"throughput of {model} {engine}: {rate:.3g} samples/s{by}, {ahead}{beside}"


def _pass_cell(records: list[PassRecord], stage: str) -> str:
    """The mean of a stage; of stage 1 only where it found all files in the same state."""
    if stage == "load" and len(load_s_by_state(records)) > 1:
        return "see below"
    return milliseconds(mean([record.stage_s[stage] for record in records]))


def _load_lines(run: RunRecord) -> Iterator[str]:
    """Stage 1 by state, for the models that found some files in one state and some in another."""
    for model in run.header.models:
        for engine in run.header.engines:
            states = load_s_by_state(passes(run, "whole", model, engine).values())
            if len(states) > 1:
                means = (
                    f"{milliseconds(mean(seconds))} {state} (n = {len(seconds)})" for state, seconds in states.items()
                )
                yield f"load of {model} {engine}, which the totals mix: {', '.join(means)}"


def _answers(run: RunRecord) -> Iterator[Text]:
    """What the models wrote of the first samples, below what the dataset has as answer."""
    engine = run.header.engines[0]
    written = {model: passes(run, "whole", model, engine) for model in run.header.models}
    for sample in run.header.samples[:SAMPLES_WITH_ANSWERS]:
        yield _heading(f"answers to sample {sample.id}")
        if sample.reference:
            yield Text(f"reference: {sample.reference}")
        for model, records in written.items():
            if sample.id in records:
                yield Text(
                    f"{model} ({len(records[sample.id].token_ids)} tokens): {_shortened(records[sample.id].text)}"
                )


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_ANSWER else text[:MAX_ANSWER] + " …"


def _comparison_table(run: RunRecord, comparison: Comparison) -> Table:
    table = _table("stage", "draft ms", "target ms", "speedup", "% of target's time", "% of time saved")
    for stage in LEGACY_STAGES:
        speedup, saved = comparison.stages[stage], comparison.share_of_time_saved(stage)
        table.add_row(
            STAGE_NUMBER_NAMES[stage] + (" (mixed)" if stage == 1 and comparison.load_is_mixed else ""),
            *_speedup_cells(speedup),
            percent(comparison.share_of_target_time(stage)),
            percent(saved) if saved is not None else "none saved",
        )
    table.add_row("total", *_speedup_cells(comparison.total), "100", "")
    gated = stage1_speedup(run, comparison.target)
    if gated:
        table.add_row("1 load as gated", *_speedup_cells(gated), "", "")
    return table


def _speedup_cells(speedup: Speedup) -> tuple[str, str, Text]:
    factor = Text(times(speedup.factor), style="green" if speedup.factor > 1 else "red")
    return milliseconds(speedup.draft_mean_s), milliseconds(speedup.target_mean_s), factor


def _comparison_text(comparison: Comparison) -> str:
    split = (
        f" = {times(comparison.tokens_factor)} fewer tokens x {times(comparison.pace_factor)} faster tokens"
        if comparison.tokens_factor and comparison.pace_factor
        else ", and answers without a token"
    )
    return (
        f"stage 3: {times(comparison.stages[3].factor)}{split}\n"
        f"position-wise agreement: {fraction(comparison.acceptance_per_sample)} (mean of the samples), "
        f"{fraction(comparison.acceptance_token_weighted)} (all tokens); of answers written independently, so it is no "
        f"acceptance rate\nthe old script's forecast from it: c = {fraction(comparison.cost_ratio)}; theoretical "
        f"speculative speedup at gamma {comparison.gamma}: "
        f"{times(comparison.theoretical_speedup)}"
    )


def _verdict_lines(verdicts: Iterable[VerdictRecord]) -> Text:
    """Return the broken limits last, each by itself; of the others of one kind, if they are many, the nearest only."""
    style = {"pass": "green", "not run": "yellow", "broken": "bold red"}
    kinds: dict[tuple[str, str], list[VerdictRecord]] = {}
    for verdict in verdicts:
        kinds.setdefault((verdict.state, _kind_of_limit(verdict)), []).append(verdict)
    lines = Text("\nlimits\n", style="bold")
    for (state, kind), group in sorted(kinds.items(), key=lambda item: list(style).index(item[0][0])):
        shown = group if state == "broken" or len(group) <= MAX_LISTS else [max(group, key=_nearness)]
        for verdict in shown:
            lines.append(f"{state.upper():8}", style=f"not bold {style[state]}")
            lines.append(f"{verdict.limit}: {verdict.sentence}\n", style="not bold")
        if len(shown) < len(group):
            nearer = ", none nearer to its bound" if state == "pass" else ""
            lines.append(f"        … and {len(group) - 1} more of {kind}{nearer}\n", style="not bold")
    return lines


def _gate_text(gates: Sequence[GateRecord]) -> Text:
    """Return the verdicts by state; what is the same for many figures is said once, with their number."""
    lines = Text("\ngates\n", style="bold")
    for state, style in GATE_STYLES.items():
        groups: dict[str, list[GateRecord]] = {}
        for gate in gates:
            if gate.state == state:
                groups.setdefault("" if state == "pass" else gate.sentence, []).append(gate)
        for group in groups.values():
            shown = max(group, key=lambda gate: (gate.loss or 0) / (gate.limit or 1))
            lines.append(f"{state.upper():17}", style=f"not bold {style}")
            lines.append(f"{shown.metric}: {shown.sentence}\n", style="not bold")
            if len(group) > 1:
                nearer = ", none nearer to its limit" if state == "pass" else ""
                lines.append(f"{'':17}… and {len(group) - 1} more{nearer}\n", style="not bold")
    return lines


def _kind_of_limit(verdict: VerdictRecord) -> str:
    return ".".join(verdict.limit.split(".")[:2])


def _nearness(verdict: VerdictRecord) -> float:
    """Return how near a figure came to its bound, from either side; 1 is there."""
    if not verdict.value or not verdict.bound:
        return 0.0
    return min(verdict.value / verdict.bound, verdict.bound / verdict.value)


def _failures(run: RunRecord) -> list[tuple[str, Failure]]:
    of_passes = [(each.model, each.failure) for each in run.passes if each.failure]
    return of_passes + [(stage.model, failure) for stage in run.stages for failure in stage.failures]


def _failure_text(failures: list[tuple[str, Failure]]) -> str:
    lines = [f"  {model}: {failure.sentence()}" for model, failure in failures]
    distinct = list(dict.fromkeys(lines))
    more = [f"  … and {len(distinct) - MAX_LISTS} more"] if len(distinct) > MAX_LISTS else []
    return "\n".join(["samples that failed:", *distinct[:MAX_LISTS], *more])


def _mib(size: int | None) -> str:
    return mebibytes(size) if size is not None else ""


def _heading(title: str) -> Text:
    return Text(f"\n{title}", style="bold")


def _filled(table: Table, rows: Iterable[Sequence[str]]) -> Table:
    for row in rows:
        table.add_row(*row)
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in columns:
        is_text = column in {"model", "stage"}
        table.add_column(column, justify="left" if is_text else "right", overflow="fold", no_wrap=is_text)
    return table
