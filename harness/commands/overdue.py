"""`python -m harness baseline overdue`: the benchmarks of all baselines that no run has measured for some days."""

# A gate that silently stops measuring looks like a passing one, so the workflow perf-alarm.yml runs this each morning.

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from harness.errors import ResultFileError
from harness.gates.baselines import read_sessions
from harness.gates.exit_status import FAILED
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import RunRecord
from harness.records.quantities import counted

Benchmark = tuple[str, str, str]
"""Model set, kind of device, and id of the test."""


def overdue(baselines: Path, folders: Sequence[Path], days: int, now: datetime | None = None) -> int:
    """Print each benchmark of a baseline that no run below `folders` has measured for `days`; return 1 if any."""
    latest: dict[Benchmark, datetime] = {}
    if missing := [str(each) for each in folders if not each.is_dir()]:
        raise ResultFileError(f"{', '.join(missing)}: is no folder; name one with runs in it")
    for path in sorted(each for folder in folders for each in folder.rglob(JOURNAL_NAME)):
        try:
            run = read_journal(path)
        except ResultFileError as error:
            sys.stdout.write(f"left out: {error}\n")
            continue
        started = datetime.fromisoformat(run.header.started_at).astimezone(UTC)
        latest |= {each: max(started, latest.get(each, started)) for each in _benchmarks(run)}
    known = {each for session in read_sessions(baselines) for each in _benchmarks(session.record.run)}
    sys.stdout.write("" if known else f"no baseline in {baselines}: only benchmarks of these runs are looked for\n")
    wanted = known or {*latest}
    since = (now or datetime.now(UTC)) - timedelta(days=days)
    late = sorted(each for each in wanted if each not in latest or latest[each] < since)
    for model_set, device, test in late:
        ran = latest.get((model_set, device, test))
        last = f"last on {ran:%Y-%m-%d}" if ran else "not once in these runs"
        sys.stdout.write(f"has not run for {counted(days, 'day')}: {test} of {model_set} on {device}, {last}\n")
    if not wanted:
        sys.stdout.write(f"nothing to look for: no figure in {', '.join(map(str, [baselines, *folders]))}\n")
    return FAILED if late or not wanted else 0


def _benchmarks(run: RunRecord) -> Iterator[Benchmark]:
    tests = [each.test for each in run.stages if each.round_s] + [each.test for each in run.passes if not each.failure]
    tests += [each.test for each in (*run.agreements, *run.speculations, *run.speculation_costs)]
    tests += [each.test for each in run.side_by_side]
    for test in filter(None, dict.fromkeys(tests)):
        yield run.header.model_set, run.header.device.partition(":")[0], test
