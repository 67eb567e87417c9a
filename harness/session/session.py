"""The state of one pytest session, from its options and plan to its journal, verdicts and files."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from harness.gates.exit_status import FAILED, Status
from harness.gates.limits import judge
from harness.gates.session_gate import SessionGate
from harness.legacy.writing import legacy_file_name, legacy_records
from harness.measuring.device_peaks import measure_device_peaks
from harness.measuring.environment import stable_environment, volatile_environment
from harness.measuring.memory import Meter, meter_for
from harness.measuring.reference_work import WORKLOADS, Workloads, observe
from harness.options import Options
from harness.records import lines as records
from harness.records.folder import BENCHMARK_FILE_NAME, make_folder, point_latest_to
from harness.records.journal import JOURNAL_NAME, Journal, rank_file_name, read_journal
from harness.report import PAGE, TEXT
from harness.session.derived_files import RUN_FILE_NAME, derive_files, derive_report
from harness.session.ranks import Rank
from harness.session.resume import header_in, new_attempt, refuse_other_model, refuse_other_work


@dataclass(frozen=True, slots=True)
class Instruments:
    """Functions that measure the machine itself; a suite of stub pipelines brings its own."""

    workloads: Workloads = field(default_factory=lambda: WORKLOADS)
    device_peaks: Callable[[str, Sequence[str]], records.MachineRecord] = measure_device_peaks
    memory_meter: Callable[[str], Meter] = meter_for


@dataclass(slots=True)
class Session:
    """State of one pytest session; where `measures` is False, nothing is timed and nothing is written."""

    options: Options
    folder: Path
    measures: bool
    terminal: IO[str] | None
    rank: Rank | None = None  # under torchrun only
    is_resumed: bool = False  # whether `folder` holds a run already that this session resumes
    instruments: Instruments = field(default_factory=Instruments)
    device: str = "cpu"  # known before the plan is: pytest-benchmark asks for the machine when it starts
    advice: list[str] = field(default_factory=list)
    expects_figures: bool = False
    figures: int = 0  # tests that recorded a figure
    plan: records.Plan | None = None
    session_gate: SessionGate | None = None  # under a gate only
    gates: set[records.GateState] = field(default_factory=set)
    # By test; of a test that fails in its body and in its teardown, the first outcome is kept.
    outcomes: dict[str, records.OutcomeRecord] = field(default_factory=dict)
    readings: tuple[records.JournalLine, ...] = ()  # speed of the machine at the start, behind the journal's first line
    journal: Journal | None = None  # until the first line is written, which makes the folder
    attempt: records.AttemptRecord | None = None  # this process's line in a run that another process began
    judged_limits: set[str] = field(default_factory=set)
    has_broken_limit: bool = False
    stopped_by: str = ""  # who or what ended the run before its end, in words
    record: records.RunRecord | None = None  # the whole run, once it has ended
    status: Status | None = None

    def begin(self, plan: records.Plan, dtypes: Sequence[str] = ()) -> None:
        """Take the suite's plan, and measure the machine. Raises ResumeError where the run to join has another plan."""
        self.plan, self.device = plan, plan.device
        if not self.measures:
            return
        if self.rank is not None or self.is_resumed:
            self._join()
        own_speed = observe("start", plan.device, self.instruments.workloads)
        self.readings = own_speed, self.instruments.device_peaks(plan.device, dtypes)
        if self.journal is not None:
            self._append_all(self.readings)

    def open(self, header: records.Header, attempt: records.AttemptRecord | None = None) -> None:
        """Make the folder and write the journal's first line, or reopen a run by `attempt`; raise RunFolderError."""
        if attempt is None:
            make_folder(self.folder)
        name = rank_file_name(attempt.rank if attempt else 0)
        self.journal, self.attempt = Journal(self.folder / name, reopen=attempt is not None), attempt
        self.journal.append(attempt or header)
        point_latest_to(self.folder)

    def append(self, line: records.JournalLine) -> None:
        """Write one line to the journal; the first line makes the run's folder."""
        if not self.measures:
            return
        if self.journal is None:
            self.open(self._header())
            self._append_all(self.readings)
        if isinstance(line, records.ModelRecord) and self.attempt is not None:
            refuse_other_model(self.read(), line, self.folder)
        self._append_all([line])

    def read(self) -> records.RunRecord:
        """Return everything written so far."""
        return read_journal(self.folder / JOURNAL_NAME)

    def finished(self, kind: records.PassKind, model: str, engine: str) -> dict[str, records.PassRecord]:
        """Return, by sample, the passes of the resumed run that are not repeated."""
        if self.attempt is None:
            return {}
        return {
            each.sample: each
            for each in self.read().passes
            if (each.kind, each.model, each.engine) == (kind, model, engine)
            and not (each.failure and self.options.retry_failed)
        }

    def answers(self, kind: records.PassKind, model: str, engine: str) -> dict[str, tuple[int, ...]]:
        """Return, by sample, the token ids of successful passes of this run on this machine."""
        here = self.attempt.machine if self.attempt else ""
        wanted = kind, model, engine, here, None
        return {
            each.sample: each.token_ids
            for each in (self.read().passes if self.journal else ())
            if (each.kind, each.model, each.engine, each.machine, each.failure) == wanted
        }

    def indices(self, test: str, count: int) -> Iterable[int]:
        """Return the indices below `count` that this process takes in a test: all, or those that its rank claims."""
        return self.rank.claim_indices(test, count) if self.rank else range(count)

    def announce(self, line: str) -> None:
        """Print a line on the terminal, if there is one, past pytest's capturing."""
        if self.terminal is not None:
            self.terminal.write(f"\n{line}\n")
            self.terminal.flush()

    def note(self, outcome: records.OutcomeRecord) -> None:
        """Keep the reason why a recording test gave no figure."""
        self.outcomes.setdefault(outcome.test, outcome)

    def judge_test(self, test: str) -> list[str]:
        """Judge the limits of `test` and derive all files; return a sentence per broken limit or regression."""
        if self.journal is None:
            return []
        run = self.read()
        verdicts = [each for each in judge(run.header.limits, run, test) if each.state != "not run"]
        # A plugin may repeat the test: a limit that one of its measurements broke stays broken.
        kept = {each.limit for each in run.verdicts if each.test == test and each.state == "pass"}
        self.judged_limits -= {each.limit for each in verdicts if each.limit in kept and each.state == "broken"}
        run = self._record_verdicts(run, verdicts)
        if self.rank is None or self.rank.is_first:
            derive_files(self.folder, run, self.options.output_json, self.advice.append)
        broken = [verdict.sentence for verdict in run.verdicts if verdict.test == test and verdict.state == "broken"]
        self.has_broken_limit |= bool(broken)
        return broken + (self.session_gate.regressions(run, test) if self.session_gate else [])

    def end_measuring(self) -> None:
        """Record tests without figures and the machine's speed at the end; under a gate, judge the session."""
        if self.journal is None or self.plan is None:
            return
        self._append_all([*self.outcomes.values(), observe("end", self.plan.device, self.instruments.workloads)])
        if self.session_gate is not None:
            gates = self.session_gate.verdicts(self.read())
            self.gates = {gate.state for gate in gates}
            self._append_all(gates)

    def finish(self, status: Status) -> None:
        """Keep the exit status; if anything was measured, write the journal's last line and derive all files."""
        self.status = status
        if self.journal is None:
            return
        end = records.EndRecord(records.timestamp(), status.code, status.reason, tuple(self.advice))
        if self.rank is None:  # else `python -m harness merge` judges limits and derives files
            run = self.read()
            run = self._record_verdicts(run, judge(run.header.limits, run))
            self.record = msgspec.structs.replace(run, end=end)
        self._append_all([end])
        self.journal.close()
        if self.record is not None:
            derive_files(self.folder, self.record, self.options.output_json, self.advice.append)
            problem = derive_report(self.folder, self.record) if self.options.report else None
            self.advice.extend([problem] if problem else [])

    def fail(self, reason: str) -> None:
        """Replace the exit status by a failure, for the terminal: the end of the run could not be written."""
        self.status = Status(FAILED, reason)
        if self.record is not None and self.record.end is not None:
            end = msgspec.structs.replace(self.record.end, exit_status=FAILED, reason=reason)
            self.record = msgspec.structs.replace(self.record, end=end)

    def files(self) -> list[Path]:
        """Return the files of the run, the most useful first."""
        if self.record is None:
            return []
        legacy = legacy_file_name(self.record, len(legacy_records(self.record)))
        candidates = [
            *(self.folder / name for name in (PAGE, TEXT, RUN_FILE_NAME)),
            self.options.output_json or self.folder / legacy,
            *(self.folder / name for name in (BENCHMARK_FILE_NAME, JOURNAL_NAME)),
        ]
        return [path for path in candidates if path.exists()]

    def _join(self) -> None:
        """Resume the run in the folder, or begin it as the first rank; the other ranks wait for the first."""
        now, rank = self._header(), self.rank
        if rank is not None and not rank.is_first:
            self.folder = rank.wait_for_folder()
        if not self.is_resumed and (rank is None or rank.is_first):
            self.open(now)
        else:
            before = header_in(self.folder)
            refuse_other_work(before, now, self.folder)
            self.open(before, new_attempt(before, now, rank))
        if rank is not None and rank.is_first:
            rank.publish(self.folder)

    def _append_all(self, lines: Iterable[records.JournalLine]) -> None:
        """Write lines to the open journal; measurements get the machine and the rank that took them."""
        assert self.journal is not None, "the journal is open before anything follows its first line"
        for line in lines:
            place: dict[str, Any] = {}
            if self.attempt and isinstance(line, records.PassRecord | records.StageRecord):
                place["machine"] = self.attempt.machine
            if self.rank and isinstance(line, records.PassRecord):
                place["rank"] = self.rank.number
            self.journal.append(msgspec.structs.replace(line, **place) if place else line)

    def _record_verdicts(self, run: records.RunRecord, verdicts: Iterable[records.VerdictRecord]) -> records.RunRecord:
        """Write verdicts on limits that were not judged before to the journal; return the run with all verdicts."""
        new = [verdict for verdict in verdicts if verdict.limit not in self.judged_limits]
        self.judged_limits.update(verdict.limit for verdict in new)
        self._append_all(new)
        by_limit = {verdict.limit: verdict for verdict in (*run.verdicts, *new)}
        return msgspec.structs.replace(run, verdicts=tuple(by_limit.values()))

    def _header(self) -> records.Header:
        assert self.plan is not None, "the suite calls set_plan before it measures"
        environment = stable_environment(self.plan.device) | volatile_environment(self.plan.device)
        return records.Header(
            **msgspec.structs.asdict(self.plan),
            format_version=records.FORMAT_VERSION,
            started_at=records.timestamp(),
            environment=environment,
            options=self.options.as_json(),
        )
