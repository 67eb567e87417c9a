"""Resuming an unfinished run: finding it, and checking that code, options and data are unchanged."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ResultFileError, ResumeError
from harness.gates.exit_status import PYTEST_STATUSES
from harness.options import without_flags
from harness.records.fingerprint import differences, machine_name, model_facts, work
from harness.records.folder import LATEST, RESULTS
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import AttemptRecord, Header, ModelRecord, RunRecord, timestamp
from harness.session.ranks import Rank

VISIBLE_AFTER_S = 60.0  # shared file systems show a file to other nodes some seconds after it was written


def unfinished_run(root: Path, named: Path) -> Path:
    """Return the folder of a run that can be resumed: the one named, or for `latest` the newest under results/.

    Raises ResumeError where it has come to its end, and ResultFileError where it holds no journal.
    """
    folder = (root / RESULTS / LATEST if named == Path(LATEST) else named).resolve()
    end = read_journal(folder / JOURNAL_NAME).end
    if end is not None and end.exit_status not in PYTEST_STATUSES:
        raise ResumeError(
            f"{folder}: this run has come to its end ({end.finished_at}, exit status {end.exit_status}); "
            "leave --resume out to measure anew"
        )
    return folder


def header_in(folder: Path) -> Header:
    """Return the header of a run, which another node may have written a moment ago; raise ResultFileError later."""
    end = time.monotonic() + VISIBLE_AFTER_S
    while True:
        try:
            return read_journal(folder / JOURNAL_NAME).header
        except ResultFileError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def refuse_other_work(before: Header, now: Header, folder: Path) -> None:
    """Raise ResumeError naming what is not as it was; another machine is no other work."""
    differ = differences(work(before), work(now))
    if differ:
        raise ResumeError(
            f"{folder}: cannot be resumed, since this would be other work: {'; '.join(differ)}. "
            "Put that back, or leave --resume out to measure anew"
        )


def refuse_other_model(before: RunRecord, loaded: ModelRecord, folder: Path) -> None:
    """Raise ResumeError where a model of that name was another one when the run began."""
    for record in before.models:
        differ = differences(model_facts(record), model_facts(loaded)) if record.model == loaded.model else []
        if differ:
            raise ResumeError(f"{folder}: cannot be resumed, since a model is another one: {'; '.join(differ)}")


def new_attempt(before: Header, now: Header, rank: Rank | None = None) -> AttemptRecord:
    """Return the line with which this process resumes a run."""
    here, there = machine_name(now.environment), machine_name(before.environment)
    among = {"rank": rank.number, "world_size": rank.world_size, "restart": rank.restart} if rank else {}
    return AttemptRecord(timestamp(), now.environment, machine=here if here != there else "", **among)


def resuming_command(words: Sequence[str], folder: Path) -> str:
    """Return the command that resumes the run which pytest began with these arguments."""
    kept = without_flags(words, {"--output_dir", "--output-dir", "--resume"})
    return shlex.join(["python", "-m", "pytest", *kept, f"--resume={folder}"])
