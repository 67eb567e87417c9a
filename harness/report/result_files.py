"""Any file or folder that holds results, as the record of a run: ours of every kind, and the old script's."""

from pathlib import Path

from harness.gates.baselines import EXTRA_KEY, SessionFile
from harness.legacy.formats import read_any_json
from harness.legacy.reading import run_of_old_file
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.json_files import read_json
from harness.records.lines import RunRecord

WAY_OUT = "name a run's folder or a result file"


def read_result(path: Path, gamma: int = 5) -> RunRecord | None:
    """Return what a result holds; None for a file of answers alone, which has token ids and no times.

    A run's folder, journal.jsonl, run.json, a session of a baseline, or an old result file. Raises ResultFileError.
    """
    if path.is_dir():
        return read_journal(path / JOURNAL_NAME)
    if path.suffix == ".jsonl":
        return read_journal(path)
    content = read_any_json(path, WAY_OUT)
    if isinstance(content, dict) and "header" in content:
        return read_json(path, RunRecord, "what a run writes")
    if isinstance(content, dict) and EXTRA_KEY in content:
        return read_json(path, SessionFile, "what a run writes").event_vlm_perf.run
    return run_of_old_file(path, gamma, content)
