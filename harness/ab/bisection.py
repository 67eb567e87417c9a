"""Which commit made a figure worse: comparisons with the last good one, by halves. Pure, but for `compare`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.ab.results import PairedFigure, RevisionComparison
from harness.errors import SessionError


class Finding(NamedTuple):
    """How a bisection ended: the culprit's place or None, in words what is known, and the places that were skipped."""

    culprit: int | None
    words: str
    comparisons: int
    sessions: int
    skipped: tuple[int, ...]


def bisect(commits: Sequence[str], compare: Callable[[str, str], RevisionComparison]) -> Finding:
    """Find the commit behind the first one, which is good, that made worse what is most clearly worse in the last one.

    A commit is bad if it has more than half of the whole loss. The culprit is then compared with the commit before it.
    `compare` raises SessionError for what cannot be measured, which is skipped, unless it is the first or the last.
    """
    known: dict[tuple[int, int], RevisionComparison] = {}
    skipped: set[int] = set()

    def compared(a: int, b: int) -> RevisionComparison:
        if (a, b) not in known:
            known[a, b] = compare(commits[a], commits[b])
        return known[a, b]

    def ended(words: str, culprit: int | None = None) -> Finding:
        sessions = sum(len(each.sessions) for each in known.values())
        return Finding(culprit, words, len(known), sessions, tuple(sorted(skipped)))

    low, high = 0, len(commits) - 1
    whole = compared(low, high)
    regressed = [each for each in whole.figures if each.verdict == "regressed"]
    if not regressed:
        return ended(f"no culprit: {whole.outcome.reason if whole.outcome else 'nothing was compared'}")
    worst = max(regressed, key=lambda each: abs(each.interval.value) / (each.interval.high - each.interval.low + 1e-12))
    while between := sorted({*range(low + 1, high)} - skipped, key=lambda each: abs(each - (low + high) // 2)):
        try:
            figure = _figure(worst.name, compared(0, between[0]))
        except SessionError:
            figure = None
        if figure is None:
            skipped.add(between[0])
        elif figure.interval.value / worst.interval.value > 1 / 2:
            high = between[0]
        else:
            low = between[0]
    if high - low > 1:
        return ended(f"{worst.name} got worse in one of commits {low + 1} to {high}: those between were skipped")
    last, change = _figure(worst.name, compared(low, high)), worst.metric.format_change
    if last is None or last.verdict != "regressed":
        return ended(f"no single culprit: {worst.name} {change(worst.interval.value)} in several steps")
    value, *ends = map(change, (last.interval.value, last.interval.low, last.interval.high))
    return ended(f"{worst.name} {value} ({' to '.join(ends)})", high)


def _figure(name: str, found: RevisionComparison) -> PairedFigure | None:
    return next((each for each in found.figures if each.name == name), None)
