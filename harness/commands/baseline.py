"""`python -m harness baseline …`: record, add, replace, retire and list sessions."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import stdev

from harness.ab.command import say
from harness.commands.child_session import PytestArguments
from harness.errors import BaselineError, OptionError
from harness.gates.baselines import read_sessions, session_file, sessions_by_folder, sessions_needed, store
from harness.gates.gate import Baseline
from harness.gates.prediction import MIN_SESSIONS, predict
from harness.measuring.environment import stable_environment
from harness.processes import run_to_end
from harness.records.quantities import counted

_WORTH_A_LINE = 0.001  # smallest printed change of centre or limit


def record(baselines: Path, words: Sequence[str], sessions: int) -> None:
    """Measure in fresh processes until a baseline has `sessions` of `words`; raise BaselineError if a session fails."""
    arguments = PytestArguments.parse(words)
    if arguments.baselines != Path("baselines").absolute():  # named behind the `--`, as for a gate
        baselines = arguments.baselines
    by_folder = sessions_by_folder(baselines, stable_environment("cpu"))
    alike = [[each for each in group if each.record.arguments == arguments.words] for group in by_folder.values()]
    known = max(alike, key=len, default=[])  # a folder holds one set of conditions
    if len(known) >= sessions:
        more = "a larger --sessions measures more, which begin a new baseline if models or data have changed"
        sys.stdout.write(f"{known[0].path.parent} has {counted(len(known), 'session')} already; {more}\n")
        return
    have = len(known)
    if arguments.output_dir and sessions - have > 1:
        raise OptionError(f"{sessions - have} sessions need a folder each: leave --output-dir out")
    while have < sessions:  # each session is stored at once, so that an interrupted recording can be continued
        start = time.monotonic()
        path = _one_session(baselines, arguments)
        took = time.monotonic() - start
        ours = [each for each in read_sessions(baselines) if each.record.arguments == arguments.words]
        have = sum(each.path.parent == path.parent for each in ours)
        say(f"session {have} of {sessions}: {path} ({took:.0f} s; about {(sessions - have) * took / 60:.0f} min left)")
    if sessions_needed(have):
        where = "" if baselines == Path("baselines") else f"--baselines {shlex.quote(str(baselines))} "
        more = f"python -m harness baseline {where}record --sessions 10 -- {shlex.join(arguments.words)}"
        sys.stdout.write(f"{sessions_needed(have)}; continue with {more}\n")


def add(baselines: Path, folders: Sequence[Path]) -> None:
    """Add finished runs to their baselines, and print changed predictions."""
    for folder in folders:
        _change(baselines, "added", partial(store, baselines, folder))


def replace(baselines: Path, name: str, folder: Path) -> None:
    """Replace a session by a run, and print changed predictions."""
    path = session_file(baselines, name)
    _change(baselines, "replaced", lambda: store(baselines, folder, at=path))


def retire(baselines: Path, names: Sequence[str]) -> None:
    """Remove sessions, and print changed predictions; version control keeps removed files."""

    def remove(path: Path) -> Path:
        try:
            path.unlink()
        except OSError as error:
            raise BaselineError(f"{path}: cannot be removed ({error.strerror})") from error
        return path

    for path in dict.fromkeys(session_file(baselines, name) for name in names):
        _change(baselines, "retired", partial(remove, path))


def list_all(baselines: Path) -> None:
    """Print every baseline with its conditions and sessions."""
    by_folder = sessions_by_folder(baselines)
    if not by_folder:
        sys.stdout.write(f"no baseline in {baselines}\n")
    for folder, sessions in by_folder.items():
        few = f", {MIN_SESSIONS} are needed" if len(sessions) < MIN_SESSIONS else ""
        sys.stdout.write(f"{folder.name} ({counted(len(sessions), 'session')}{few})\n")
        for each in sessions:
            run = each.record.run
            commit = ((run.header.environment.get("git") or {}).get("commit") or "no commit")[:10]
            sys.stdout.write(f"  {each.name}  {run.header.started_at}  {commit}\n")


def _one_session(baselines: Path, arguments: PytestArguments) -> Path:
    folder = arguments.new_folder()
    log = folder.with_name(f"{folder.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    status = run_to_end(arguments.command(folder), log=log)
    if status != 0:
        raise BaselineError(f"a session ended with status {status} and was not added to a baseline: see {log}")
    path = store(baselines, folder, arguments.words)
    log.rename(folder / "session.log")
    return path


def _change(baselines: Path, verb: str, work: Callable[[], Path]) -> None:
    """Do `work` on one session's file, and print each figure of its baseline whose centre or limit changes."""
    before, path = read_sessions(baselines), work()
    was, now = (
        Baseline(path.parent.name, [each.record.run for each in stored if each.path.parent == path.parent])
        for stored in (before, read_sessions(baselines))
    )
    sys.stdout.write(f"{verb} {path}\n  {len(was.sessions)} -> {counted(len(now.sessions), 'session')}\n")
    for name, metrics in now.metrics.items():
        values = [[each.value for each in found] for found in (was.metrics.get(name, []), metrics)]
        if min(map(len, values)) < 2:
            continue
        old, new = (predict(each, metrics[0].effect_at_spread(stdev(each))) for each in values)
        if abs(new.centre - old.centre) > _WORTH_A_LINE or abs(new.limit - old.limit) > _WORTH_A_LINE:
            written, change = metrics[0].format, metrics[0].format_change
            sys.stdout.write(
                f"  {name}: {written(float(old.centre))} -> {written(float(new.centre))}, "
                f"limit {change(float(old.limit))} -> {change(float(new.limit))}\n"
            )
