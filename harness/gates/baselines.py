"""Baselines on disk: one session per file `baselines/<readable name>/NNNN_<date>.json`, in folders by fingerprint.

A file is pytest-benchmark's JSON with our record inside, so that `--benchmark-compare` displays it.
"""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import BaselineError
from harness.gates import machine_speed
from harness.gates.exit_status import PYTEST_STATUSES
from harness.gates.gate import Baseline, whole_session_problems
from harness.gates.prediction import MIN_SESSIONS
from harness.grouping import grouped
from harness.records.fingerprint import Fingerprint, differences, fingerprint, host_conditions, readable_name
from harness.records.folder import BENCHMARK_FILE_NAME, read_json, write_json
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import RunRecord

DEFAULT_FOLDER, EXTRA_KEY = "baselines", "event_vlm_perf"
_NUMBERED = re.compile(r"(\d{4})_.*\.json")


class SessionRecord(msgspec.Struct, frozen=True):
    """Our part of a session's file: the whole run, its fingerprint, and pytest's arguments."""

    fingerprint: Fingerprint
    run: RunRecord
    arguments: tuple[str, ...] = ()


class SessionFile(msgspec.Struct, frozen=True):
    """A session's file, without pytest-benchmark's part."""

    event_vlm_perf: SessionRecord


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session of a baseline, and the file that it is in."""

    path: Path
    record: SessionRecord

    @property
    def name(self) -> str:
        """The session's name in commands: <readable name>/NNNN."""
        return f"{self.path.parent.name}/{self.path.name[:4]}"


def read_sessions(folder: Path) -> list[StoredSession]:
    """Return every session under a folder of baselines; raise BaselineError naming a file that is not a session."""
    if folder.is_file():
        raise BaselineError(f"{folder}: is a file; --baselines names a folder")
    files = [path for path in sorted(folder.glob("*/*.json")) if is_session(path)]
    return [StoredSession(path, _read(path)) for path in files]


def is_session(path: Path) -> bool:
    """Whether a file has the name of a session."""
    return _NUMBERED.fullmatch(path.name) is not None


def sessions_by_folder(baselines: Path, here: Mapping[str, Any] | None = None) -> dict[Path, list[StoredSession]]:
    """Return all sessions by folder, or those of machines and libraries as in the environment `here`."""
    conditions = host_conditions(here) if here else {}
    found = [each for each in read_sessions(baselines) if conditions.items() <= each.record.fingerprint.items()]
    return grouped((each.path.parent, each) for each in found)


def sessions_needed(have: int) -> str:
    """Return a text with the number of sessions that a baseline lacks; empty where it has enough."""
    if have >= MIN_SESSIONS:
        return ""
    count = f"{have or 'no'} session{'s' * (have != 1)} of a machine like this one"
    return f"{count}, and a gate needs {MIN_SESSIONS}, better 10: {MIN_SESSIONS - have} missing"


def find_baseline(stored: Iterable[StoredSession], run: RunRecord) -> Baseline | None:
    """Return the baseline with the run's fingerprint, the largest of several; None without any."""
    now = fingerprint(run)
    alike = [each for each in stored if not differences(each.record.fingerprint, now)]
    by_name = grouped((each.path.parent.name, each.record.run) for each in alike)
    if not by_name:
        return None
    name = max(by_name, key=lambda each: len(by_name[each]))
    return Baseline(name, by_name[name])


def why_no_baseline(stored: Sequence[StoredSession], run: RunRecord, folder: Path) -> str:
    """Return a sentence on why no baseline fits a run, and the way out."""
    where = "" if folder.name == DEFAULT_FOLDER else f"--baselines {shlex.quote(str(folder))} "
    way_out = f"record one: python -m harness baseline {where}record --sessions 10 -- <pytest arguments>"
    if not stored:
        return f"no baseline in {folder}; {way_out}"
    now = fingerprint(run)
    nearest = min(stored, key=lambda each: len(differences(each.record.fingerprint, now)))
    differ = "; ".join(differences(nearest.record.fingerprint, now))
    why = f"no baseline in {folder} was recorded under these conditions"
    return f"{why}. The nearest, {nearest.name}: {differ}; {way_out}"


def load_run(folder: Path) -> tuple[RunRecord, dict[str, Any]]:
    """Return a run and its pytest-benchmark file; raise BaselineError with reasons why it cannot be in a baseline."""
    run = read_journal(folder / JOURNAL_NAME)
    reasons = [f"{each.test} {each.outcome}: {each.reason}" for each in run.outcomes if each.outcome == "failed"]
    reasons += [note.rstrip(".") for note in run.notes]
    reasons += whole_session_problems(run)
    if run.end is None or run.end.exit_status in PYTEST_STATUSES:
        reasons.append("it has not ended")
    if not machine_speed.speeds_at_ends(run):
        reasons.append("it has no reference work")
    if reasons:
        raise BaselineError(f"{folder}: cannot be part of a baseline: {'; '.join(reasons)}. Measure again")
    path = folder / BENCHMARK_FILE_NAME
    advice = "run without --benchmark-json to have it there"
    return run, read_json(path, dict[str, Any], "pytest-benchmark's JSON", advice=advice, error=BaselineError)


def store(baselines: Path, run_folder: Path, arguments: Sequence[str] = (), *, at: Path | None = None) -> Path:
    """Write a run into the baseline of its fingerprint, or in place of the session's file `at`; return its path."""
    run, content = load_run(run_folder)
    now = fingerprint(run)
    alike = [each for each in read_sessions(baselines) if not differences(each.record.fingerprint, now)]
    for each in alike:
        if (each.record.run.header, each.record.run.stages) == (run.header, run.stages):
            raise BaselineError(f"{run_folder}: is session {each.name} already")
    if at is None:
        folder = alike[0].path.parent if alike else baselines / readable_name(now)
        numbers = [int(path.name[:4]) for path in folder.glob("*.json") if is_session(path)]
        at = folder / f"{max(numbers, default=0) + 1:04}_{re.sub(r'[^0-9]', '', run.header.started_at[:10])}.json"
    elif differ := differences(_read(at).fingerprint, now):
        raise BaselineError(f"{run_folder}: cannot replace {at}: {'; '.join(differ)}")
    write_json(at, content | {EXTRA_KEY: SessionRecord(now, run, tuple(arguments))})
    return at


def session_file(baselines: Path, name: str) -> Path:
    """Return the file of `<readable name>/NNNN`; raise BaselineError where there is none."""
    folder, _, number = name.rpartition("/")
    found = [path for path in sorted((baselines / folder).glob(f"{number}_*.json")) if is_session(path)]
    if len(found) != 1 or not folder:
        raise BaselineError(f"{baselines}: has no session {name!r}; `python -m harness baseline list` names them")
    return found[0]


def _read(path: Path) -> SessionRecord:
    advice = "move it elsewhere, sessions are added by `python -m harness baseline add`"
    return read_json(path, SessionFile, "a session of ours", advice=advice, error=BaselineError).event_vlm_perf
