"""How far gates can be trusted: the false alarms without a change, and the detections of added work.

The whole takes hours, in pieces of less than nine minutes: repeat `make measured TOPIC=trust` until it is complete.
Sessions stay in results/trust-…, and each piece writes the table from all of them: remove that folder when the program
has changed. Options of model set and device go to the sessions: ARGS="--model-set full --models egpt". On a shared
machine use one core: `taskset -c 1 make measured TOPIC=trust`.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import msgspec
import pytest

from fixtures.selection import Selection
from harness.commands.child_session import PytestArguments
from harness.gates.baselines import find_baseline, read_sessions
from harness.gates.gate import INJECTED_WORK, flagged, judge_session, merged
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import GateRecord, ModelRecord, RunRecord
from tests import ROOT
from tests.goals.goal_table import GoalRow, GoalTable
from tests.goals.injected_work import SHARE
from tests.harness.gates.simulated_gates import (
    NOISES,
    share_of_alarms_under_two_clocks,
    share_that_fails,
    share_that_fails_on_a_busy_machine,
)

PIECE_S = 500.0
# Sessions of a baseline; a shared CPU needs more, since its conditions vary more.
SESSIONS_ON_CPU, SESSIONS_ON_GPU = 20, 10
# Judged sessions of each kind; on a CPU as many as give CONCLUDED_ON_CPU concluded evaluations, up to MAX_ON_CPU.
SAME_ON_GPU, INJECTED = 10, 7
CONCLUDED_ON_CPU, MAX_ON_CPU = 300, 40
SHARES = (0.10, 0.05)
MODEL_STAGES = ("vision", "prefill", "decode")  # the stages on the device; all three get extra work
SIMULATED = 200_000
# The concluding states by the goal; "improved" concludes too, but is wrong for an unchanged program.
CONCLUDED = {"pass", "regressed"}


class PieceIsOverError(Exception):
    """The time of this piece is over; the next piece continues."""


@dataclass(slots=True)
class Campaign:
    """The sessions of one configuration in one folder; new ones are measured until the time of the piece is over."""

    folder: Path
    device: str
    arguments: tuple[str, ...]
    ends_at: float = field(default_factory=lambda: time.monotonic() + PIECE_S)
    longest_s: float = 0.0

    @property
    def baselines(self) -> Path:
        """The folder of the campaign's baseline."""
        return self.folder / "baselines"

    def record_baseline(self) -> None:
        """Add sessions until the baseline is complete."""
        for count in range(1, (SESSIONS_ON_CPU if self.device == "cpu" else SESSIONS_ON_GPU) + 1):
            if len(read_sessions(self.baselines)) < count:
                command = ["baseline", f"--baselines={self.baselines}", "record", f"--sessions={count}", "--"]
                self._run([sys.executable, "-m", "harness", *command, *self.arguments])

    def gate(self, name: str) -> RunRecord:
        """Return a session judged by the user's command `gate`, which may run a second session."""
        folder = self.folder / name
        if not is_complete(folder):
            words = [*self.arguments, f"--baselines={self.baselines}", f"--output-dir={folder}"]
            self._run([sys.executable, "-m", "harness", "gate", "--", *words])
        return read_journal(folder / JOURNAL_NAME)

    def injected(self, name: str, share: float) -> RunRecord:
        """Return a session with extra work in it, without the note that would make it invalid."""
        folder = self.folder / name
        if not is_complete(folder):
            words = PytestArguments.parse(self.arguments).command(folder, "-p", "tests.goals.injected_work")
            self._run(words, {SHARE: str(share)})
        run = read_journal(folder / JOURNAL_NAME)
        assert all(INJECTED_WORK in model.facts["extra"] for model in run.models), "work was injected, and recorded"
        return msgspec.structs.replace(run, models=tuple(map(_without_note, run.models)))

    def seconds(self) -> list[float]:
        """The seconds of each command of all pieces; a gate with a second session counts as one command."""
        lines = self._seconds.read_text(encoding="utf-8").split() if self._seconds.exists() else []
        return [float(line) for line in lines]

    @property
    def _seconds(self) -> Path:
        return self.folder / "seconds.txt"

    def _run(self, command: Sequence[str], more: dict[str, str] | None = None) -> None:
        start = time.monotonic()
        if start + self.longest_s > self.ends_at:
            raise PieceIsOverError
        subprocess.run(command, cwd=ROOT, env=os.environ | (more or {}), stdout=subprocess.DEVNULL, check=False)
        took_s = time.monotonic() - start
        self.longest_s = max(self.longest_s, took_s)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._seconds.open("a", encoding="utf-8") as file:
            file.write(f"{took_s}\n")


@pytest.fixture(scope="module")
def table(selection: Selection, campaign: Campaign) -> Iterator[GoalTable]:
    """The rows of this configuration; a GPU has its own file."""
    file = "trust" if selection.device == "cpu" else f"trust_{selection.model_set}"
    rows = GoalTable("trust", selection.device, file=file)
    yield rows
    if campaign.seconds():
        goal = "none" if selection.device == "cpu" else "under 15 s"
        rows.rows.append(GoalRow("a session, median", median(campaign.seconds()), "s", goal, len(campaign.seconds())))
    rows.write()


@pytest.fixture(scope="module")
def campaign(selection: Selection) -> Campaign:
    """Short sessions of the stage tests with few samples; on a GPU one model by its fastest engine, in fewer rounds."""
    size: tuple[str, ...] = (f"--models={','.join(selection.models)}", "--max_samples=2", "--stage-samples=2")
    if selection.device != "cpu":
        one = (f"--models={selection.models[0]}", f"--engine={selection.engines[-1]}", "--stage-samples=1")
        size = (*one, "--rounds=5", "--measurement_time=1", "--no_report")
    tests = "not whole" if selection.device == "cpu" else "not whole and not events"
    words = ("perf_tests", "-k", tests, f"--model-set={selection.model_set}", f"--device={selection.device}")
    folder = ROOT / "results" / f"trust-{selection.model_set}-{selection.device.replace(':', '-')}"
    return Campaign(folder, selection.device, (*words, *size))


def test_simulated_gates_are_right(table: GoalTable) -> None:
    """Simulated sessions: false alarms by noise, by clocks with two states and by busy machines, and the power."""
    wrong = max(share_that_fails(noise, runs=SIMULATED) for noise in NOISES)
    table.add("simulated, false alarms a gate", 100 * wrong, "%", "at most 0.1 %", SIMULATED)
    clocks = [
        (noise, slower, often) for noise in NOISES for slower in (0.04, 0.08, 0.15) for often in (0.05, 0.1, 0.3, 0.5)
    ]
    wrong = max(share_of_alarms_under_two_clocks(*clock, runs=SIMULATED) for clock in clocks)
    name = "simulated, false alarms a gate, clocks with two states"
    table.add(name, 100 * wrong, "%", "at most 0.1 %", SIMULATED)
    wrong = max(share_that_fails_on_a_busy_machine(noise, runs=SIMULATED) for noise in NOISES)
    name = "simulated, false alarms a gate, a machine whose speed changes by 10 %"
    table.add(name, 100 * wrong, "%", "at most 0.1 %", SIMULATED)
    wrong = max(
        share_that_fails_on_a_busy_machine(noise, runs=SIMULATED, busy=0.01, later=0.10, minimum_effect=math.log(1.05))
        for noise in NOISES
    )
    name = "simulated, false alarms a gate, a machine 10 % slower than a calm baseline knows"
    table.add(name, 100 * wrong, "%", "none", SIMULATED)
    for noise, effect, goal in ((0.01, 0.05, "92 %"), (0.02, 0.10, "95 %")):
        found = 100 * share_that_fails(noise, effect, runs=SIMULATED)
        name = f"simulated, +{100 * effect:.0f} % found at a session noise of {100 * noise:.0f} %"
        table.add(name, found, "%", f"{goal} or more", SIMULATED)


def test_the_same_program_raises_no_alarm(campaign: Campaign, table: GoalTable, selection: Selection) -> None:
    """A/A: repeated sessions of the baseline's own program.

    Every time and speedup is an evaluation; memory hardly varies and would make the share of false alarms look better.
    """
    sessions, wanted = (MAX_ON_CPU, CONCLUDED_ON_CPU) if selection.device == "cpu" else (SAME_ON_GPU, math.inf)
    gates: list[GateRecord] = []
    concluded: list[GateRecord] = []
    try:
        campaign.record_baseline()
        for number in range(sessions):
            gates += [gate for gate in campaign.gate(f"same-{number:02}").gates if _kind(gate) in {"time", "speedup"}]
            concluded = [gate for gate in gates if gate.state in CONCLUDED]
            if len(concluded) >= wanted:
                break
    except PieceIsOverError:
        table.unfinished = True
    alarms = sum(gate.state == "regressed" for gate in gates)
    goal = "at most 1 of 300 or more" if selection.device == "cpu" else "0"
    table.add("A/A, false alarms", alarms, "evaluations", goal, len(concluded))
    goal = "60 % or more" if selection.device == "cpu" else "90 % or more"
    table.rows.extend(_concluding("", goal, gates))
    if selection.device != "cpu":
        by_gpu = [gate for gate in gates if gate.metric.split(".")[1] in MODEL_STAGES]
        table.rows.extend(_concluding(", of stages on the GPU", "none", by_gpu))
        table.rows.extend(_concluding(", of stages on its CPU", "none", [gate for gate in gates if gate not in by_gpu]))


@pytest.mark.parametrize("share", SHARES)
def test_added_work_is_found(share: float, campaign: Campaign, table: GoalTable) -> None:
    """Extra work in vision, prefill and decode is found; each stage of each session is an evaluation."""
    if campaign.device == "cpu":
        pytest.skip("a goal of the GPU; what is added on a CPU is found by comparing revisions: TOPIC=trust_ab")
    found = evaluations = 0
    try:
        campaign.record_baseline()
        for number in range(INJECTED):
            verdicts = _verdicts(campaign, f"injected-{round(100 * share)}-{number:02}", share)
            evaluations += len(verdicts)
            found += sum(verdict.state == "regressed" for verdict in verdicts)
    except PieceIsOverError:
        table.unfinished = True
    goal = "21 of 21" if share == max(SHARES) else "17 of 21 or more"
    table.add(f"+{100 * share:.0f} % of work, found", found, "evaluations", goal, evaluations)


def is_complete(folder: Path) -> bool:
    """Whether the session in `folder` came to its end; an incomplete one is renamed out of the way."""
    journal = folder / JOURNAL_NAME
    complete = journal.exists() and read_journal(journal).end is not None
    if folder.exists() and not complete:
        folder.rename(folder.with_name(f"{folder.name}-broken-{time.time_ns()}"))
    return complete


def _concluding(of_what: str, goal: str, gates: Sequence[GateRecord]) -> Iterator[GoalRow]:
    if gates:
        share = 100 * sum(gate.state in CONCLUDED for gate in gates) / len(gates)
        yield GoalRow(f"A/A, evaluations that conclude{of_what}", share, "%", goal, len(gates))


def _verdicts(campaign: Campaign, name: str, share: float) -> list[GateRecord]:
    """Return the verdicts on the slowed stages, with a second session where the first flags any."""
    first = campaign.injected(name, share)
    baseline = find_baseline(read_sessions(campaign.baselines), first)
    assert baseline is not None, "the baseline of this campaign is of the same conditions"
    gates = [gate for gate in judge_session(first, baseline) if _is_injected(gate)]
    if flagged(gates):
        gates = merged(gates, judge_session(campaign.injected(f"{name}-again", share), baseline))
    return gates


def _is_injected(gate: GateRecord) -> bool:
    return _kind(gate) == "time" and gate.metric.split(".")[1] in MODEL_STAGES


def _kind(gate: GateRecord) -> str:
    return gate.metric.split(".")[0]


def _without_note(model: ModelRecord) -> ModelRecord:
    extra = {name: value for name, value in model.facts["extra"].items() if name != INJECTED_WORK}
    return msgspec.structs.replace(model, facts=model.facts | {"extra": extra})
