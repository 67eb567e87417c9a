"""One session of a comparison: pytest in a fresh process in a revision's tree, and the session's figures."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness.ab.plan import Side
from harness.errors import SessionError
from harness.figures.metrics import Metric, session_metrics
from harness.gates.exit_status import PYTEST_STATUSES
from harness.gates.machine_speed import speeds_of_figures
from harness.processes import run_to_end
from harness.records.fingerprint import Fingerprint, fingerprint
from harness.records.journal import JOURNAL_NAME, read_journal

LAST_LINES = 15


class SessionFigures(msgspec.Struct, frozen=True):
    """The figures of one session, and its failed tests; `speeds`: logarithms of reference work's seconds."""

    pair: int
    side: str
    folder: str
    exit_status: int
    reason: str
    engines: tuple[str, ...] = ()
    metrics: dict[str, Metric] = {}
    speeds: dict[str, tuple[float, ...]] = {}
    conditions: Fingerprint = {}
    failed: tuple[str, ...] = ()


def measure(side: Side, arguments: Sequence[str], tree: Path, folder: Path) -> int:
    """Run pytest in `tree`, writing to `folder`; return its status, raise SessionError where pytest itself failed."""
    words = [*located(arguments, Path.cwd(), tree), *located(side.arguments, Path.cwd(), tree)]
    try:
        return run_session([*words, f"--output-dir={folder}"], folder, f"session {folder.name} of {side.words}", tree)
    except SessionError as error:
        error.commit = side.commit
        raise


def run_session(words: Sequence[str], folder: Path, what: str, tree: Path | None = None) -> int:
    """Run pytest with its output in a file beside `folder`; return its exit status, raise SessionError as `measure`."""
    log = folder.with_name(f"{folder.name}.txt")
    status = run_to_end([sys.executable, "-m", "pytest", *words], log=log, folder=tree)
    if status in PYTEST_STATUSES or status < 0:
        ended = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        raise SessionError("\n    ".join([f"{what} {ended}. {log} ends with", *lines]))
    return status


def read_session(pair: int, name: str, side: Side, folder: Path, status: int) -> SessionFigures:
    """Return the figures of a session that ended with `status`; raise SessionError where other code was measured."""
    if not (folder / JOURNAL_NAME).exists():
        return SessionFigures(pair, name, folder.name, status, "no figure was recorded")
    run = read_journal(folder / JOURNAL_NAME)
    measured = (run.header.environment.get("git") or {}).get("commit", side.commit)
    if measured != side.commit:
        raise SessionError(
            f"session {folder.name} measured commit {measured}, not {side.commit}: another copy of the suite is "
            "imported first; check PYTHONPATH and installed packages"
        )
    metrics = session_metrics(run)
    return SessionFigures(
        *(pair, name, folder.name, status, run.end.reason if run.end else ""),
        engines=run.header.engines,
        metrics=metrics,
        speeds=speeds_of_figures(run, metrics),
        conditions=fingerprint(run),
        failed=tuple(each.test for each in run.outcomes if each.outcome == "failed"),
    )


def located(arguments: Sequence[str], here: Path, tree: Path) -> list[str]:
    """Return the arguments, with absolute paths for option values that name files in `here` but not in `tree`."""
    found = []
    for before, word in zip(["", *arguments], arguments, strict=False):
        option, _, value = word.partition("=") if word.startswith("--") else (before, "", word)
        names_tests = "::" in value or value.endswith(".py")
        takes_value = option.startswith("--") and "=" not in option and value and not names_tests
        is_only_here = takes_value and (here / value).exists() and not (tree / value).exists()
        found.append(f"{word.removesuffix(value)}{here / value}" if is_only_here else word)
    return found
