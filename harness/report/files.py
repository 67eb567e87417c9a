"""Reads results of any kind, ours and the old script's, and writes their reports."""

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import ResultFileError
from harness.gates.baselines import EXTRA_KEY, SessionFile
from harness.legacy.formats import read_any_json
from harness.legacy.reading import BELOW_ZERO, run_of_old_file
from harness.records.folder import read_json, shortened, write_whole
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import RunRecord
from harness.report.blocks import Report
from harness.report.content import report_of, report_of_answers
from harness.report.markdown import markdown
from harness.report.page import page
from harness.report.several import report_of_several
from harness.report.terminal import rendered

OF_A_RUN = {"journal.jsonl", "run.json"}


def write_report(report: Report, folder: Path, stem: str = "report") -> tuple[Path, Path]:
    """Write a report into a folder as a page and as Markdown; return both paths."""
    page_file, text_file = folder / f"{stem}.html", folder / f"{stem}.md"
    write_whole(page_file, page(report).encode())
    write_whole(text_file, markdown(report).encode())
    return page_file, text_file


def publish(report: Report, folder: Path) -> None:
    """Write a report into a folder, and print it; raise RunFolderError where it cannot be written."""
    write_report(report, folder)
    sys.stdout.write(rendered(report, color=sys.stdout.isatty()) + f"files: {folder}\n")


def report_files(paths: Sequence[Path], output_dir: Path | None, gamma: int) -> tuple[Path, Path]:
    """Write the report of one result, or of several side by side, and return its page and its Markdown.

    They go beside the first path, or into `output_dir`. Raises ResultFileError for a file that is no result, and after
    the report is written for times below zero, since the clock of such a file is wrong.
    """
    first = paths[0]
    folder = output_dir or (first if first.is_dir() else first.parent)
    if len(paths) > 1:
        found = [(path, read_result(path, gamma)) for path in paths]
        report, stem = report_of_several(found), "side_by_side_report"
        runs = [run for _, run in found if run]
    else:
        run = read_result(first, gamma)
        of_run = first.parent if first.name in OF_A_RUN else first if first.is_dir() else None
        title = of_run.resolve().name if of_run else first.stem
        stem = "report" if of_run else f"{shortened(first.stem, 20)}_report"
        report = report_of(run, title) if run else report_of_answers(first, gamma)
        runs = [run] if run else []
    page_file, text_file = write_report(report, folder, stem)
    for failure in (each.failure for run in runs for each in run.passes):
        if failure and failure.type == BELOW_ZERO:
            raise ResultFileError(f"sample {failure.sample!r}: {failure.text}: left out, {text_file} is of the others")
    return page_file, text_file


def read_result(path: Path, gamma: int = 5) -> RunRecord | None:
    """Return the run in a result of any kind; None for answers without times. Raises ResultFileError."""
    if path.is_dir():
        return read_journal(path / JOURNAL_NAME)
    if path.suffix == ".jsonl":
        return read_journal(path)
    content = read_any_json(path, "name a run's folder or a result file")
    if isinstance(content, dict) and "header" in content:
        return read_json(path, RunRecord, "what a run writes")
    if isinstance(content, dict) and EXTRA_KEY in content:
        return read_json(path, SessionFile, "what a run writes").event_vlm_perf.run
    return run_of_old_file(path, gamma, content)
