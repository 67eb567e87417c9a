"""The results of a comparison: a function of its plan and sessions, written to ab.json after each session.

History of the format:
    1   first version
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import msgspec

from harness.ab.paired import DECIDED, alpha_per_look, looks, paired_interval
from harness.ab.plan import AbPlan
from harness.ab.sessions import SessionFigures
from harness.errors import SessionError
from harness.figures.intervals import ChangeVerdict, Interval, verdict
from harness.figures.metrics import Metric, target_only_note
from harness.gates.exit_status import FAILED, NO_FIGURE, NOT_DECIDED, Status
from harness.records.fingerprint import REFERENCE_WORK, differences
from harness.records.folder import read_json

FORMAT_VERSION = 1
FILE_NAME = "ab.json"
MAX_FAILED = 3  # failed tests that an outcome names


class PairedFigure(msgspec.Struct, frozen=True):
    """One metric of both sides: means over sessions and the interval of B - A, on the metric's scale."""

    name: str
    metric: Metric
    # The common mean, minus and plus half of the interval's difference: adjusted to equal speed where the interval is.
    a: float
    b: float
    interval: Interval
    verdict: ChangeVerdict
    moved: str = ""  # sentence on the target of a speedup, where its change alone alters the verdict


class _Measured(NamedTuple):
    metric: Metric
    speed: tuple[float, ...]  # readings of the machine during its tests


_Pairs = Sequence[tuple[_Measured, _Measured]]


class RevisionComparison(msgspec.Struct, frozen=True):
    """A whole comparison, as in `ab.json`; `outcome` is None until it is finished."""

    format_version: int
    plan: AbPlan
    sessions: tuple[SessionFigures, ...] = ()
    figures: tuple[PairedFigure, ...] = ()
    notes: tuple[str, ...] = ()
    outcome: Status | None = None

    @property
    def is_decided(self) -> bool:
        """Whether more pairs would change no verdict."""
        return bool(self.figures) and all(figure.verdict in DECIDED for figure in self.figures)

    @property
    def pairs(self) -> int:
        """Number of pairs with both sessions finished."""
        return len(self.sessions) // 2


def compare(plan: AbPlan, sessions: Sequence[SessionFigures]) -> RevisionComparison:
    """Return the results of whole pairs at the latest look; raise SessionError for sessions of different conditions."""
    for name in "ab":
        measured = [session for session in sessions if session.side == name and session.conditions]
        for session in measured[1:]:
            changed = differences(measured[0].conditions, session.conditions)
            if changed:
                raise SessionError(
                    f"session {session.folder} ran under other conditions than {measured[0].folder}: "
                    f"{'; '.join(changed)}. Figures are compared under equal conditions only; begin a new comparison"
                )
    look = max((each for each in looks(plan.pairs) if each <= len(sessions) // 2), default=0)
    looked_at = [session for session in sessions if session.pair <= look]
    if len({session.conditions.get(REFERENCE_WORK) for session in looked_at if session.conditions}) > 1:
        looked_at = [msgspec.structs.replace(session, speeds={}) for session in looked_at]  # speeds of different work
    by_name = _pairs_by_name(looked_at)
    alpha = alpha_per_look(max(len(by_name), 1), plan.pairs)
    figures = tuple(_figure(name, pairs, alpha) for name, pairs in by_name.items())
    moved = [f"{figure.name}: {figure.moved}" for figure in figures if figure.moved]
    notes = (*moved, *_notes(sessions, by_name, look))
    return RevisionComparison(FORMAT_VERSION, plan, tuple(sessions), figures, notes)


def common_names(sessions: Sequence[SessionFigures]) -> set[str]:
    """Return the names of figures that both sides measured."""
    sides = [_measured(sessions, name) for name in "ab"]
    return sides[0].keys() & sides[1].keys()


def with_outcome(comparison: RevisionComparison) -> RevisionComparison:
    """Return a finished comparison with its exit status and reason, the first that applies."""
    # Sessions of earlier versions, and failures of tests without figures, have no names: they count as one test.
    failed = [(each, {*each.failed} or {""}) for each in comparison.sessions if each.exit_status == FAILED]
    fails_in_a = set().union(*(names for session, names in failed if session.side == "a"))
    only_in_b = [(session, names - fails_in_a) for session, names in failed if names - fails_in_a]
    regressed = ", ".join(figure.name for figure in comparison.figures if figure.verdict == "regressed")
    undecided = ", ".join(figure.name for figure in comparison.figures if figure.verdict == "undecided")
    if only_in_b:
        session, names = only_in_b[0]
        said = [*sorted(filter(None, names))[:MAX_FAILED], f"see {session.folder}.txt"]
        outcome = Status(FAILED, f"tests fail in B and not in A: {', '.join(said)}")
    elif regressed:
        outcome = Status(FAILED, f"B is worse beyond the minimum effect in {regressed}")
    elif not comparison.figures:
        outcome = Status(NO_FIGURE, "nothing was measured on both sides")
    elif undecided:
        outcome = Status(NOT_DECIDED, f"a regression was neither found nor excluded in {undecided}")
    else:
        outcome = Status(0, "nothing is worse in B beyond the minimum effect")
    return msgspec.structs.replace(comparison, outcome=outcome)


def read(folder: Path) -> RevisionComparison:
    """Return the comparison in a folder's `ab.json`; raise ResultFileError where it is missing or cannot be read."""
    path = folder / FILE_NAME
    advice = "name the folder of a comparison"
    return read_json(path, RevisionComparison, "a comparison", advice=advice, version=FORMAT_VERSION)


def _figure(name: str, pairs: _Pairs, alpha: float) -> PairedFigure:
    metric, values = pairs[0][0].metric, [(a.metric.value, b.metric.value) for a, b in pairs]
    changes, speeds = [b - a for a, b in values], _differences_of_speed(pairs)
    interval = paired_interval(changes, alpha, speeds, tracks_machine_speed=metric.tracks_machine_speed)
    found = verdict(interval, metric.minimum_effect, lower_is_better=metric.lower_is_better)
    moved = _target_only_note(pairs, alpha) if found not in {"same", "improved"} else ""
    middle, half = fmean(value for pair in values for value in pair), interval.value / 2
    return PairedFigure(name, metric, middle - half, middle + half, interval, "improved" if moved else found, moved)


def _differences_of_speed(pairs: _Pairs) -> list[list[float]]:
    """Return the differences of readings, B - A, by pair; nothing where sessions have different numbers of readings."""
    if len({len(side.speed) for pair in pairs for side in pair}) > 1:
        return []
    return [[of_b - of_a for of_a, of_b in zip(a.speed, b.speed, strict=True)] for a, b in pairs]


def _target_only_note(pairs: _Pairs, alpha: float) -> str:
    """Return a sentence where a speedup fell only because its target got faster, which is no loss; else empty."""
    sides = [(a.metric.sides, b.metric.sides) for a, b in pairs if a.metric.sides and b.metric.sides]
    if len(sides) < len(pairs):
        return ""
    metric, speeds = pairs[0][0].metric, _differences_of_speed(pairs)
    target, draft = (paired_interval([b[side] - a[side] for a, b in sides], alpha, speeds) for side in (0, 1))
    of_target, of_draft = (verdict(each, metric.minimum_effect, lower_is_better=True) for each in (target, draft))
    moved, against = of_target == "improved", of_draft in {"regressed", "undecided"}
    return target_only_note(metric, target.value, target_moved=moved, draft_moved_against=against)


def _pairs_by_name(sessions: Sequence[SessionFigures]) -> dict[str, list[tuple[_Measured, _Measured]]]:
    """Return the figures that both sides measured in at least two pairs, as (A, B) per pair, by name."""
    found: dict[str, list[tuple[_Measured, _Measured]]] = {name: [] for name in _measured(sessions, "a")}
    for pair in sorted({session.pair for session in sessions}):
        of_pair = [session for session in sessions if session.pair == pair]
        a, b = (_measured(of_pair, name, among=sessions) for name in "ab")
        for name in a.keys() & b.keys():
            found[name].append((a[name], b[name]))
    return {name: pairs for name, pairs in found.items() if len(pairs) > 1}


def _measured(
    sessions: Sequence[SessionFigures], side: str, among: Sequence[SessionFigures] | None = None
) -> dict[str, _Measured]:
    """Return a side's figures by name; names leave out the engine where each side has one of its own."""
    engines = {each.engines for each in among or sessions if each.engines}
    compared = set().union(*engines) if len(engines) == 2 and all(len(each) == 1 for each in engines) else set()
    found = {}
    for session in (each for each in sessions if each.side == side):
        for name, metric in session.metrics.items():
            common_name = ".".join(part for part in metric.parts if part not in compared) or name
            found[common_name] = _Measured(metric, session.speeds.get(name, ()))
    return found


def _notes(sessions: Sequence[SessionFigures], compared: Mapping[str, Sequence[object]], look: int) -> Iterator[str]:
    first = {each.side: each.conditions for each in reversed(sessions) if each.conditions}
    if first.keys() == {"a", "b"}:
        yield from (f"from A to B, {difference}" for difference in differences(first["a"], first["b"]))
    a, b = (_measured(sessions, name, among=sessions) for name in "ab")
    for side, names in (("A", a.keys() - b.keys()), ("B", b.keys() - a.keys())):
        if names:
            yield f"only {side} measured: {', '.join(sorted(names))}"
    for name, pairs in compared.items():
        if len(pairs) < look:
            yield f"{name} was measured on both sides in {len(pairs)} of {look} pairs"
    for side in "ab":
        ended = [(each.exit_status, each.reason) for each in sessions if each.side == side]
        for status, reason in dict.fromkeys(each for each in ended if each[0]):
            count = ended.count((status, reason))
            yield f"{count} of {len(ended)} sessions of {side.upper()} ended with exit status {status}: {reason}"
