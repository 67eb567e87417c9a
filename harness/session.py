"""What one pytest session knows of its run: options, plan, journal, and whether it was meant to measure at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from harness import machine_rates, sentinels
from harness.baselines import BENCHMARK_FILE_NAME
from harness.environment import stable_environment, volatile_environment
from harness.gatekeeper import Gatekeeper
from harness.journal import FILE_NAME as JOURNAL_NAME
from harness.legacy import legacy_file_name, legacy_records
from harness.options import Options
from harness.records import (
    FORMAT_VERSION,
    EndRecord,
    GateState,
    Header,
    JournalLine,
    MachineRecord,
    OutcomeRecord,
    PlannedSample,
    RunRecord,
    SentinelRecord,
    timestamp,
)
from harness.run import RUN_FILE_NAME, Run
from harness.verdicts import Status


class Plan(msgspec.Struct, frozen=True):
    """What the suite sets out to measure; `limits` as `harness.limits.load_limits` returns them.

    `models` in the order of measurement; `draft` is None where none takes part. `dtypes`: the types of the models'
    numbers, by whose products the device's rate is measured.
    """

    model_set: str
    device: str
    engines: tuple[str, ...]
    models: tuple[str, ...]
    draft: str | None
    targets: tuple[str, ...]
    dataset: Path
    samples: Sequence[PlannedSample]
    limits: dict[str, float]
    dataset_identity: str | None = None
    dtypes: tuple[str, ...] = ()


@dataclass(slots=True)
class Session:
    """State of one pytest session. `measures` is False where nothing is timed; then nothing is written either."""

    options: Options
    folder: Path
    measures: bool
    terminal: IO[str] | None
    # Known before the plan is: pytest-benchmark asks for the machine when it starts.
    device: str = "cpu"
    advice: list[str] = field(default_factory=list)
    expects_figures: bool = False
    figures: int = 0
    plan: Plan | None = None
    # Under a gate only.
    gatekeeper: Gatekeeper | None = None
    gates: set[GateState] = field(default_factory=set)
    # By test: of a test that failed twice, in its body and after it, the first word counts.
    outcomes: dict[str, OutcomeRecord] = field(default_factory=dict)
    first_sentinel: SentinelRecord | None = None
    machine: MachineRecord | None = None
    run: Run | None = None
    record: RunRecord | None = None
    status: Status | None = None

    def begin(self, plan: Plan) -> None:
        """Take the suite's plan, the first reading of the machine's own speed, and what it can do at the most."""
        self.plan = plan
        if self.measures:
            self.first_sentinel = sentinels.observe("start", plan.device)
            self.machine = machine_rates.measure(plan.device, plan.dtypes)

    def append(self, line: JournalLine) -> None:
        """Write one measurement down; the first one makes the run's folder."""
        if not self.measures:
            return
        if self.run is None:
            self.run = Run(self.folder, self._header(), self.options.output_json)
            for reading in (self.first_sentinel, self.machine):
                if reading is not None:
                    self.run.append(reading)
        self.run.append(line)

    def note(self, outcome: OutcomeRecord) -> None:
        """Keep why a recording test gave no figure."""
        self.outcomes.setdefault(outcome.test, outcome)

    def gate_complaints(self, test: str) -> list[str]:
        """Return what a confirming session holds against a test that has just been measured."""
        if self.gatekeeper is None or self.run is None:
            return []
        return self.gatekeeper.complaints(self.run.read(), test)

    def conclude(self) -> None:
        """Write down what was not measured and how fast the machine is now; under a gate, judge the session."""
        if self.run is None:
            return
        for outcome in self.outcomes.values():
            self.append(outcome)
        self.append(sentinels.observe("end", self.run.header.device))
        if self.gatekeeper is not None:
            verdicts = self.gatekeeper.verdicts(self.run.read())
            self.gates = {verdict.state for verdict in verdicts}
            for verdict in verdicts:
                self.append(verdict)

    def finish(self, status: Status) -> None:
        """Keep how the session ended; write it down too if anything was measured, and derive all files a last time."""
        self.status = status
        if self.run is not None:
            self.record = self.run.finish(
                EndRecord(
                    finished_at=timestamp(), exit_status=status.code, reason=status.reason, advice=tuple(self.advice)
                )
            )

    def files(self) -> list[Path]:
        """Return the files of the run, the most useful first."""
        if self.run is None or self.record is None:
            return []
        folder = self.run.folder
        legacy = self.options.output_json or folder / legacy_file_name(self.record, len(legacy_records(self.record)))
        candidates = [folder / RUN_FILE_NAME, legacy, folder / BENCHMARK_FILE_NAME, folder / JOURNAL_NAME]
        return [path for path in candidates if path.exists()]

    def _header(self) -> Header:
        assert self.plan is not None, "the suite says what it sets out to measure before it measures"
        plan = self.plan
        return Header(
            format_version=FORMAT_VERSION,
            started_at=timestamp(),
            environment=stable_environment(plan.device) | volatile_environment(plan.device),
            options=self.options.as_json(),
            model_set=plan.model_set,
            device=plan.device,
            engines=plan.engines,
            models=plan.models,
            draft=plan.draft,
            targets=plan.targets,
            dataset=str(plan.dataset),
            limits=plan.limits,
            samples=tuple(plan.samples),
            dataset_identity=plan.dataset_identity,
        )
