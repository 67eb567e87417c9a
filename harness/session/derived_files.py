"""The files that are derived from a run's record: `run.json`, the legacy result file, the report."""

import glob
import shlex
from pathlib import Path

from harness.errors import RunFolderError
from harness.legacy.writing import legacy_file_name, legacy_records
from harness.records.folder import BENCHMARK_FILE_NAME, kept_name, write_json
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import RunRecord
from harness.report import PAGE, TEXT

RUN_FILE_NAME = "run.json"


def require_other_file(path: Path, folder: Path, dataset: Path | None = None) -> None:
    """Raise RunFolderError where `--output_json` names a file of the run itself, or the dataset's JSON."""
    own = [folder.absolute() / name for name in (JOURNAL_NAME, RUN_FILE_NAME, BENCHMARK_FILE_NAME, PAGE, TEXT)]
    if path.absolute() in own or (dataset and path.resolve() == dataset.resolve()):
        whose = "the run writes this file itself" if path.absolute() in own else "this is the dataset's JSON"
        raise RunFolderError(f"{path}: {whose}; name another file by --output_json")


def derive_files(folder: Path, run: RunRecord, output_json: Path | None = None) -> Path | None:
    """Write `run.json` and the legacy result file from a run's record; return the latter, if it has records.

    Another run's file in the place of `output_json` is renamed: no result is lost.
    """
    write_json(folder / RUN_FILE_NAME, run)
    records = legacy_records(run)
    if not records:
        return None
    path = output_json or folder / legacy_file_name(run, len(records))
    kept = kept_name(path)
    if kept and run.header.started_at.encode() not in path.read_bytes():
        path.rename(kept)
    write_json(path, records, indent=2)
    if output_json is None:
        # The name holds the number of samples: this run's earlier files, of fewer samples, are deleted.
        before, _, after = legacy_file_name(run, 0).rpartition("_n0_")
        for each in folder.glob(f"{glob.escape(before)}_n*_{glob.escape(after)}"):
            if each != path:
                each.unlink()
    return path


def derive_report(folder: Path, run: RunRecord) -> str | None:
    """Write `report.html` and `report.md` from a run's record; return a sentence where that failed, else None."""
    try:
        from harness.report.content import report_of  # imported late: matplotlib takes a second
        from harness.report.files import write_report

        write_report(report_of(run, folder.name), folder)
    except Exception as error:
        # Any error: a measured run must not be lost because its report failed.
        again = shlex.join(["python", "-m", "harness", "report", str(folder)])
        return f"no report was made ({type(error).__name__}: {error}); try {again}"
    return None
