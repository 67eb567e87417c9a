"""Bisection of commits by comparisons with the good one. Pure, but for `compare`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from harness.ab.results import PairedFigure, RevisionComparison
from harness.errors import SessionError
from harness.gates.exit_status import FAILED, NO_FIGURE, NOT_DECIDED


class Finding(NamedTuple):
    """The end of a bisection: index of the culprit or None, a sentence, and indices of skipped commits."""

    culprit: int | None
    words: str
    exit_status: int  # 1 for a culprit, 0 for none, 10 where nothing was measured at both ends, 11 for undecided
    comparisons: int
    sessions: int
    skipped: tuple[int, ...]


def bisect(
    commits: Sequence[str],
    compare: Callable[[str, str], RevisionComparison],
    say: Callable[[str], object] = lambda _words: None,
) -> Finding:
    """Find the commit that made a figure worse: the figure whose loss from the first to the last commit is clearest.

    A commit is bad if it has more than half of the whole loss. The culprit is then compared with the commit before it.
    A commit in between whose own session fails is skipped, and `say` gets a line; other SessionErrors are raised.
    """
    known: dict[tuple[int, int], RevisionComparison] = {}
    skipped: set[int] = set()

    def compared(a: int, b: int) -> dict[str, PairedFigure]:
        known[a, b] = known[a, b] if (a, b) in known else compare(commits[a], commits[b])
        return {each.name: each for each in known[a, b].figures}

    def against_good(place: int, name: str) -> PairedFigure | None:
        try:
            found = compared(0, place).get(name)
            why = "" if found else f"{name} was not measured on both sides"
        except SessionError as error:
            if error.commit != commits[place]:
                raise
            found, why = None, str(error).partition("\n")[0].removesuffix(" ends with")
        if found is None:
            skipped.add(place)
            say(f"commit {place} is skipped: {why}")
        return found

    def ended(words: str, exit_status: int, culprit: int | None = None) -> Finding:
        sessions = sum(len(each.sessions) for each in known.values())
        return Finding(culprit, words, exit_status, len(known), sessions, tuple(sorted(skipped)))

    low, high = 0, len(commits) - 1
    regressed = [each for each in compared(low, high).values() if each.verdict == "regressed"]
    if not regressed:
        return ended(*_without_regression(known[low, high]))
    worst = max(regressed, key=lambda each: abs(each.interval.value) / (each.interval.high - each.interval.low + 1e-12))
    while between := sorted({*range(low + 1, high)} - skipped, key=lambda each: abs(each - (low + high) // 2)):
        figure = against_good(between[0], worst.name)
        if figure is None:
            continue
        if figure.interval.value / worst.interval.value > 1 / 2:
            high = between[0]
        else:
            low = between[0]
    if high - low > 1:
        words = f"{worst.name} got worse in one of commits {low + 1} to {high}: those between were skipped"
        return ended(f"undecided: {words}", NOT_DECIDED)
    last, change = compared(low, high).get(worst.name), worst.metric.format_change
    if last is None or last.verdict == "undecided":
        return ended(f"undecided: whether commit {high} alone made {worst.name} worse", NOT_DECIDED)
    if last.verdict != "regressed":
        return ended(f"no single culprit: {worst.name} {change(worst.interval.value)} in several steps", 0)
    value, *ends = map(change, (last.interval.value, last.interval.low, last.interval.high))
    return ended(f"{worst.name} {value} ({' to '.join(ends)})", FAILED, high)


def _without_regression(ends: RevisionComparison) -> tuple[str, int]:
    """Return sentence and exit status where no figure regressed between the first and the last commit."""
    assert ends.outcome is not None, "a finished comparison has an outcome"
    if ends.outcome.code == 0:
        return f"no culprit: {ends.outcome.reason}", 0
    # A test that fails only at the bad end blames no figure, and may have prevented some.
    status = NO_FIGURE if ends.outcome.code == NO_FIGURE else NOT_DECIDED
    return f"undecided between the ends: {ends.outcome.reason}", status
