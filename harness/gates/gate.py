"""Gates: a verdict on every figure of a session, by the same figure of a baseline. Pure.

docs/gates.md defines the states of verdicts.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Self

from msgspec.structs import replace

from harness.figures.metrics import Metric, percent_change, session_metrics, target_only_note
from harness.figures.quality import BaselineOutputs, baseline_outputs, changed_answer
from harness.figures.stages import comparable_rounds
from harness.gates import machine_speed
from harness.gates.prediction import (
    MIN_DEGREES_OF_FREEDOM,
    MIN_SESSIONS,
    Prediction,
    extrapolates,
    is_beyond,
    is_bimodal,
    is_regression,
    is_too_noisy,
    predict,
)
from harness.gates.witnesses import with_causes
from harness.records.lines import GateRecord, GateState, RunRecord
from harness.records.quantities import counted
from harness.stages import max_other_states

# Key in a model's facts, under `extra`, where the goal tables have slowed the model down on purpose.
INJECTED_WORK = "injected work"


@dataclass(slots=True)
class Baseline:
    """Sessions of one fingerprint, with their figures, the machine's speed during each figure, and their outputs."""

    name: str
    sessions: Sequence[RunRecord]
    metrics: dict[str, list[Metric]] = field(init=False)
    speeds: dict[str, list[dict[str, float]]] = field(init=False)
    outputs: BaselineOutputs = field(init=False)

    def __post_init__(self) -> None:
        """Collect each figure over the sessions that have it."""
        self.metrics, self.speeds, self.outputs = {}, {}, baseline_outputs(self.sessions)
        for session in self.sessions:
            readings = machine_speed.speeds_in_tests(session)
            for name, metric in session_metrics(session, self.outputs).items():
                self.metrics.setdefault(name, []).append(metric)
                self.speeds.setdefault(name, []).append(machine_speed.speeds_during(readings, metric.tests))


@dataclass(frozen=True, slots=True)
class Problems:
    """Sentences on why figures cannot be trusted."""

    of_session: Collection[str] = ()  # against all figures of the session
    of_ends: Collection[str] = ()  # machine speed at the session's ends: against times without readings of their own
    of_baseline: Collection[str] = ()  # machine speed from session to session: against the same times


@dataclass(frozen=True, slots=True)
class Speeds:
    """Machine speed while a figure was measured, by workload: in each of K sessions, and now; empty where unknown."""

    known: Sequence[Mapping[str, float]] = ()
    here: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def during(cls, run: RunRecord, metric: Metric, known: Sequence[Mapping[str, float]]) -> Self:
        """Return the readings during a figure's tests; empty where some are missing, or sessions are too few."""
        if not metric.depends_on_speed:
            return cls()
        here = machine_speed.speeds_during(machine_speed.speeds_in_tests(run), metric.tests)
        enough = len(known) - 1 - len(here) >= MIN_DEGREES_OF_FREEDOM
        return cls(known, here) if enough and all(here.keys() == each.keys() for each in known) else cls()

    @property
    def as_arrays(self) -> tuple[list[list[float]], list[float]] | None:
        """The arguments of `predict`: C readings by session [K, C] and now [C]; None without readings."""
        if not self.here:
            return None
        return [[each[work] for work in self.here] for each in self.known], [*self.here.values()]

    def extrapolation(self, prediction: Prediction) -> list[str]:
        """Return a sentence where the machine's speed is outside the baseline's range."""
        if not extrapolates(prediction):
            return []
        changes = {work: value - fmean(each[work] for each in self.known) for work, value in self.here.items()}
        took = ", ".join(f"{work} took {percent_change(change)}" for work, change in changes.items())
        return [f"the baseline has no session at such a machine speed: {took}"]


def judge_session(run: RunRecord, baseline: Baseline) -> list[GateRecord]:
    """Return a verdict on every figure that the session or the baseline has."""
    found = session_metrics(run, baseline.outputs)
    problems = Problems(
        of_session=whole_session_problems(run),
        of_ends=machine_speed.end_speed_problems(run, baseline.sessions),
        of_baseline=machine_speed.baseline_speed_problems(baseline.sessions),
    )
    # Older baselines have no quality figures, which is no reason to record them anew.
    added = [name for name, metric in found.items() if name not in baseline.metrics and metric.kind != "quality"]
    gates = [_judge(run, name, found.get(name), baseline, problems) for name in [*baseline.metrics, *added]]
    return with_causes(_with_quality(gates, found, run, baseline.outputs), [run], baseline.sessions)


def judge_metric(run: RunRecord, name: str, baseline: Baseline) -> GateRecord | None:
    """Return the verdict on one figure of an unfinished session; None where session or baseline lacks it."""
    metric = session_metrics(run, baseline.outputs).get(name)
    if metric is None or len(baseline.metrics.get(name, [])) < MIN_SESSIONS:
        return None
    return _judge(run, name, metric, baseline, Problems())


def figures_of(gate: GateRecord) -> str:
    """Return measured value, baseline and change as text; "" without figures."""
    if gate.value is None or gate.centre is None:
        return ""
    metric = Metric.of(*gate.metric.split(".", 1), value=gate.value, rounds=0, minimum_effect=0.0)
    change = metric.format_change(gate.value - gate.centre)
    return f"{metric.format(gate.value)}, baseline {metric.format(gate.centre)} ({change})"


def merged(first: Iterable[GateRecord], second: Iterable[GateRecord]) -> list[GateRecord]:
    """Return the verdicts of a first session, where a second session decides the flagged ones."""
    again = {record.metric: record for record in second}
    return [_decide(record, again.get(record.metric)) if record.state == "flagged" else record for record in first]


def flagged(gates: Iterable[GateRecord]) -> list[GateRecord]:
    """Return the verdicts that a second session has to decide."""
    return [gate for gate in gates if gate.state == "flagged"]


def injections(run: RunRecord) -> list[str]:
    """Return a sentence per injected work that slowed the session down on purpose."""
    found = {record.facts.get("extra", {}).get(INJECTED_WORK) for record in run.models} - {None}
    return [f"work was injected for a goal table: {work}" for work in sorted(found)]


def whole_session_problems(run: RunRecord) -> list[str]:
    """Return sentences on why no figure of a session counts: injected work, several processes, a disturbed GPU."""
    shared = [f"the run was resumed or shared: {len(run.attempts) + 1} processes"] if run.attempts else []
    return [*injections(run), *shared, *machine_speed.disturbances(run)]


def _judge(run: RunRecord, name: str, metric: Metric | None, baseline: Baseline, problems: Problems) -> GateRecord:
    """Judge one figure; the first of several reasons against judging it counts."""
    known = baseline.metrics.get(name, [])
    if metric is None:
        ended = [f"{one.test} was {one.outcome} ({one.reason})" for one in run.outcomes if one.test in known[0].tests]
        gone = f"{' and '.join(known[0].tests) or 'its test'} was not reached, or no longer exists"
        return GateRecord(name, "not run", f"not run: {'; '.join(ended) or gone}", known[0].tests)
    if len(known) < MIN_SESSIONS:
        has = f"the baseline has {counted(len(known), 'session')} of it" if known else "the baseline lacks this figure"
        return GateRecord(name, "missing baseline", f"{has}, {MIN_SESSIONS} are needed (better 10)", metric.tests)
    speeds = Speeds.during(run, metric, baseline.speeds[name])
    values = [each.value for each in known]
    expect = partial(predict, values, speeds=speeds.as_arrays, tracks_machine_speed=metric.tracks_machine_speed)
    effect = metric.effect_at_spread(float(expect(0.0).spread))
    prediction = expect(effect)
    by_ends = metric.depends_on_speed and not speeds.here
    at_ends, in_baseline = (problems.of_ends, problems.of_baseline) if by_ends else ((), ())
    invalid = [*problems.of_session, *at_ends] or _fewer_rounds(run, metric, known) or speeds.extrapolation(prediction)
    if invalid:
        return _with_figures(metric, "invalid", "; ".join(invalid), prediction)
    unstable = in_baseline or _instability(metric, prediction, effect)
    if unstable:
        advice = "find the difference between its sessions, and retire deviating ones or record it anew"
        return _with_figures(metric, "unstable", f"{'; '.join(unstable)}: {advice}", prediction)
    verdict = _compare(metric, known, prediction)
    at = "; the baseline is adjusted to the machine's present speed" if speeds.here else ""
    return replace(verdict, sentence=f"{verdict.sentence}{at}")


def _compare(metric: Metric, known: Sequence[Metric], prediction: Prediction) -> GateRecord:
    """Judge a figure, once session and baseline are known to be trustworthy."""
    centre, limit = float(prediction.centre), float(prediction.limit)
    detectable = float(prediction.minimum_detectable_effect)
    change, sign = metric.value - centre, 1 if metric.lower_is_better else -1
    loss = sign * change
    state: GateState = "pass"
    sentence = (
        f"{metric.format(metric.value)}, baseline {metric.format(centre)} "
        f"({metric.format_change(change)}; limit {metric.format_change(sign * limit)}, "
        f"would have found {metric.format_change(sign * detectable)}; {prediction.sessions} sessions)"
    )
    moved = _target_only_note(metric, known, slower=loss < 0)
    if is_beyond(prediction, loss):
        state, sentence = ("improved", f"{sentence}; {moved}") if moved else ("flagged", sentence)
    elif is_beyond(prediction, -loss) and moved:
        sentence = f"{sentence}; {moved}"
    elif is_beyond(prediction, -loss) and metric.kind != "quality":
        state, sentence = "improved", f"{sentence}; replace the baseline to hold this level"
    return replace(
        _with_figures(metric, state, sentence, prediction),
        limit=limit,
        limit_of_mean=float(prediction.limit_of_mean),
        minimum_detectable_effect=detectable,
        sessions=prediction.sessions,
    )


def _with_quality(
    gates: Sequence[GateRecord], metrics: Mapping[str, Metric], run: RunRecord, known: BaselineOutputs
) -> list[GateRecord]:
    """Add the quality of answers to figures that improved, and a changed answer to flagged quality figures."""
    qualities = [gate for gate in gates if gate.metric in metrics and metrics[gate.metric].kind == "quality"]

    def concerns(quality: GateRecord, of: Metric) -> bool:
        _, _, model, engine = metrics[quality.metric].parts
        models = {*of.parts, *([run.header.draft] if of.kind == "speedup" else [])}
        return model in models and (engine in of.parts or not {*run.header.engines} & {*of.parts})

    def judged(gate: GateRecord) -> GateRecord:
        if gate.state == "flagged" and gate in qualities:
            changed = changed_answer(run, known, *metrics[gate.metric].parts[2:])
            return replace(gate, sentence="; ".join(filter(None, (gate.sentence, changed))))
        if gate.state != "improved":
            return gate
        beside = [each for each in qualities if concerns(each, metrics[gate.metric])]
        if not beside:
            return gate
        worse = max((each for each in beside if each.state == "flagged"), key=lambda each: each.loss or 0, default=None)
        if worse is None:
            as_before = sum(each.state == "pass" for each in beside)
            sentence = f"{gate.sentence}; quality: {as_before} of {len(beside)} measures as before"
            return replace(gate, sentence=sentence)
        sentence = f"{gate.sentence}; but {worse.metric} got worse: {worse.sentence}"
        # A second session decides by loss and limit of the quality.
        limits = {"loss": worse.loss, "limit_of_mean": worse.limit_of_mean}
        return replace(gate, state="flagged", sentence=sentence, tests=(*gate.tests, *worse.tests), **limits)

    return [judged(gate) for gate in gates]


def _target_only_note(metric: Metric, known: Sequence[Metric], *, slower: bool) -> str:
    of_baseline = [each.sides for each in known if each.sides is not None]
    if metric.sides is None or len(of_baseline) < MIN_SESSIONS:
        return ""
    of_target, of_draft = (predict(side, metric.minimum_effect) for side in zip(*of_baseline, strict=True))
    target, draft = metric.sides[0] - float(of_target.centre), metric.sides[1] - float(of_draft.centre)
    sign = 1 if slower else -1
    moved, against = is_beyond(of_target, sign * target), is_beyond(of_draft, -sign * draft)
    return target_only_note(metric, target, target_moved=bool(moved), draft_moved_against=bool(against))


def _instability(metric: Metric, prediction: Prediction, effect: float) -> list[str]:
    found = []
    if is_too_noisy(prediction):
        found.append(f"the baseline's sessions spread by {metric.format_change(float(prediction.spread)).lstrip('+')}")
    if is_bimodal(prediction.residuals, effect):
        low, high = (metric.format(float(prediction.centre + end(prediction.residuals))) for end in (min, max))
        found.append(f"the baseline's sessions stand in two groups, from {low} to {high}")
    return found


def _fewer_rounds(run: RunRecord, metric: Metric, known: Sequence[Metric]) -> list[str]:
    """Return a sentence where rounds failed or are fewer than the baseline's; a few in another state are tolerated."""
    planned, records = max(each.rounds for each in known), [each for each in run.stages if each.test in metric.tests]
    other_states = sum(len(record.round_s) - len(comparable_rounds(record)) for record in records)
    if planned - metric.rounds > min(other_states, max_other_states(planned)):
        why = f"; {other_states} more found the file in another state" if other_states else ""
        return [f"measured in {metric.rounds} rounds, the baseline in {planned}{why}"]
    return [f"{counted(len(each.failures), 'round')} of {each.test} failed" for each in records if each.failures]


def _with_figures(metric: Metric, state: GateState, sentence: str, prediction: Prediction) -> GateRecord:
    """Return a verdict with value, baseline's centre and loss."""
    centre = float(prediction.centre)
    loss = (metric.value - centre) * (1 if metric.lower_is_better else -1)
    return GateRecord(metric.name, state, sentence, metric.tests, metric.value, centre, loss)


def _decide(first: GateRecord, second: GateRecord | None) -> GateRecord:
    if second is None or second.state in {"not run", "missing baseline", "unstable"}:
        why = second.sentence if second else "it was not measured again"
        return replace(first, sentence=f"{first.sentence}; not decided: {why}")
    if second.state == "invalid":
        sentence = f"{first.sentence}; the second session is invalid: {second.sentence}"
        return replace(first, state="invalid", sentence=sentence)
    assert first.loss is not None, "a flagged figure has a loss"
    has_figures = second.loss is not None and second.limit_of_mean is not None
    flagged_again = second.state == "flagged"
    both = f"{first.sentence}; again: {second.sentence}"
    if has_figures and is_regression(flagged_again, second.limit_of_mean, first.loss, second.loss):
        return replace(first, state="regressed", sentence=both)
    return replace(first, state="pass", sentence=both, blame="", cause="")
