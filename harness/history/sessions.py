"""Sessions of a history: found below paths, read once each, and ordered by commit or by time."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from harness.ab.revisions import Checkout
from harness.errors import HarnessError, ResultFileError, RevisionError
from harness.figures.metrics import Metric, session_metrics
from harness.gates.baselines import is_session
from harness.gates.gate import whole_session_problems
from harness.gates.machine_speed import speeds_of_figures
from harness.legacy.reading import NO_TIME
from harness.processes import git
from harness.records.fingerprint import Fingerprint, differences, fingerprint
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import RunRecord
from harness.report.files import read_result

# Minimum effect of counts of work, which are exact.
EXACT = math.log(1.01)
MAX_DIFFERENCES = 3


@dataclass(slots=True)
class Session:
    """A session of a history; `conditions` is the index of its conditions in the history."""

    path: Path
    started_at: str
    commit: str
    metrics: dict[str, Metric]
    speeds: dict[str, tuple[float, ...]]
    limits: dict[str, float]
    conditions: int

    @property
    def words(self) -> str:
        """Start and commit of the session."""
        date = "date not recorded" if self.started_at == NO_TIME else self.started_at[:16].replace("T", " ")
        return ", ".join(filter(None, (date, self.commit[:8])))


@dataclass(slots=True)
class Sessions:
    """Sessions in order, their different conditions, and sentences on files left out and other oddities."""

    ordered: list[Session] = field(default_factory=list)
    conditions: list[Fingerprint] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_history(paths: Sequence[Path], since: str | None = None, repository: Path | None = None) -> Sessions:
    """Return the sessions below some paths, with notes on files that cannot be read or must not count.

    `since`: only sessions of this revision and of later commits. Raises ResultFileError without any.
    """
    found, seen = Sessions(), dict[str, Path]()
    for path in dict.fromkeys(each.resolve() for given in paths for each in _files(given)):
        try:
            run = read_result(path)
        except HarnessError as error:
            found.notes.append(f"left out: {error}")
            continue
        why = whole_session_problems(run) if run else ["has answers and no times"]
        if run and (confirmed := run.header.options.get("confirm")):
            why.append(f"it confirms the session in {confirmed}")
        if run is None or why:
            found.notes.append(f"left out: {path}: {'; '.join(why)}")
            continue
        key = f"{run.header.started_at} {run.header.environment.get('pid')} {run.header.dataset}"
        if run.header.started_at == NO_TIME:
            key += sha256(path.read_bytes()).hexdigest()
        if seen.setdefault(key, path) != path:
            found.notes.append(f"counted once: {path} is the same session as {seen[key]}")
            continue
        found.ordered.append(_session(path, run, found.conditions))
        if run.end is None and run.header.environment:
            found.notes.append(f"{path} has not ended: its finished measurements count")
    _order(found, since, repository or Path.cwd())
    if not any(each.metrics for each in found.ordered):
        reasons = "\n".join(found.notes or ["there is no run's folder, session of a baseline or result file"])
        raise ResultFileError(f"{', '.join(map(str, paths))}: no session to draw\n{reasons}")
    order = [each.conditions for each in found.ordered]
    for before, at in pairwise(dict.fromkeys(order)):
        place, apart = order.index(at), differences(found.conditions[before], found.conditions[at])[:MAX_DIFFERENCES]
        alone = ", the only one, so no change can be found" if order.count(at) == 1 else ", with lines of their own"
        found.notes.append(f"other conditions from session {place + 1} on{alone}: {'; '.join(apart)}")
    return found


def _files(path: Path) -> Iterator[Path]:
    """Yield files that hold sessions: the path itself, or all journals, sessions and old files below a folder."""
    if not path.is_dir():
        yield path
        return
    journals = sorted(each for each in path.rglob(JOURNAL_NAME) if "interrupted" not in each.parts)
    yield from [*journals, *sorted(filter(is_session, path.rglob("*.json")))]
    # A legacy file beside a journal is of the same run.
    yield from sorted(each for each in path.rglob("*_results_*.json") if each.parent / JOURNAL_NAME not in journals)


def _session(path: Path, run: RunRecord, conditions: list[Fingerprint]) -> Session:
    metrics, state = session_metrics(run), run.header.environment.get("git") or {}
    # The mean of the faster half depends on the number of rounds.
    now = fingerprint(run) | {"rounds of a sample": run.header.planned_rounds}
    place = next((at for at, known in enumerate(conditions) if not differences(known, now)), len(conditions))
    # Models that only this session has loaded must be the same in the next one.
    conditions[place : place + 1] = [now | dict(*conditions[place : place + 1])]
    commit = str(state.get("commit") or "")
    speeds, limits = speeds_of_figures(run, metrics), run.header.limits
    return Session(path, run.header.started_at, commit, metrics | _counts(run), speeds, limits, place)


def _counts(run: RunRecord) -> dict[str, Metric]:
    """Return the counts of each stage's work as figures."""
    sums = Counter[tuple[str, ...]]()
    for work in run.works:
        for what, count in work.counts.items():
            sums[tuple(filter(None, ("work", what, work.stage, work.model, work.engine, work.variant)))] += count
    found = {}
    for parts, count in sums.items():
        name, value = ".".join(parts), math.log(max(count, 1e-9))  # as lengths are
        found[name] = Metric(name, "memory", value, "count", True, 1, EXACT, parts=parts)
    return found


def _order(found: Sessions, since: str | None, repository: Path) -> None:
    """Order sessions by commit where git knows all of them, else by time; keep `since` and later commits."""
    first = [Checkout(repository).revision(since).commit] if since else []
    behind = [f"^{each}" for each in first]
    given = ["--topo-order", "--reverse", "--ignore-missing", *behind, *(each.commit for each in found.ordered)]
    places = dict.fromkeys(first, 0)
    with suppress(RevisionError):  # no checkout here, or one without these commits
        listed = git(repository, "rev-list", *filter(None, given)).split()
        places = {name: place for place, name in enumerate([*first, *listed])}
    others = [each for each in found.ordered if since and each.commit not in places]
    if others:
        found.notes.append(f"sessions that are not of {since} or a later commit: {len(others)}")
    by_time = sorted((each for each in found.ordered if each not in others), key=lambda each: each.started_at)
    known = all(each.commit in places for each in by_time)
    found.ordered = sorted(by_time, key=lambda each: places[each.commit]) if known else by_time
    if found.ordered != by_time:
        found.notes.append("in the order of their commits: some were measured out of order")
