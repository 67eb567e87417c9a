"""`python -m harness gate -- <pytest arguments>`: one session flags figures, a second one confirms them."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from harness.commands.child_session import PytestArguments
from harness.gates.baselines import sessions_by_folder, sessions_needed
from harness.gates.exit_status import FAILED, NO_FIGURE, NOT_DECIDED, PYTEST_STATUSES, Status, exit_status
from harness.gates.gate import flagged
from harness.gates.session_gate import confirmed_verdicts
from harness.gates.witnesses import headline
from harness.measuring.environment import stable_environment
from harness.processes import run_to_end
from harness.records.journal import JOURNAL_NAME, Journal, read_finished_run, read_journal
from harness.records.lines import EndRecord, GateRecord, VerdictRecord, timestamp
from harness.report.blocks import plain
from harness.report.sections.verdict import problems
from harness.report.terminal import gate_lines
from harness.session.derived_files import derive_files, derive_report

CONFIRM = "confirm"


def gate(words: Sequence[str]) -> int:
    """Measure, confirm flagged figures, write and print the verdict; return the exit status."""
    arguments = PytestArguments.parse(words)
    folder = arguments.new_folder()
    by_folder = sessions_by_folder(arguments.baselines, stable_environment("cpu"))
    missing = sessions_needed(max(map(len, by_folder.values()), default=0))
    if missing:
        add = ["python", "-m", "harness", "baseline", f"--baselines={arguments.baselines}", "add", str(folder)]
        sys.stdout.write(
            f"gate: {arguments.baselines} has {missing}.\nThe run starts all the same: limits are judged, and it can "
            f"become a session: {shlex.join(add)}\n"
        )
    # The sessions are quiet: verdicts are printed once, below both, and report.md has the figures.
    quiet = () if "no:terminal" in words else ("-q", "--tb=no", "-rN")
    code = run_to_end(arguments.command(folder, "--gate", *quiet[:1]))
    run = read_finished_run(folder)
    # A session that could not write down its end exits with another status than its journal has.
    if run is None or run.end is None or code in PYTEST_STATUSES or code != run.end.exit_status:
        return _say(_without_verdict(code, folder)).code
    gates, broken, cut_short = list(run.gates), list[VerdictRecord](), False
    if flagged(gates):
        second = arguments.without_other_outputs().command(folder / CONFIRM, "--gate", f"--confirm={folder}", *quiet)
        code = run_to_end(second)
        if code in PYTEST_STATUSES:
            return _say(_without_verdict(code, folder / CONFIRM)).code
        confirming = read_finished_run(folder / CONFIRM)
        cut_short = confirming is None
        gates = confirmed_verdicts(run, confirming, arguments.baselines)
        broken += [each for each in confirming.verdicts if each.state == "broken"] if confirming else []
    failed = FAILED if broken or run.end.exit_status == FAILED else 0
    status = exit_status(failed, expects_figures=True, figures=len(gates), gates={gate.state for gate in gates})
    if cut_short and status.code == NOT_DECIDED:
        status = Status(NOT_DECIDED, f"the second session was cut short (status {code}): run the gate again")
    if status.code == FAILED:
        others = problems(msgspec.structs.replace(run, gates=(), verdicts=(*run.verdicts, *broken)))
        status = Status(FAILED, headline(gates) or plain(next(others, status.reason)))
    _write_down(folder, [*broken, *gates], status)
    sys.stdout.write(gate_lines(gates))
    return _say(status).code


def _without_verdict(code: int, folder: Path) -> Status:
    if code in PYTEST_STATUSES:
        return Status(code, "pytest ended the session, nothing was judged")
    if (folder / JOURNAL_NAME).exists():
        return Status(FAILED, f"the session was cut short (status {code}); its measurements are in {folder}")
    if code == FAILED:
        return Status(FAILED, "a test failed, and no figure was recorded")
    return Status(NO_FIGURE, "no figure was recorded; the session's output gives the reason")


def _write_down(folder: Path, decided: Iterable[GateRecord | VerdictRecord], status: Status) -> None:
    """Add the decided verdicts to the journal, where they replace earlier ones, and derive all files again."""
    before = read_journal(folder / JOURNAL_NAME)
    journal = Journal(folder / JOURNAL_NAME, reopen=True)
    for record in decided:
        if record not in (*before.gates, *before.verdicts):
            journal.append(record)
    advice = before.end.advice if before.end else ()
    journal.append(EndRecord(timestamp(), status.code, status.reason, advice))
    journal.close()
    output_json = before.header.options.get("output_json")
    run = read_journal(folder / JOURNAL_NAME)
    derive_files(folder, run, Path(output_json) if output_json else None)
    problem = derive_report(folder, run) if run.header.options.get("report", True) else None
    sys.stdout.write(f"advice: {problem}\n" if problem else "")


def _say(status: Status) -> Status:
    sys.stdout.write(f"gate: exit status {status.code}: {status.reason}\n")
    return status
