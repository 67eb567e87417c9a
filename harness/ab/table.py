"""A comparison as text for a terminal."""

import io
import math
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.ab.paired import ALPHA, alpha_per_look
from harness.ab.results import FILE_NAME, RevisionComparison
from harness.figures.metrics import Metric

STYLES = {"regressed": "bold red", "improved": "green", "same": "", "no worse": "", "undecided": "yellow"}
NARROWEST = 120
LARGE = math.log(100)  # beyond it percents are hard to read


def table(found: RevisionComparison, folder: Path, *, width: int = NARROWEST, color: bool = False) -> str:
    """Return a comparison as text: its plan, a row per figure with its verdict, notes, and the exit status."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=max(width, NARROWEST), force_terminal=color, color_system="standard" if color else None
    )
    parts: list[str | Table] = ["", *found.plan.lines(), ""]
    if found.figures:
        each = alpha_per_look(len(found.figures), found.plan.pairs)
        count = sum(figure.interval.at_equal_speed for figure in found.figures)
        speed = f"; {count} of {len(found.figures)} figures as of a machine equally fast for A and B" if count else ""
        reading = (
            f"{100 - 100 * ALPHA:.0f} % confidence that all intervals at all evaluations contain the true change "
            f"({100 - 100 * each:.3f} % for each by itself){speed}"
        )
        parts += [_rows(found), "", reading]
    parts += [f"note: {note}" for note in found.notes]
    if found.outcome:
        parts.append(f"exit status {found.outcome.code}: {found.outcome.reason}")
    for part in [*parts, f"files: {folder / FILE_NAME}, and a folder for each session beside it"]:
        console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str))
    return stream.getvalue()


def change(metric: Metric, difference: float) -> str:
    """Return a difference on a metric's scale as text: relative to A's figure, or in percentage points."""
    if metric.is_log and difference > LARGE:
        return f"{math.exp(min(difference, 99)):.0g}x"
    return metric.format_change(difference)


def _rows(found: RevisionComparison) -> Table:
    rows = Table("figure", box=None, padding=(0, 2, 0, 0))  # a long name wraps, so that no verdict is cut
    for column in ("A", "B", "B against A", "interval", "counts beyond", "pairs", "verdict"):
        rows.add_column(column, justify="left" if column == "verdict" else "right", no_wrap=True)
    for figure in found.figures:
        metric, interval = figure.metric, figure.interval
        low, high = change(metric, interval.low), change(metric, interval.high)
        rows.add_row(
            figure.name,
            metric.format(figure.a),
            metric.format(figure.b),
            change(metric, interval.value),
            f"{low if high.endswith('x') else low.partition(' ')[0]} … {high}",
            change(metric, metric.minimum_effect if metric.lower_is_better else -metric.minimum_effect),
            str(interval.samples),
            Text(figure.verdict, style=STYLES[figure.verdict]),
        )
    return rows
