"""Resuming an unfinished run: finding it, and checking that code, options and data are unchanged."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ResultFileError, ResumeError
from harness.gates.exit_status import PYTEST_STATUSES
from harness.options import without_flags
from harness.records.fingerprint import differences, machine_name, model_facts, resume_conditions
from harness.records.folder import LATEST, RESULTS
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import AttemptRecord, Header, ModelRecord, RunRecord, timestamp
from harness.session.ranks import Rank

VISIBLE_AFTER_S = 60.0  # shared file systems show a file to other nodes some seconds after it was written


def unfinished_run(root: Path, named: Path) -> Path:
    """Return the folder of an unfinished run: `named`, or for `latest` the newest one under results/.

    Raises ResumeError where the run has ended, and ResultFileError where the folder holds no journal.
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
    """Return the header of a run, waiting for another node's file; raise ResultFileError after VISIBLE_AFTER_S."""
    end = time.monotonic() + VISIBLE_AFTER_S
    while True:
        try:
            return read_journal(folder / JOURNAL_NAME).header
        except ResultFileError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def refuse_other_work(before: Header, now: Header, folder: Path) -> None:
    """Raise ResumeError naming differences in code, options or data; the machine may be another one."""
    differ = differences(resume_conditions(before), resume_conditions(now))
    if differ:
        raise ResumeError(
            f"{folder}: cannot be resumed, since this run would not be the same: {'; '.join(differ)}. "
            "Put that back, or leave --resume out to measure anew"
        )


def refuse_other_model(before: RunRecord, loaded: ModelRecord, folder: Path) -> None:
    """Raise ResumeError where the loaded model differs from the run's model of the same name."""
    for record in before.models:
        differ = differences(model_facts(record), model_facts(loaded)) if record.model == loaded.model else []
        if differ:
            raise ResumeError(f"{folder}: cannot be resumed, since a model is not the same: {'; '.join(differ)}")


def new_attempt(before: Header, now: Header, rank: Rank | None = None) -> AttemptRecord:
    """Return the journal line with which this process resumes or joins a run."""
    here, there = machine_name(now.environment), machine_name(before.environment)
    of_rank = {"rank": rank.number, "world_size": rank.world_size, "restart": rank.restart} if rank else {}
    return AttemptRecord(timestamp(), now.environment, machine=here if here != there else "", **of_rank)


def resuming_command(words: Sequence[str], folder: Path) -> str:
    """Return the command that resumes the run of pytest's arguments `words` in `folder`."""
    kept = without_flags(words, {"--output_dir", "--output-dir", "--resume"})
    return shlex.join(["python", "-m", "pytest", *kept, f"--resume={folder}"])
