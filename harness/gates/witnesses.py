"""The cause of each changed time, from two witnesses: the clock and the ledger of work. Pure.

If both changed, the program is to blame, and the ledger names the cause. If only the clock changed, it is the machine,
unless one call takes most of the difference. If only the ledger changed, there is a warning.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import msgspec

from harness.figures.cause import Cause, Side, explain, session_limit
from harness.figures.metrics import Metric
from harness.figures.stages import comparable_rounds, decoding_steps
from harness.figures.summary import mean_of_faster_half
from harness.gates import machine_speed
from harness.grouping import grouped
from harness.records.lines import GateRecord, RunRecord, StageRecord
from harness.records.quantities import counted
from harness.records.work import WatchedWork

Runs = Sequence[RunRecord]

# In the name of a verdict against a release, before the release's name.
SINCE = " since "
# Effects of other processes, from their number or from waiting times: no reference work, and so no limit.
_WAITING, _SHARING = "waiting for a core adds", "sharing the GPU adds up to"


def time_of(of: StageRecord | WatchedWork) -> str:
    """Return the name of a stage's time metric."""
    return ".".join(filter(None, ("time", of.stage, of.model, of.engine, of.variant)))


def time_explaining(metric: str) -> str:
    """Return the time metric that explains `metric`: for milliseconds per token, the time of decoding."""
    return metric.partition(SINCE)[0].replace("ms_per_token.", "time.decode.", 1)


def sides(runs: Iterable[RunRecord]) -> dict[str, Side]:
    """Return seconds and works in runs of one program by time metric, on the profiled sample.

    Seconds of decoding are scaled to the number of profiled steps.
    """
    found: dict[str, Side] = {}
    for run in runs:
        of_run = {time_of(work): work for work in run.works}
        for record in run.stages:
            name = time_of(record)
            work = of_run.get(name)
            sample = work.sample if work else next(iter(record.cold_s), "")
            rounds = [math.log(seconds) for of, seconds in comparable_rounds(record) if of == sample]
            if rounds:
                before = found.get(name, Side((), ()))
                works = (*before.works, *([work] if work else []))
                timed = max(decoding_steps(record, sample), 1)
                steps = works[-1].counts.get("tokens", 0) - 1 if works and record.stage == "decode" else timed
                steps = steps if steps > 0 else timed
                seconds = math.exp(mean_of_faster_half(rounds)) * steps / timed
                found[name] = Side((*before.seconds, seconds), works, steps)
    return found


def causes(now: Runs, known: Runs, tests: Mapping[str, Sequence[str]]) -> dict[str, Cause]:
    """Return the cause of each time's change; `tests`: for each time, the tests with readings of the machine."""
    of_now, of_known = sides(now), sides(known)
    return {
        name: explain(of_known[name], of_now[name], _machine(now, known, tests[name]))
        for name in tests
        if name in of_known and name in of_now
    }


def with_causes(gates: Sequence[GateRecord], runs: Runs, known: Runs, since: str = "") -> list[GateRecord]:
    """Return verdicts with the cause of each worse time, and with changed work that times do not show.

    `runs`: the judged session and its confirming session, if any. `since`: suffix of the names of verdicts against
    `known`.
    """
    tests = {gate.metric.partition(SINCE)[0]: gate.tests for gate in gates if gate.metric.startswith("time.")}
    found = causes(runs, known, tests)

    def with_cause(gate: GateRecord) -> GateRecord:
        is_by_known = gate.metric.removeprefix(gate.metric.partition(SINCE)[0]) == since
        cause = found.get(time_explaining(gate.metric)) if is_by_known else None
        if cause and gate.state in {"flagged", "regressed"}:
            return msgspec.structs.replace(gate, blame=cause.blame, cause=cause.sentence)
        if cause and gate.metric in found and cause.changes:  # counts are exact, even where times are too noisy
            return msgspec.structs.replace(gate, blame="program", cause=cause.price)
        return gate

    return [with_cause(gate) for gate in gates]


def without_repeats(gates: Iterable[GateRecord]) -> list[GateRecord]:
    """Return verdicts without those against a release that only repeat the verdict against the last baseline."""
    known = list(gates)
    repeated = {(f"{gate.metric}{SINCE}", gate.state) for gate in known if gate.state != "pass"}
    return [gate for gate in known if ("".join(gate.metric.partition(SINCE)[:2]), gate.state) not in repeated]


def verdict_text(gate: GateRecord) -> str:
    """Return a verdict as text; for a worse figure with its cause, first if the blame is known."""
    of_worse = [gate.cause] if gate.cause and gate.state in {"flagged", "regressed"} else []
    return "; ".join([*of_worse, gate.sentence] if gate.blame else [gate.sentence, *of_worse])


def hidden_changes(gates: Iterable[GateRecord]) -> dict[str, list[str]]:
    """Return changed work that no time shows, as text, with the names of the times."""
    return grouped((gate.cause, gate.metric) for gate in gates if gate.cause and gate.state in {"pass", "unstable"})


def headline(gates: Iterable[GateRecord]) -> str:
    """Return the first line of a red verdict: the worst figure, those with a known cause first; else empty."""
    red = [gate for gate in without_repeats(gates) if gate.state == "regressed"]
    if not red:
        return ""
    worst = max(red, key=lambda gate: (gate.blame == "program", gate.cause != "", (gate.loss or 0) / (gate.limit or 1)))
    metric = Metric.of(*worst.metric.split(".", 1), value=0.0, rounds=0, minimum_effect=0.0)
    line = first_line(worst.metric, metric.format_change((worst.value or 0.0) - (worst.centre or 0.0)), worst)
    return f"{line}; {counted(len(red) - 1, 'more figure')} got worse" if len(red) > 1 else line


def first_line(metric: str, change: str, why: GateRecord | Cause) -> str:
    """Return one line with the figure, its change and the cause."""
    name, since, release = metric.partition(SINCE)
    family, *of = name.split(".")
    what, *of = of if family == "time" else [family.replace("_", " "), *of]
    reason = why.sentence if isinstance(why, Cause) else why.cause or why.sentence
    if why.blame == "machine":
        reason = f"the machine, as it seems: {reason}; `python -m harness ab` tells the two apart"
    return f"{what} of {', '.join(of)} {change}{since}{release}: {reason}"


def _machine(now: Runs, known: Runs, tests: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return change and limit of the machine's readings during `tests`, by the reading's name; logarithms."""

    def readings(run: RunRecord) -> dict[str, float]:
        beside = machine_speed.speeds_during(machine_speed.speeds_in_tests(run), tests)
        waited = [each.waited for each in run.reference_work if each.test in tests and each.waited is not None]
        by_work = {
            _WAITING: [-math.log(1 - min(each, 0.99)) for each in waited],
            _SHARING: [math.log1p(each.other_processes or 0) for each in run.reference_work if not each.test],
            "reference work during its test took": [*beside.values()],
        }
        for name, value in machine_speed.speeds_at_ends(run).items() if not beside else ():
            by_work.setdefault(f"the {name.partition(' at the ')[0]} at the ends took", []).append(value)
        return {name: fmean(values) for name, values in by_work.items() if values}

    before, after = [readings(run) for run in known], [readings(run) for run in now]
    found = {}
    for name in sorted(set.intersection(*map(set, [*before, *after]))):
        values = [each[name] for each in before]
        # Of two sessions, the smaller change: both sessions had it.
        change = min((each[name] - fmean(values) for each in after), key=abs)
        found[name] = (change, math.inf if name in {_WAITING, _SHARING} else session_limit(values))
    return found
