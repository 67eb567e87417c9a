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

    def compared(a: int, b: int) -> dict[str, PairedFigure]:
        known[a, b] = known[a, b] if (a, b) in known else compare(commits[a], commits[b])
        return {each.name: each for each in known[a, b].figures}

    def ended(words: str, culprit: int | None = None) -> Finding:
        sessions = sum(len(each.sessions) for each in known.values())
        return Finding(culprit, words, len(known), sessions, tuple(sorted(skipped)))

    low, high = 0, len(commits) - 1
    regressed = [each for each in compared(low, high).values() if each.verdict == "regressed"]
    if not regressed:
        outcome = known[low, high].outcome
        return ended(f"no culprit: {outcome.reason if outcome else 'nothing was compared'}")
    worst = max(regressed, key=lambda each: abs(each.interval.value) / (each.interval.high - each.interval.low + 1e-12))
    while between := sorted({*range(low + 1, high)} - skipped, key=lambda each: abs(each - (low + high) // 2)):
        try:
            figure = compared(0, between[0]).get(worst.name)
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
    last, change = compared(low, high).get(worst.name), worst.metric.format_change
    if last is None or last.verdict != "regressed":
        return ended(f"no single culprit: {worst.name} {change(worst.interval.value)} in several steps")
    value, *ends = map(change, (last.interval.value, last.interval.low, last.interval.high))
    return ended(f"{worst.name} {value} ({' to '.join(ends)})", high)
