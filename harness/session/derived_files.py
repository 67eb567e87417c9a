"""The files that are derived from a run's record: `run.json`, the legacy result file, the report."""

import glob
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from harness.errors import RunFolderError
from harness.legacy.writing import legacy_file_name, legacy_records
from harness.records.folder import BENCHMARK_FILE_NAME, keep_aside, write_json
from harness.records.journal import JOURNAL_NAME
from harness.records.lines import RunRecord
from harness.report import PAGE, TEXT

RUN_FILE_NAME = "run.json"


def files_of(folder: Path) -> list[Path]:
    """Return the files that a run writes into its folder, those of its ranks where they exist."""
    own = (JOURNAL_NAME, RUN_FILE_NAME, BENCHMARK_FILE_NAME, PAGE, TEXT)
    return [*(folder / name for name in own), *folder.glob("*.jsonl"), *folder.glob("benchmark.*.json")]


def require_other_file(path: Path, used: Iterable[Path], option: str = "--output_json") -> None:
    """Raise RunFolderError where an option names one of the files that are used; `--output_json` also for a device."""
    if path.resolve() in {each.resolve() for each in used}:
        raise RunFolderError(f"{path}: the run uses this file itself; name another one by {option}")
    if option == "--output_json" and os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
        raise RunFolderError(f"{path}: is no regular file; name another one by {option}")


def derive_files(
    folder: Path, run: RunRecord, output_json: Path | None = None, say: Callable[[str], object] = lambda _line: None
) -> Path | None:
    """Write `run.json` and the legacy result file; return the latter, if any. `say` hears of a file renamed for it."""
    write_json(folder / RUN_FILE_NAME, run)
    records = legacy_records(run)
    if not records:
        return None
    path = output_json or folder / legacy_file_name(run, len(records))
    if kept := keep_aside(path, run.header.started_at.encode()):
        say(f"the file that was {path} before is {kept} now")
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
