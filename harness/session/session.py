"""What one pytest session knows of its run: options, plan, journal, and whether it was meant to measure at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from harness.gates.exit_status import Status
from harness.gates.gatekeeper import Gatekeeper
from harness.legacy.writing import legacy_file_name, legacy_records
from harness.measuring import device_rates, reference_work
from harness.measuring.environment import stable_environment, volatile_environment
from harness.options import Options
from harness.records.journal import FILE_NAME as JOURNAL_NAME
from harness.records.lines import (
    FORMAT_VERSION,
    EndRecord,
    GateState,
    Header,
    JournalLine,
    MachineRecord,
    ModelRecord,
    OutcomeRecord,
    PassKind,
    PassRecord,
    Plan,
    ReferenceWorkRecord,
    RunRecord,
    StageRecord,
    timestamp,
)
from harness.records.sessions import BENCHMARK_FILE_NAME
from harness.report import PAGE, TEXT
from harness.session.ranks import Rank
from harness.session.resume import header_in, new_attempt, refuse_other_model, refuse_other_work
from harness.session.run import RUN_FILE_NAME, Run, derive_report


@dataclass(slots=True)
class Session:
    """State of one pytest session. `measures` is False where nothing is timed; then nothing is written either."""

    options: Options
    folder: Path
    measures: bool
    terminal: IO[str] | None
    # Under torchrun only.
    rank: Rank | None = None
    # Whether `folder` holds a run already that this one goes on with.
    is_resumed: bool = False
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
    first_reading: ReferenceWorkRecord | None = None
    machine: MachineRecord | None = None
    run: Run | None = None
    record: RunRecord | None = None
    status: Status | None = None

    def begin(self, plan: Plan, dtypes: Sequence[str] = ()) -> None:
        """Take the suite's plan, the first reading of the machine's own speed, and what it can do at the most.

        `dtypes`: the types of the models' numbers, by whose products the device's rate is measured.
        Raises ResumeError where a run is to be resumed that was other work.
        """
        self.plan = plan
        if not self.measures:
            return
        if self.rank is not None or self.is_resumed:
            self._join()
        self.first_reading = reference_work.observe("start", plan.device)
        self.machine = device_rates.measure(plan.device, dtypes)
        if self.run is not None:
            self._append_readings(self.run)

    def append(self, line: JournalLine) -> None:
        """Write one measurement down; the first one makes the run's folder."""
        if not self.measures:
            return
        if self.run is None:
            self.run = Run(self.folder, self._header(), self.options.output_json)
            self._append_readings(self.run)
        if isinstance(line, ModelRecord) and self.run.attempt is not None:
            refuse_other_model(self.run.read(), line, self.run.folder)
        self.run.append(self._placed(line))

    def finished(self, kind: PassKind, model: str, engine: str) -> dict[str, PassRecord]:
        """Return, by sample, the passes that are there already and are not to be taken again."""
        if self.run is None or self.run.attempt is None:
            return {}
        return {
            each.sample: each
            for each in self.run.read().passes
            if (each.kind, each.model, each.engine) == (kind, model, engine)
            and not (each.failure and self.options.retry_failed)
        }

    def indices(self, test: str, count: int) -> Iterable[int]:
        """Return which of so many samples this process takes in a test: all, or those that its rank draws."""
        return self.rank.claim_indices(test, count) if self.rank else range(count)

    def announce(self, line: str) -> None:
        """Tell whoever watches a terminal, whatever pytest captures."""
        if self.terminal is not None:
            self.terminal.write(f"\n{line}\n")
            self.terminal.flush()

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
        self.append(reference_work.observe("end", self.run.header.device))
        if self.gatekeeper is not None:
            verdicts = self.gatekeeper.verdicts(self.run.read())
            self.gates = {verdict.state for verdict in verdicts}
            for verdict in verdicts:
                self.append(verdict)

    def finish(self, status: Status) -> None:
        """Keep how the session ended; write it down too if anything was measured, and derive all files a last time."""
        self.status = status
        if self.run is None:
            return
        end = EndRecord(
            finished_at=timestamp(), exit_status=status.code, reason=status.reason, advice=tuple(self.advice)
        )
        if self.rank is not None:
            self.run.leave(end)
            return
        self.record = self.run.finish(end)
        trouble = derive_report(self.run.folder, self.record) if self.options.report else None
        self.advice.extend([trouble] if trouble else [])

    def files(self) -> list[Path]:
        """Return the files of the run, the most useful first."""
        if self.run is None or self.record is None:
            return []
        folder = self.run.folder
        legacy = self.options.output_json or folder / legacy_file_name(self.record, len(legacy_records(self.record)))
        candidates = [
            *(folder / name for name in (PAGE, TEXT, RUN_FILE_NAME)),
            legacy,
            folder / BENCHMARK_FILE_NAME,
            folder / JOURNAL_NAME,
        ]
        return [path for path in candidates if path.exists()]

    def _join(self) -> None:
        """Go on with the run in the folder, or as the first rank of several begin it; all others wait for that."""
        now, rank = self._header(), self.rank
        if rank is not None and not rank.is_first:
            self.folder = rank.wait_for_folder()
        if not self.is_resumed and (rank is None or rank.is_first):
            self.run = Run(self.folder, now, self.options.output_json)
        else:
            before = header_in(self.folder)
            refuse_other_work(before, now, self.folder)
            attempt = (
                new_attempt(before, now, rank=rank.number, world_size=rank.world_size, restart=rank.restart)
                if rank
                else new_attempt(before, now)
            )
            self.run = Run(self.folder, before, self.options.output_json, attempt)
        if rank is not None and rank.is_first:
            rank.publish(self.folder)

    def _append_readings(self, run: Run) -> None:
        for reading in (self.first_reading, self.machine):
            if reading is not None:
                run.append(reading)

    def _placed(self, line: JournalLine) -> JournalLine:
        """Say in a measurement on which machine, and by which rank, it was taken."""
        attempt = self.run and self.run.attempt
        if isinstance(line, PassRecord) and (attempt or self.rank):
            machine, rank = attempt.machine if attempt else "", self.rank.number if self.rank else 0
            return msgspec.structs.replace(line, machine=machine, rank=rank)
        if isinstance(line, StageRecord) and attempt:
            return msgspec.structs.replace(line, machine=attempt.machine)
        return line

    def _header(self) -> Header:
        assert self.plan is not None, "the suite says what it sets out to measure before it measures"
        environment = stable_environment(self.plan.device) | volatile_environment(self.plan.device)
        return Header(
            **msgspec.structs.asdict(self.plan),
            format_version=FORMAT_VERSION,
            started_at=timestamp(),
            environment=environment,
            options=self.options.as_json(),
        )
