"""The gate inside one session: it finds the baseline, judges at the end, and fails tests of a confirming session."""

from functools import cached_property
from pathlib import Path

import msgspec

from harness.errors import BaselineError
from harness.gates.baselines import find_baseline, read_sessions, why_no_baseline
from harness.gates.gate import Baseline, flagged, judge_metric, judge_session, merged
from harness.gates.witnesses import SINCE, time_explaining, time_of, with_causes
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import GateRecord, RunRecord


class SessionGate:
    """Judges one session by the baselines in a folder; with `confirms`, only figures flagged in that run's folder.

    `release`: folder of a release's baselines. Against these, slow creep shows whose single steps all pass.
    """

    def __init__(self, baselines: Path, confirms: Path | None = None, release: Path | None = None) -> None:
        """Read the baselines before anything is measured; raise BaselineError naming what is not one."""
        self._folder = baselines
        self._stored = read_sessions(baselines)
        self._baseline: Baseline | None = None
        self._confirms = confirms
        self._release, self._of_release = release, read_sessions(release) if release else []
        if release and not self._of_release:
            raise BaselineError(f"{release}: holds no baseline; --release names a copy of a release's baselines/")
        self._finished_tests: set[str] = set()

    def wants(self, test: str) -> bool:
        """Whether a test runs: to confirm, only tests of flagged figures and of their work; raises ResultFileError."""
        return self._confirms is None or test in self._work_tests or any(test in each.tests for each in self._flagged)

    def regressions(self, run: RunRecord, test: str) -> list[str]:
        """Return a sentence for each regressed figure whose last test is `test`; only in a confirming session."""
        self._finished_tests.add(test)
        first = [each for each in self._flagged if test in each.tests and self._finished_tests.issuperset(each.tests)]
        baseline = self._find(run) if first else None
        if baseline is None:
            return []
        second = filter(None, (judge_metric(run, record.metric, baseline) for record in first))
        return [
            f"{record.metric} regressed, in two sessions: {record.sentence}"
            for record in merged(first, second)
            if record.state == "regressed"
        ]

    def verdicts(self, run: RunRecord) -> list[GateRecord]:
        """Return the verdicts on a finished session."""
        baseline = self._find(run)
        if baseline is None:
            return [GateRecord("everything", "missing baseline", why_no_baseline(self._stored, run, self._folder))]
        wanted = {record.metric for record in self._flagged}
        gates = [*judge_session(run, baseline), *self._creep(run)]
        return [gate for gate in gates if self._confirms is None or gate.metric in wanted]

    def _creep(self, run: RunRecord) -> list[GateRecord]:
        """Return verdicts against the release: the bad and undecided ones; in a confirming session, all."""
        if self._release is None:
            return []
        baseline, since = find_baseline(self._of_release, run), f"{SINCE}{self._release.name}"
        if baseline is None:
            why = why_no_baseline(self._of_release, run, self._release)
            return [GateRecord(f"everything{since}", "missing baseline", why)]
        found = judge_session(run, baseline)
        if self._confirms is None:
            # The verdicts against the last baseline report new and missing figures.
            reported = {"flagged", "unstable", "invalid", "missing baseline"}
            found = [gate for gate in found if gate.state in reported and gate.metric in baseline.metrics]
        return [msgspec.structs.replace(gate, metric=f"{gate.metric}{since}") for gate in found]

    @cached_property
    def _flagged(self) -> list[GateRecord]:
        """The flagged verdicts of the session that this one confirms."""
        return flagged(read_journal(self._confirms / JOURNAL_NAME).gates) if self._confirms else []

    @cached_property
    def _work_tests(self) -> set[str]:
        """The tests that recorded the ledger of a flagged time."""
        if self._confirms is None:
            return set()
        times = {time_explaining(record.metric) for record in self._flagged}
        return {work.test for work in read_journal(self._confirms / JOURNAL_NAME).works if time_of(work) in times}

    def _find(self, run: RunRecord) -> Baseline | None:
        self._baseline = self._baseline or find_baseline(self._stored, run)
        return self._baseline


def confirmed_verdicts(run: RunRecord, confirming: RunRecord | None, baselines: Path) -> list[GateRecord]:
    """Return the verdicts of a session, decided by the confirming one, with causes from both."""
    gates = merged(run.gates, confirming.gates if confirming else [])
    # Causes of verdicts against a release come from that release's sessions.
    release = run.header.options.get("release")
    folders = {"": baselines} | ({f"{SINCE}{Path(release).name}": Path(release)} if release else {})
    for since, folder in folders.items():
        baseline = find_baseline(read_sessions(folder), run)
        if confirming and baseline:
            gates = with_causes(gates, [run, confirming], baseline.sessions, since)
    return gates
