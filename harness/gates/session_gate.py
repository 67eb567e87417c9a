"""The gate inside one session: finds the baseline, judges at the end, and in a confirming session fails the tests."""

from functools import cached_property
from pathlib import Path

import msgspec

from harness.gates.baselines import find_baseline, read_sessions, why_none
from harness.gates.gate import Baseline, flagged, judge_metric, judge_session, merged
from harness.gates.witnesses import SINCE, time_behind, time_of, with_causes
from harness.records.journal import JOURNAL_NAME, read_journal
from harness.records.lines import GateRecord, RunRecord


class SessionGate:
    """Judges one session by the baselines in a folder; with `confirms`, only what was flagged in that run's folder.

    `release`: another folder of baselines. Small steps, each of which passes, show in the distance from there.
    """

    def __init__(self, baselines: Path, confirms: Path | None = None, release: Path | None = None) -> None:
        """Read the baselines before anything is measured; raise BaselineError naming a file that is none."""
        self._folder = baselines
        self._stored = read_sessions(baselines)
        self._baseline: Baseline | None = None
        self._confirms = confirms
        self._release, self._of_release = release, read_sessions(release) if release else []
        self._concluded: set[str] = set()

    def wants(self, test: str) -> bool:
        """Whether a test is run: any, or in a confirming session those of a flagged figure; raises ResultFileError."""
        return self._confirms is None or test in self._watching or any(test in record.tests for record in self._flagged)

    def regressions(self, run: RunRecord, test: str) -> list[str]:
        """Return a sentence for each figure that `test` completes, in a confirming session, and that has regressed."""
        self._concluded.add(test)
        first = [
            record for record in self._flagged if test in record.tests and self._concluded.issuperset(record.tests)
        ]
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
        """Return the verdicts on a session that has come to its end."""
        baseline = self._find(run)
        if baseline is None:
            return [GateRecord("everything", "missing baseline", why_none(self._stored, run, self._folder))]
        wanted = {record.metric for record in self._flagged}
        gates = [*judge_session(run, baseline), *self._creep(run)]
        return [gate for gate in gates if self._confirms is None or gate.metric in wanted]

    def _creep(self, run: RunRecord) -> list[GateRecord]:
        """Return what is worse than in the release, or cannot be told; in a confirming session, all verdicts."""
        if self._release is None:
            return []
        baseline, since = find_baseline(self._of_release, run), f"{SINCE}{self._release.name}"
        if baseline is None:
            why = why_none(self._of_release, run, self._release)
            return [GateRecord(f"everything{since}", "missing baseline", why)]
        found = judge_session(run, baseline)
        if self._confirms is None:
            # Figures that are new since then, or gone, are the last baseline's to tell.
            told = {"flagged", "unstable", "invalid", "missing baseline"}
            found = [gate for gate in found if gate.state in told and gate.metric in baseline.metrics]
        return [msgspec.structs.replace(gate, metric=f"{gate.metric}{since}") for gate in found]

    @cached_property
    def _flagged(self) -> list[GateRecord]:
        """What was flagged in the session that this one confirms."""
        return flagged(read_journal(self._confirms / JOURNAL_NAME).gates) if self._confirms else []

    @cached_property
    def _watching(self) -> set[str]:
        """The tests that wrote down the work of a flagged time."""
        if self._confirms is None:
            return set()
        times = {time_behind(record.metric) for record in self._flagged}
        return {work.test for work in read_journal(self._confirms / JOURNAL_NAME).works if time_of(work) in times}

    def _find(self, run: RunRecord) -> Baseline | None:
        self._baseline = self._baseline or find_baseline(self._stored, run)
        return self._baseline


def decided(run: RunRecord, confirming: RunRecord | None, baselines: Path) -> list[GateRecord]:
    """Return the verdicts of a session, decided by one that confirms it, with the causes that both have."""
    gates = merged(run.gates, confirming.gates if confirming else [])
    # Verdicts since a release have theirs by the sessions of that release.
    release = run.header.options.get("release")
    folders = {"": baselines} | ({f"{SINCE}{Path(release).name}": Path(release)} if release else {})
    for since, folder in folders.items():
        baseline = find_baseline(read_sessions(folder), run)
        if confirming and baseline:
            gates = with_causes(gates, [run, confirming], baseline.sessions, since)
    return gates
