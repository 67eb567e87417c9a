"""The page of a history: changes with their sessions, a line chart per figure, and a table of sessions."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean

from harness.figures.metrics import MAX_LOG, Metric
from harness.gates.baselines import is_session
from harness.grouping import grouped
from harness.history.change_points import MIN_SESSIONS
from harness.history.series import Change, Series, times_changed_jointly
from harness.history.sessions import Sessions
from harness.records.quantities import MIB, counted
from harness.report import charts
from harness.report.blocks import Chart, Figure, Report, Section, Table, Text, Verdict

UNITS = {"s": (1000.0, "ms"), "bytes": (1 / MIB, "MiB"), "times": (1.0, "x"), "ms": (1.0, "ms per token")}
# Kinds of limits by the first part of a figure's name, where the two differ.
LIMITS = {"time": ("median_ms",), "memory": ("host_memory_mib", "device_memory_mib")}
MAX_NAMED = 3
SESSIONS = ("session", "began, commit", "conditions", "figures", "file")


def report_of_history(
    title: str, sessions: Sessions, found: Sequence[Series], events: Sequence[list[Change]], crept: Sequence[Change]
) -> Report:
    """Return the report of a history's figures, their changes, and those that crept away from a release."""
    changes = [([each], f"against the release: {each[0].name} {_interval(each)}") for each in crept]
    changes += [(each, _sentence(each, sessions, found)) for each in reversed(events)]
    losses = [words for event, words in changes if _is_loss(event)]
    gains, ordered = [words for _, words in changes if words not in losses], sessions.ordered
    counts = f"{len(losses)} for the worse, {len(gains)} for the better; at most 0.05 false alarms per 100 sessions"
    changed = counted(len(changes), "change") if changes else "no change"
    names = {each.name for each in found}
    # With few sessions under new conditions, no change could be reported, whatever happened.
    young = names - {each.name for each in found if len(each.values) >= MIN_SESSIONS}
    why = f"a change needs {MIN_SESSIONS} sessions under the same conditions"
    verdict = Verdict("bad" if losses else "good", changed, f"{counts} and figure")
    if young == names and not changes:
        verdict = Verdict("doubt", "not known", f"no figure has enough sessions: {why}")
    elif young:
        sessions.notes.append(f"no change of {len(young)} of {len(names)} figures could be reported: {why}")
    rows = [
        [str(place), each.words, str(each.conditions + 1), str(len(each.metrics)), str(each.path)]
        for place, each in enumerate(ordered, start=1)
    ]
    period = " to ".join(dict.fromkeys([ordered[0].words, ordered[-1].words]))
    return Report(
        title="History",
        source=title,
        conditions=[counted(len(ordered), "session"), counted(len(names), "figure"), period],
        verdict=verdict,
        problems=losses,
        highlights=gains,
        warnings=[(each, "") for each in sessions.notes],
        sections=[
            *_changes(events, sessions),
            *_lines(found, sessions),
            _latest(found),
            Section("sessions", "Sessions behind the points", [Table(SESSIONS, rows, text_columns=5)]),
        ],
    )


def in_unit(metric: Metric, value: float) -> float:
    """Return a value on a metric's scale in the unit of UNITS, without logarithm."""
    return UNITS.get(metric.unit, (1.0, ""))[0] * (math.exp(min(value, MAX_LOG)) if metric.is_log else value)


def _is_loss(event: Sequence[Change]) -> bool:
    """Return whether most changes of an event are for the worse."""
    worse = [each for each, change, _ in event if (change.value > 0) == each.metric.lower_is_better]
    return len(worse) > len(event) / 2


def _interval(change: Change) -> str:
    if abs(change[1].value) > math.log(100):
        return "from none" if change[1].value > 0 else "to none"
    value, low, high = map(change[0].metric.format_change, (change[1].value, change[1].low, change[1].high))
    return f"{value} ({low} to {high})"


def _sentence(event: Sequence[Change], sessions: Sessions, found: Sequence[Series]) -> str:
    place = min(each[2] for each in event)
    since, times = f"since session {place + 1} ({sessions.ordered[place].words})", times_changed_jointly(event, found)
    if times:
        form, values = event[0][0].metric.format_change, sorted(change.value for _, change, _ in event)
        word, ends = "slower" if values[0] > 0 else "faster", f"{form(values[0])} to {form(values[-1])}"
        return f"{since}: {len(event)} of {times} times {word} together, {ends}: the machine, or what all of them share"
    more = [f"and {len(event) - MAX_NAMED} more"] if len(event) > MAX_NAMED else []
    return f"{since}: {'; '.join([*(f'{each[0].name} {_interval(each)}' for each in event[:MAX_NAMED]), *more])}"


def _changes(events: Sequence[list[Change]], sessions: Sessions) -> Iterator[Section]:
    rows: list[list[Text]] = []
    for series, change, place in (each for event in reversed(events) for each in event):
        point = next(each for each in series.changes if series.places[each.at] == place)
        level = fmean(series.values[point.at : point.at + change.samples])
        shown = {"was": level - change.value, "is": level}
        levels = [Figure(f"{series.name}.{what}", value, series.metric.format(value)) for what, value in shown.items()]
        interval = Figure(f"{series.name}.change", change.value, _interval((series, change, place)))
        seen = str(series.places[point.seen] + 1)
        rows.append([series.name, sessions.ordered[place].words, str(place + 1), seen, *levels, interval])
    if rows:
        table = Table(("figure", "since", "session", "named at", "was", "is", "change"), rows, 2, in_summary=True)
        lead = "Levels are means over sessions. Changes are adjusted to equal machine speed, where that was read."
        yield Section("changes", "What changed", [table], lead, brief=True, folded=False)


def _lines(found: Sequence[Series], sessions: Sessions) -> Iterator[Section]:
    changed = {each.name for each in found if each.changes}

    def heading_of(series: Series) -> str:
        family = series.name.partition(".")[0].replace("_", " ")
        return "Figures that changed" if series.name in changed else f"Unchanged: {family}"

    ordered = sorted(found, key=lambda each: each.name not in changed)
    for number, (heading, group) in enumerate(grouped((heading_of(each), each) for each in ordered).items()):
        by_name = grouped((each.name, each) for each in sorted(group, key=lambda each: each.name))
        blocks = [_line(name, several, sessions) for name, several in by_name.items()]
        lead = "Over sessions. Thick: levels; dotted: other conditions; dashed: limit (red), baseline's mean (grey)."
        yield Section(f"lines{number}", f"{heading} ({len(blocks)})", blocks, lead, folded=not group[0].changes)


def _latest(found: Sequence[Series]) -> Section:
    """Return the table of each figure's first and latest value, which Markdown has in place of charts."""
    rows: list[list[Text]] = []
    by_name = grouped((each.name, each) for each in sorted(found, key=lambda each: (each.name, each.places[-1])))
    for name, of in by_name.items():
        ends = {"first": of[-1].values[0], "latest": of[-1].values[-1]}
        shown = [Figure(f"{name}.{what}", each, of[-1].metric.format(each)) for what, each in ends.items()]
        rows.append([name, str(len(of[-1].values)), *shown])
    table = Table(("figure", "sessions", "first", "latest"), rows)
    return Section("latest", "First and latest", [table], "Each figure is under its own latest conditions.", brief=True)


def _line(name: str, group: Sequence[Series], sessions: Sessions) -> Chart:
    """Return the chart of a figure, with its levels and the sessions where its conditions changed."""
    latest = max(group, key=lambda each: each.places[-1])  # earlier conditions may have come back
    metric, lines, levels = latest.metric, [], []
    for series in group:
        x, y = [place + 1.0 for place in series.places], [in_unit(metric, each) for each in series.values]
        lines.append(charts.Group("", f"m{1 + series.conditions % 4}", x, y))
        for start, end in pairwise([0, *(each.at for each in series.changes), len(x)]):
            levels.append(charts.Group("", "ink", [x[start], x[end - 1]], [fmean(y[start:end])] * 2))
    behind, values = [sessions.ordered[place] for place in latest.places], lines[group.index(latest)].y
    baseline = [value for value, session in zip(values, behind, strict=True) if is_session(session.path)]
    bounds = {"muted": fmean(baseline)} if baseline else {}
    for limit, bound in behind[-1].limits.items():
        engine, kind, *of = limit.split(".")
        if kind in LIMITS.get(metric.parts[0], metric.parts[:1]) and {*of} <= {*metric.parts[1:]} <= {*of, engine}:
            bounds["bad"] = bound
    breaks, unit = [line.x[0] - 0.5 for line in lines[1:]], UNITS.get(metric.unit, (1.0, metric.unit))[1]
    ends = [metric.format(each) for each in (latest.values[0], latest.values[-1])]
    return Chart(name, f"from {ends[0]} to {ends[1]}", lambda: charts.line(lines, unit, breaks, levels, bounds))
