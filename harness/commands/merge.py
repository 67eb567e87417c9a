"""`python -m harness merge`: derives a run's files from its journals, and judges a run by several ranks."""

import shlex
import sys
from pathlib import Path

import msgspec

from harness.gates.exit_status import FAILED, PYTEST_STATUSES, Status, exit_status
from harness.gates.limits import judge
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import EndRecord, RunRecord, timestamp
from harness.records.merging import world_size
from harness.report import PAGE, TEXT
from harness.session.derived_files import RUN_FILE_NAME, derive_files, derive_report, files_of, require_other_file


def merge_folder(folder: Path, output_json: Path | None = None) -> int:
    """Derive a run's files and print them; return the status of a run by ranks, else 0. Raises ResultFileError."""
    run = read_journal(folder / JOURNAL_NAME)
    if output_json is not None:
        require_other_file(output_json, [*files_of(folder), Path(run.header.dataset)])
    # No single rank could judge the run.
    of_ranks = world_size(run.header, run.attempts) > 1 or any(each.rank for each in run.passes)
    if of_ranks:
        run = judged(run)
    legacy = derive_files(folder, run, output_json, lambda line: sys.stdout.write(f"{line}\n"))
    problem = derive_report(folder, run)
    if of_ranks:
        from harness.report.formatting import encodable
        from harness.report.terminal import summary

        sys.stdout.write(encodable(summary(run, folder, [], width=120, color=False), sys.stdout.encoding or "utf-8"))
    finished = sum(record.kind == "whole" and record.failure is None for record in run.passes)
    sys.stdout.write(f"{folder / RUN_FILE_NAME}\n{legacy or 'no legacy result file: no sample is finished'}\n")
    sys.stdout.write(f"advice: {problem}\n" if problem else f"{folder / PAGE}\n{folder / TEXT}\n")
    planned = len(run.header.samples) * len(run.header.models) * len(run.header.engines)
    sys.stdout.write(f"{finished} of {planned} planned passes are finished\n")
    if not of_ranks and (run.end is None or run.end.exit_status in PYTEST_STATUSES):
        added = shlex.quote(f"--resume={folder}")
        sys.stdout.write(f"this run has not ended; the same command with {added} resumes it\n")
    return run.end.exit_status if of_ranks and run.end else 0


def judged(run: RunRecord) -> RunRecord:
    """Return a run by several ranks with verdicts on its limits and the end of the whole run."""
    verdicts = tuple(judge(run.header.limits, run))
    broken = any(verdict.state == "broken" for verdict in verdicts)
    failed = any(each.failure for each in run.passes) or any(each.outcome == "failed" for each in run.outcomes)
    status = Status(FAILED, "not every rank has ended: wait for torchrun, or continue with --resume")
    if run.end is not None and run.end.exit_status not in PYTEST_STATUSES:
        status = exit_status(FAILED * (broken or failed), expects_figures=True, figures=len(run.passes))
    return msgspec.structs.replace(run, verdicts=verdicts, end=EndRecord(timestamp(), status.code, status.reason))
