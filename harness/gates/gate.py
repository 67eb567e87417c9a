"""Gates: every figure of a session beside the same figure of a baseline, and what came of it. Pure.

pass               within the limit
flagged            worse than the limit, in one session; a second one decides
regressed          worse in both sessions, and so is their mean
improved           better than the limit: time for a new baseline; or a speedup fell since only its target got faster
unstable           the baseline itself cannot tell
invalid            the session cannot be trusted, or the figure, since the baseline knows no machine as slow
missing baseline   fewer than five sessions to compare with
not run            the baseline has it and the session has not
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import msgspec

from harness.figures.metrics import Metric, session_metrics
from harness.figures.stages import comparable_rounds
from harness.gates import machine_speed
from harness.gates.prediction import (
    MIN_DEGREES_OF_FREEDOM,
    MIN_SESSIONS,
    Prediction,
    extrapolates,
    is_beyond,
    is_bimodal,
    is_too_noisy,
    predict,
)
from harness.records.lines import GateRecord, GateState, RunRecord
from harness.stages import max_other_states

EVERYTHING = "everything"
# What a model's facts say, under `extra`, where the goal tables have slowed it down on purpose.
INJECTED_WORK = "injected work"


@dataclass(slots=True)
class Baseline:
    """Sessions of one fingerprint, with their figures and how fast the machine was while each was measured."""

    name: str
    sessions: Sequence[RunRecord]
    metrics: dict[str, list[Metric]] = field(init=False)
    conditions: dict[str, list[dict[str, float]]] = field(init=False)

    def __post_init__(self) -> None:
        """Gather each figure over the sessions that have it."""
        self.metrics, self.conditions = {}, {}
        for session in self.sessions:
            readings = machine_speed.speeds_in_tests(session)
            for name, metric in session_metrics(session).items():
                self.metrics.setdefault(name, []).append(metric)
                self.conditions.setdefault(name, []).append(machine_speed.conditions(readings, metric.tests))


@dataclass(frozen=True, slots=True)
class Doubts:
    """Why figures cannot be trusted, in words: all of the session's; and times beside which nothing was read.

    `of_ends`: the machine was another at an end of the session; `of_baseline`: it was, from session to session.
    """

    of_session: Collection[str] = ()
    of_ends: Collection[str] = ()
    of_baseline: Collection[str] = ()


def judge_session(run: RunRecord, baseline: Baseline) -> list[GateRecord]:
    """Return a verdict on every figure that the session or the baseline has."""
    found = session_metrics(run)
    doubts = Doubts(
        of_session=[*injections(run), *interruptions(run), *machine_speed.disturbances(run)],
        of_ends=machine_speed.doubts(run, baseline.sessions),
        of_baseline=machine_speed.baseline_doubts(baseline.sessions),
    )
    names = [*baseline.metrics, *(name for name in found if name not in baseline.metrics)]
    return [_judge_doubting(run, name, found.get(name), baseline, doubts) for name in names]


def judge_metric(run: RunRecord, name: str, baseline: Baseline) -> GateRecord | None:
    """Return the verdict on one figure, of a session that is still going on; None where it is not there."""
    metric = session_metrics(run).get(name)
    if metric is None or len(baseline.metrics.get(name, [])) < MIN_SESSIONS:
        return None
    return _judge_doubting(run, name, metric, baseline, Doubts())


def missing_baseline(sentence: str) -> list[GateRecord]:
    """Return the verdict on all figures at once, where there is nothing to compare them with."""
    return [GateRecord(EVERYTHING, "missing baseline", sentence)]


def merged(first: Iterable[GateRecord], second: Iterable[GateRecord]) -> list[GateRecord]:
    """Return the verdicts of a session, the flagged ones decided by those of a second one."""
    again = {record.metric: record for record in second}
    return [_decided(record, again.get(record.metric)) if record.state == "flagged" else record for record in first]


def is_worse_in_both(first: GateRecord, second: GateRecord) -> bool:
    """Return whether two sessions make a regression: each is flagged, and their mean is beyond its own limit."""
    assert first.loss is not None, "a flagged figure has a loss"
    if second.state != "flagged" or second.loss is None or second.limit_of_mean is None:
        return False
    return (first.loss + second.loss) / 2 > second.limit_of_mean


def states(gates: Iterable[GateRecord]) -> set[GateState]:
    """Return the states that occur."""
    return {gate.state for gate in gates}


def flagged(gates: Iterable[GateRecord]) -> list[GateRecord]:
    """Return the verdicts that a second session has to decide."""
    return [gate for gate in gates if gate.state == "flagged"]


def _judge_doubting(run: RunRecord, name: str, metric: Metric | None, baseline: Baseline, doubts: Doubts) -> GateRecord:
    """Judge one figure; the first reason not to holds."""
    known = baseline.metrics.get(name, [])
    if metric is None:
        return _without_figure(known[0], "not run", f"not run: {_why_not_run(run, known[0])}")
    if len(known) < MIN_SESSIONS:
        has = f"the baseline has {len(known)} sessions of it" if known else "the baseline has not got it"
        return _without_figure(metric, "missing baseline", f"{has}, {MIN_SESSIONS} or more are needed (better 10)")
    conditions = _conditions(run, metric, baseline.conditions[name])
    values = [each.value for each in known]
    prediction = predict(values, metric.minimum_effect, conditions=conditions.numbers, follows=metric.follows_speed)
    by_ends = metric.depends_on_speed and not conditions.here
    at_ends, in_baseline = (doubts.of_ends, doubts.of_baseline) if by_ends else ((), ())
    invalid = [*doubts.of_session, *at_ends] or _fewer_rounds(run, metric, known) or conditions.unheard_of(prediction)
    if invalid:
        return _without_figure(metric, "invalid", "; ".join(invalid))
    unstable = in_baseline or _instability(metric, prediction)
    if unstable:
        advice = "look for what differs between its sessions, and retire those that stand apart or record it anew"
        return _without_figure(metric, "unstable", f"{'; '.join(unstable)}: {advice}")
    verdict = _beside(run, metric, known, prediction)
    at = "; the baseline's is what it lets one expect at this speed of the machine" if conditions.here else ""
    return msgspec.structs.replace(verdict, sentence=f"{verdict.sentence}{at}")


@dataclass(frozen=True, slots=True)
class Conditions:
    """How fast the machine was while a figure was measured, by workload: in each of K sessions, and now; or nothing."""

    known: Sequence[Mapping[str, float]] = ()
    here: Mapping[str, float] = field(default_factory=dict)

    @property
    def numbers(self) -> tuple[list[list[float]], list[float]] | None:
        """As a prediction takes them: [K, C] and [C]."""
        if not self.here:
            return None
        return [[each[work] for work in self.here] for each in self.known], [*self.here.values()]

    def unheard_of(self, prediction: Prediction) -> list[str]:
        """Return in words that the baseline has no sessions like this one."""
        if not extrapolates(prediction):
            return []
        changes = {work: value - fmean([each[work] for each in self.known]) for work, value in self.here.items()}
        words = ", ".join(f"{work} took {100 * math.expm1(change):+.1f} %" for work, change in changes.items())
        return [f"the baseline knows no machine of this speed: of work that never changes, {words}"]


def _conditions(run: RunRecord, metric: Metric, known: Sequence[Mapping[str, float]]) -> Conditions:
    """Return what a time may depend on; nothing where that was not read, or would leave too little to judge by."""
    here = machine_speed.conditions(machine_speed.speeds_in_tests(run), metric.tests) if metric.depends_on_speed else {}
    if not all(here.keys() == each.keys() for each in known):
        return Conditions()
    enough = len(known) - 1 - len(here) >= MIN_DEGREES_OF_FREEDOM
    return Conditions(known, here) if enough else Conditions()


def injections(run: RunRecord) -> list[str]:
    """Return in words what was done to slow a session down on purpose."""
    found = {record.facts.get("extra", {}).get(INJECTED_WORK) for record in run.models} - {None}
    return [f"work was injected for a goal table: {words}" for words in sorted(found)]


def interruptions(run: RunRecord) -> list[str]:
    """Return in words that a session is none: several processes had a part in it."""
    return [f"the run was gone on with, or shared, by {len(run.attempts)} further processes"] if run.attempts else []


def _beside(run: RunRecord, metric: Metric, known: Sequence[Metric], prediction: Prediction) -> GateRecord:
    """Judge a figure that can be trusted beside a baseline that can."""
    change = metric.value - float(prediction.centre)
    loss = change if metric.lower_is_better else -change
    state: GateState = "pass"
    sentence = _sentence(metric, change, prediction)
    moved = _target_alone(run, metric, known, slower=loss < 0)
    if is_beyond(prediction, loss):
        state, sentence = ("improved", f"{sentence}; {moved}") if moved else ("flagged", sentence)
    elif is_beyond(prediction, -loss) and moved:
        sentence = f"{sentence}; {moved}"
    elif is_beyond(prediction, -loss):
        state, sentence = "improved", f"{sentence}; if that is to stay, replace the baseline"
    return GateRecord(
        metric=metric.name,
        state=state,
        sentence=sentence,
        tests=metric.tests,
        value=metric.value,
        centre=float(prediction.centre),
        loss=loss,
        limit=float(prediction.limit),
        limit_of_mean=float(prediction.limit_of_mean),
        minimum_detectable_effect=float(prediction.minimum_detectable_effect),
        sessions=prediction.sessions,
    )


def _sentence(metric: Metric, change: float, prediction: Prediction) -> str:
    sign = 1 if metric.lower_is_better else -1
    return (
        f"{metric.written(metric.value)}, baseline {metric.written(float(prediction.centre))} "
        f"({metric.written_change(change)}; limit {metric.written_change(sign * float(prediction.limit))}, "
        f"would have found {metric.written_change(sign * float(prediction.minimum_detectable_effect))}; "
        f"{prediction.sessions} sessions)"
    )


def _target_alone(run: RunRecord, metric: Metric, known: Sequence[Metric], *, slower: bool) -> str:
    """Say so where a speedup changed because its target got slower, or faster, and the draft had no part in it."""
    of_baseline = [each.sides for each in known if each.sides is not None]
    if metric.sides is None or len(of_baseline) < MIN_SESSIONS:
        return ""
    of_target, of_draft = (predict(side, metric.minimum_effect) for side in zip(*of_baseline, strict=True))
    target, draft = metric.sides[0] - float(of_target.centre), metric.sides[1] - float(of_draft.centre)
    sign = 1 if slower else -1
    if not is_beyond(of_target, sign * target) or is_beyond(of_draft, -sign * draft):
        return ""
    change, word = metric.written_change(target), "slower" if slower else "faster"
    return f"only {metric.parts[2]} got {word} ({change}), {run.header.draft} is what it was"


def _instability(metric: Metric, prediction: Prediction) -> list[str]:
    found = []
    if is_too_noisy(prediction):
        found.append(f"the baseline's sessions spread by {metric.written_change(float(prediction.spread))}")
    if is_bimodal(prediction.residuals, metric.minimum_effect):
        ends = (prediction.centre + end(prediction.residuals) for end in (min, max))
        low, high = (metric.written(float(end)) for end in ends)
        found.append(f"the baseline's sessions stand in two groups, from {low} to {high}")
    return found


def _fewer_rounds(run: RunRecord, metric: Metric, known: Sequence[Metric]) -> list[str]:
    """Complain of rounds that failed, or fewer than the baseline has; a few in another state are tolerated."""
    planned, records = max(each.rounds for each in known), [each for each in run.stages if each.test in metric.tests]
    other_states = sum(len(record.round_s) - len(comparable_rounds(record)) for record in records)
    if planned - metric.rounds > min(other_states, max_other_states(planned)):
        why = f"; {other_states} more found the file in another state" if other_states else ""
        return [f"measured in {metric.rounds} rounds, the baseline in {planned}{why}"]
    return [f"{len(record.failures)} rounds of {record.test} failed" for record in records if record.failures]


def _why_not_run(run: RunRecord, metric: Metric) -> str:
    outcomes = {record.test: record for record in run.outcomes}
    known = [outcomes[test] for test in metric.tests if test in outcomes]
    if known:
        return "; ".join(f"{each.test} was {each.outcome} ({each.reason})" for each in known)
    return f"{' and '.join(metric.tests) or 'its test'} was not reached, or is not there any more"


def _without_figure(metric: Metric, state: GateState, sentence: str) -> GateRecord:
    return GateRecord(metric=metric.name, state=state, sentence=sentence, tests=metric.tests)


def _decided(first: GateRecord, second: GateRecord | None) -> GateRecord:
    if second is None or second.state in {"not run", "missing baseline", "unstable"}:
        why = second.sentence if second else "it was not measured again"
        return msgspec.structs.replace(first, sentence=f"{first.sentence}; not decided: {why}")
    if second.state == "invalid":
        sentence = f"{first.sentence}; the second session is invalid: {second.sentence}"
        return msgspec.structs.replace(first, state="invalid", sentence=sentence)
    both = f"{first.sentence}; again: {second.sentence}"
    worse = is_worse_in_both(first, second)
    return msgspec.structs.replace(first, state="regressed" if worse else "pass", sentence=both)
