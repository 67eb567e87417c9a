"""Whether gates notice models that got faster by doing less work, and raise no false alarm of quality, on the CPU.

Sessions stay in results/trust_quality/ and are not measured again: remove that folder to start again.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from harness.commands.child_session import PytestArguments
from harness.figures.metrics import percent_change
from harness.gates.gate import Baseline, judge_session, merged
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import GateRecord, RunRecord
from tests import ROOT
from tests.goals.faster_and_wrong import MUTATION, MUTATIONS
from tests.goals.goal_table import GoalTable
from tests.goals.test_trust import is_complete

KEPT = ROOT / "results" / "trust_quality"
# Three models with eight measures of quality each, judged by all other sessions: 312 evaluations.
SESSIONS = 13
TESTS = "preprocess or vision or prefill or decode or whole_pipeline and not fixed"
SESSION = ("perf_tests", "-k", TESTS, "--rounds=5", "--measurement_time=0.2", "--no_report")
PLUGIN = "tests.goals.faster_and_wrong"
FASTER = {
    "image_dropped": "time.vision.egpt.eager",
    "cached_caption": "time.decode.egpt.eager",
    "early_end": "time.decode.egpt.eager",
    "layers_left_out": "time.prefill.egpt.eager",
    "half_the_tokens": "time.prefill.egpt.eager",
    "nan_to_padding": "time.vision.egpt.eager",
    "stale_cache": "time.prefill.egpt.eager",
    "lower_resolution": "time.preprocess.egpt",
}
"""Mutation -> the time that it shortens."""


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """The rows of this topic."""
    goals = GoalTable("trust_quality", in_pieces=True)
    yield goals
    goals.write()


@pytest.fixture(scope="module")
def unchanged() -> list[RunRecord]:
    """Sessions of the unchanged program."""
    return [_session(f"unchanged_{number:02}") for number in range(SESSIONS)]


def test_unchanged_sessions_raise_no_alarm(unchanged: list[RunRecord], table: GoalTable) -> None:
    """Each session is judged by all others, without the second session that would confirm an alarm."""
    gates = [
        gate
        for number, run in enumerate(unchanged)
        for gate in judge_session(run, Baseline("others", [*unchanged[:number], *unchanged[number + 1 :]]))
        if _is_of_quality(gate)
    ]
    alarms = sum(gate.state != "pass" for gate in gates)
    table.add("false alarms of quality, unchanged sessions", alarms, "evaluations", "0 in 300", len(gates))
    assert alarms == 0


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_faster_and_wrong_is_red(mutation: str, unchanged: list[RunRecord], table: GoalTable) -> None:
    """A mutated model is red in a session and its confirmation, and its stage did get faster."""
    known = Baseline("unchanged", unchanged)
    first, second = (judge_session(_session(f"{mutation}_{number}", mutation), known) for number in (1, 2))
    gates = [gate for gate in merged(first, second) if ".egpt" in gate.metric]
    red = [gate for gate in gates if gate.state == "regressed"]
    (of_stage,) = (gate for gate in gates if gate.metric == FASTER[mutation])
    assert of_stage.value is not None
    assert of_stage.centre is not None
    change = percent_change(of_stage.value - of_stage.centre)  # the loss may be that of the answers
    what = f"{mutation.replace('_', ' ')}: figures that regressed, while {of_stage.metric} changed"
    table.add(f"{what} by {change}", len(red), "figures", "1 or more", 2)
    assert red
    assert of_stage.value < of_stage.centre, "it did get faster"


def _is_of_quality(gate: GateRecord) -> bool:
    return gate.metric.startswith(("quality.", "length."))


def _session(name: str, mutation: str = "") -> RunRecord:
    folder = KEPT / name
    if not is_complete(folder):
        more = ["-p", PLUGIN, "--models=egpt"] if mutation else []
        command = PytestArguments.parse(SESSION).command(folder, *more)
        environment = os.environ | ({MUTATION: mutation} if mutation else {})
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=False)
    assert is_complete(folder), f"{folder} has no complete session"
    return read_journal(folder / JOURNAL_NAME)
