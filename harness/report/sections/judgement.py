"""Verdicts on limits and against the baseline, and failed samples and tests."""

from collections.abc import Iterable, Iterator

from harness.figures.metrics import change_as_share
from harness.gates.witnesses import verdict_text, without_repeats
from harness.grouping import grouped
from harness.records.lines import Failure, GateRecord, GateState, RunRecord
from harness.report.blocks import Section, Sentences, Table, Text, figure, filled
from harness.report.formatting import change

BEST_FIRST: tuple[GateState, ...] = (
    "pass", "improved", "missing baseline", "unstable", "invalid", "not run", "flagged", "regressed",
)  # fmt: skip


def gate_groups(gates: Iterable[GateRecord]) -> Iterator[tuple[GateState, list[GateRecord]]]:
    """Yield the verdicts by state and reason, the worst last, in each group the nearest to its limit first."""
    known = without_repeats(gates)
    for state in BEST_FIRST:
        # Passed figures are one group.
        groups = grouped(("" if state == "pass" else gate.sentence, gate) for gate in known if gate.state == state)
        yield from ((state, sorted(group, key=_nearness, reverse=True)) for group in groups.values())


def baseline(run: RunRecord) -> Iterator[Section]:
    """Yield the comparison with the baseline."""
    if not run.gates:
        return
    gates = sorted(without_repeats(run.gates), key=lambda gate: (-BEST_FIRST.index(gate.state), -_nearness(gate)))
    kept = sum(gate.state in {"pass", "improved"} for gate in gates)
    marked = frozenset(place for place, gate in enumerate(gates) if gate.state == "regressed")
    columns = ("figure", "state", "in words", "worse by %", "limit %", "detectable %", "sessions")
    line = Sentences([f"{kept} of {len(gates)} figures under the gate pass."], in_summary=True)
    blocks = filled(line, Table(columns, [_gate_row(gate) for gate in gates], text_columns=3, marked=marked))
    lead = "Each figure vs. the same figure of earlier sessions."
    yield Section("baseline", "Against the baseline", blocks, lead, brief=True, folded=False)


def limits(run: RunRecord) -> Iterator[Section]:
    """Yield the limits: a sentence with their numbers by state, and a table of all."""
    if not run.verdicts:
        return
    order = ["broken", "not run", "pass"]
    verdicts = sorted(run.verdicts, key=lambda each: order.index(each.state))
    broken = [each for each in verdicts if each.state == "broken"]
    left_out = [each for each in verdicts if each.state == "not run"]
    elsewhere = "host_memory_mib" if run.header.on_gpu else "device_memory_mib"
    of_elsewhere = sum(each.limit.split(".")[1:2] == [elsewhere] for each in left_out)
    counts = {"do not apply here": of_elsewhere, "not measured": len(left_out) - of_elsewhere}
    rest = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    sentence = f"{len(verdicts) - len(left_out)} of {len(verdicts)} limits checked, {len(broken)} broken"
    table = Table(
        ("limit", "state", "in words"),
        [(each.limit, each.state, each.sentence) for each in verdicts],
        text_columns=3,
        marked=frozenset(range(len(broken))),
        folded=f"all {len(verdicts)} limits",
    )
    line = Sentences([f"{sentence}; {rest}" if rest else sentence], in_summary=True)
    yield Section("limits", "Limits", [line, table], "Absolute limits of limits.toml.", brief=True)


def failures(run: RunRecord) -> Iterator[Section]:
    """Yield the samples and tests that failed or were left out."""
    samples = dict.fromkeys(
        (model, each.sample, each.stage, f"{each.type}: {each.text}" if each.type else each.text)
        for model, each in failed_samples(run)
    )
    tests = [(each.test, each.outcome, each.reason) for each in run.outcomes]
    blocks = filled(
        Table(("model", "sample", "stage", "error"), list(samples), text_columns=4),
        Table(("test", "outcome", "reason"), tests, text_columns=3),
    )
    if blocks:
        yield Section("failures", "What failed or was left out", blocks, brief=True)


def failed_samples(run: RunRecord) -> list[tuple[str, Failure]]:
    """Return every failure with its model, those of whole passes first."""
    of_passes = [(each.model, each.failure) for each in run.passes if each.failure]
    return of_passes + [(stage.model, failure) for stage in run.stages for failure in stage.failures]


def _gate_row(gate: GateRecord) -> list[Text]:
    found = {"loss": gate.loss, "limit": gate.limit, "smallest_effect": gate.minimum_detectable_effect}
    cells = (
        "" if value is None else figure(change, change_as_share(gate.metric, value), "gate", what, gate.metric)
        for what, value in found.items()
    )
    return [gate.metric, gate.state, verdict_text(gate), *cells, str(gate.sessions) if gate.sessions else ""]


def _nearness(gate: GateRecord) -> float:
    return (gate.loss or 0.0) / (gate.limit or 1.0)
