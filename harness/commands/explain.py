"""`python -m harness explain RUN BASELINE`: the times that changed between two results, with their causes."""

import sys
from pathlib import Path

from harness.errors import ResultFileError
from harness.figures.cause import Cause
from harness.figures.metrics import percent_change, session_metrics
from harness.gates.baselines import read_sessions, session_file
from harness.gates.witnesses import causes, first_line
from harness.records.fingerprint import differences, fingerprint
from harness.records.lines import RunRecord
from harness.records.quantities import counted
from harness.report.blocks import Report, Section, Sentences, Table, figure, filled
from harness.report.files import read_result
from harness.report.formatting import milliseconds, percent
from harness.report.terminal import rendered

MAX_LINES, MAX_PARTS = 10, 6


def explain(run: str, baseline: str, baselines: Path) -> None:
    """Print each changed time with its cause, the largest change first; raise ResultFileError or BaselineError."""
    now, known = _runs(run, baselines), _runs(baseline, baselines)
    times = {name: each for name, each in session_metrics(now[-1]).items() if name.startswith("time.")}
    found = causes(now, known, {name: metric.tests for name, metric in times.items()})
    if not found:
        raise ResultFileError(f"{run} and {baseline}: no stage was measured in both; name two runs of the same stages")
    moved = [name for name, cause in found.items() if cause.changes or abs(cause.change) > times[name].minimum_effect]
    moved.sort(key=lambda name: -abs(found[name].change))
    lines = [first_line(name, percent_change(found[name].change), found[name]) for name in moved]
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = [f"… and {len(lines) - MAX_LINES} more"]
    if len(moved) < len(found):
        by = ", by the same work" if all(each.parts for each in found.values()) else ""  # without ledgers, unknown
        same = len(found) - len(moved)
        lines.append(f"{same} of {counted(len(found), 'time')} {'is' if same == 1 else 'are'} as before{by}.")
    other = [f"condition: {each}" for each in differences(fingerprint(known[-1]), fingerprint(now[-1]))[:MAX_LINES]]
    sections = [
        Section("changes", "What changed", [Sentences(lines, in_summary=True)]),
        *(Section("parts", "In parts", filled(_parts(name, found[name]))) for name in moved[:1]),
        Section("conditions", "Conditions", filled(Sentences(other, in_summary=True))),
    ]
    conditions = [counted(len(known), "session")]
    sys.stdout.write(rendered(Report(f"{run} vs. {baseline}", run, conditions, sections)))


def _parts(name: str, cause: Cause) -> Table:
    rows = [
        (
            f"`{part.name}`" if part.name else part.words,
            figure(milliseconds, part.seconds / cause.steps, "part", name, part.name),
            figure(percent, part.seconds / cause.seconds if cause.seconds else 0.0, "share", name, part.name),
        )
        for part in sorted(cause.parts, key=lambda part: -abs(part.seconds))[:MAX_PARTS]
    ]
    return Table((name, "ms per token" if cause.steps > 1 else "ms", "% of the change"), rows, in_summary=True)


def _runs(name: str, baselines: Path) -> list[RunRecord]:
    """Return the records under a path or name: of a run, of a session, or of all sessions of a baseline."""
    path = Path(name)
    folder = path if path.is_dir() else baselines / name
    sessions = [each for each in read_sessions(folder.parent) if each.path.parent == folder]
    if sessions:
        return [each.record.run for each in sessions]
    found = read_result(path if path.exists() else session_file(baselines, name))
    if found is None:
        raise ResultFileError(f"{name}: holds answers and no times; name a run's folder or a session of a baseline")
    return [found]
