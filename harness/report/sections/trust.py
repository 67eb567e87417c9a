"""What the run was judged by, what failed, and under which conditions it was made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from harness.options import Options
from harness.records.lines import Failure, GateRecord, RunRecord, VerdictRecord
from harness.report import charts
from harness.report.blocks import Block, Chart, Section, Table, Tone, Words, moved, words
from harness.report.naming import name
from harness.report.terminal import GATE_STYLES

MAX_GATES = 24
"""Figures in the chart of a gate: those that came nearest to their limits."""
TONES: Mapping[str, Tone] = {"pass": "good", "improved": "good", "regressed": "bad", "broken": "bad"}


def baseline(run: RunRecord) -> Iterator[Section]:
    """Yield the comparison with the baseline."""
    if not run.gates:
        return
    order = list(GATE_STYLES)
    gates = sorted(run.gates, key=lambda gate: (-order.index(gate.state), -_nearness(gate)))
    judged = [gate for gate in gates if gate.loss is not None and gate.limit]
    blocks: list[Block] = []
    if judged:
        shown = sorted(judged, key=_nearness, reverse=True)[:MAX_GATES]
        rows = [
            (
                each.metric,
                100 * _change(each, each.loss or 0),
                100 * _change(each, each.limit or 0),
                TONES.get(each.state, "doubt"),
            )
            for each in shown
        ]
        blocks.append(
            Chart(
                "Change for the worse, and what still passes",
                "a point a figure, to the right is worse; the band behind it is what its limit lets pass",
                lambda: charts.limits(rows, "% worse"),
            )
        )
    rows_of_table = tuple(_gate_row(gate) for gate in gates)
    marked = frozenset(place for place, gate in enumerate(gates) if gate.state == "regressed")
    columns = ("figure", "state", "in words", "worse by %", "limit %", "would have found %", "sessions")
    blocks.append(Table(columns, rows_of_table, text_columns=3, marked=marked))
    yield Section(
        "baseline",
        "Against the baseline",
        tuple(blocks),
        "Each figure beside the same figure of earlier sessions.",
        brief=True,
    )


def limits(run: RunRecord) -> Iterator[Section]:
    """Yield the absolute limits."""
    if run.verdicts:
        order = ["broken", "not run", "pass"]
        verdicts = sorted(run.verdicts, key=lambda each: order.index(each.state))
        rows = tuple(_verdict_row(each) for each in verdicts)
        marked = frozenset(place for place, each in enumerate(verdicts) if each.state == "broken")
        kept = sum(each.state == "pass" for each in verdicts)
        table = Table(
            ("limit", "state", "in words"), rows, text_columns=3, marked=marked, folded=f"all {len(rows)} limits"
        )
        lead = f"Absolute promises of limits.toml: {kept} of {len(rows)} held, {len(marked)} broken."
        yield Section("limits", "Limits", (table,), lead)


def failures(run: RunRecord) -> Iterator[Section]:
    """Yield the samples and tests that failed."""
    samples = tuple(
        dict.fromkeys(
            (words(model), words(each.sample), words(each.stage), words(_error(each)))
            for model, each in failed_samples(run)
        )
    )
    tests = tuple((words(each.test), words(each.outcome), words(each.reason)) for each in run.outcomes)
    blocks: list[Block] = []
    if samples:
        blocks.append(Table(("model", "sample", "stage", "error"), samples, text_columns=4))
    if tests:
        blocks.append(Table(("test", "was", "because"), tests, text_columns=3))
    if blocks:
        yield Section("failures", "What failed or was left out", tuple(blocks), brief=True)


def failed_samples(run: RunRecord) -> list[tuple[str, Failure]]:
    """Return every failure with its model, those of whole passes first."""
    of_passes = [(each.model, each.failure) for each in run.passes if each.failure]
    return of_passes + [(stage.model, failure) for stage in run.stages for failure in stage.failures]


def conditions(run: RunRecord) -> Iterator[Section]:
    """Yield machine, libraries, code, models, and the options that are not the default."""
    blocks: list[Block] = [Table(("condition", "value"), tuple(_environment(run)), text_columns=2)]
    options = tuple(_options(run))
    if options:
        blocks.append(Table(("option, where it is not the default", "value"), options, text_columns=2))
    facts = [(each.model, each.facts) for each in run.models]
    facts += [(f"{each.model} {each.engine}", each.facts) for each in run.engines]
    rows = (
        (words(whose), words(fact), words(_plain(value))) for whose, known in facts for fact, value in known.items()
    )
    table = tuple(dict.fromkeys(rows))
    if table:
        columns = ("model", "fact", "value")
        blocks.append(Table(columns, table, text_columns=3, folded="models and engines, read back after loading"))
    yield Section("conditions", "Conditions", tuple(blocks), brief=True)


def _gate_row(gate: GateRecord) -> tuple[Words, ...]:
    def cell(what: str, value: float | None) -> Words:
        return () if value is None else words(moved(name("gate", what, gate.metric), _change(gate, value)))

    return (
        words(gate.metric),
        words(gate.state),
        words(gate.sentence),
        cell("loss", gate.loss),
        cell("limit", gate.limit),
        cell("smallest_effect", gate.minimum_detectable_effect),
        words(str(gate.sessions)) if gate.sessions else (),
    )


def _change(gate: GateRecord, value: float) -> float:
    """A difference as a share: of logarithms, but for acceptance, which is one already (harness.figures.metrics)."""
    return value if gate.metric.startswith("acceptance.") else math.expm1(value)


def _nearness(gate: GateRecord) -> float:
    return (gate.loss or 0.0) / (gate.limit or 1.0)


def _verdict_row(verdict: VerdictRecord) -> tuple[Words, ...]:
    return words(verdict.limit), words(verdict.state), words(verdict.sentence)


def _error(failure: Failure) -> str:
    return f"{failure.type}: {failure.text}" if failure.type else failure.text


def _environment(run: RunRecord) -> Iterator[tuple[Words, Words]]:
    header, environment = run.header, run.header.environment
    gpu = environment.get("gpu") or {}
    libraries = environment.get("libraries") or {}
    git = environment.get("git") or {}
    found = {
        "started": header.started_at,
        "model set": header.model_set,
        "device": header.device,
        "GPU": gpu.get("name"),
        "driver": gpu.get("driver"),
        "CUDA": gpu.get("cuda"),
        "GPU memory": _gibibytes(gpu.get("memory_bytes")),
        "power cap": gpu.get("power_limit_w"),
        "CPU": environment.get("cpu"),
        "usable cores": environment.get("usable_cores"),
        "memory": _gibibytes(environment.get("memory_bytes")),
        "system": environment.get("system"),
        "Python": environment.get("python"),
        "libraries": ", ".join(f"{library} {version}" for library, version in libraries.items() if version),
        "commit": git.get("commit"),
        "engines": ", ".join(header.engines),
        "models": ", ".join(header.models),
        "dataset": header.dataset,
        "samples": len(header.samples),
        "load average at the start": environment.get("load_average"),
    }
    yield from ((words(key), words(_plain(value))) for key, value in found.items() if value not in (None, "", []))


def _options(run: RunRecord) -> Iterator[tuple[Words, Words]]:
    defaults = Options().as_json()
    for option, value in run.header.options.items():
        if option in defaults and value != defaults[option] and option != "output_dir":
            yield words(f"--{option}"), words(_plain(value))


def _gibibytes(value: float | None) -> str | None:
    return f"{value / 2**30:.1f} GiB" if value else None


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    return str(value)
