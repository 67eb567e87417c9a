"""The exit status of a run and its reason: the first that applies, from the top.

2, 3, 4, 6   pytest's own: interrupted, internal error, usage error, too many warnings
1            a test failed or errored, a limit was broken, or a figure regressed
10           no figure was recorded; under a gate also: one of the baseline was not run
11           under a gate: invalid, unstable or flagged
12           under a gate: missing baseline
0            otherwise
"""

from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from harness.records.lines import GateState, Outcome, OutcomeRecord
from harness.records.quantities import counted

FAILED = 1  # pytest.ExitCode.TESTS_FAILED, without importing pytest
NO_FIGURE = 10
NOT_DECIDED = 11
MISSING_BASELINE = 12
PYTEST_STATUSES = {
    2: "the run ended before all of its tests had run",
    3: "pytest, or a plugin, failed; its message is above",
    4: "pytest's command line was wrong; its message is above",
    6: "there were too many warnings, more than --max-warnings allows",
}
MAX_REASONS = 3

_GATE_STATUSES: tuple[tuple[int, GateState, str], ...] = (
    (NO_FIGURE, "not run", "a figure of the baseline was not run"),
    (NOT_DECIDED, "invalid", "the session, or a figure of it, cannot be trusted"),
    (NOT_DECIDED, "unstable", "the baseline is unstable"),
    (NOT_DECIDED, "flagged", "a figure is worse than its baseline in one session: python -m harness gate decides"),
    (MISSING_BASELINE, "missing baseline", "there is no baseline, or one of too few sessions"),
)


class Status(msgspec.Struct, frozen=True, rename={"code": "exit_status"}):  # as ab.json has it
    """An exit status and its reason, as text."""

    code: int
    reason: str


def why_no_figure(outcomes: Iterable[OutcomeRecord]) -> str:
    """Return the reasons why recording tests gave no figure, counted, failures first."""
    counts = Counter((each.outcome, each.reason) for each in outcomes)
    order: tuple[Outcome, ...] = ("failed", "skipped", "deselected")
    ordered = sorted(counts, key=lambda each: (order.index(each[0]), -counts[each]))
    reasons = [f"{counted(counts[each], 'test')} {each[0]}: {each[1]}" for each in ordered[:MAX_REASONS]]
    return "; ".join([*reasons, *(["…"] if len(ordered) > MAX_REASONS else [])]) or "no test measured anything"


def exit_status(
    pytests: int, *, expects_figures: bool, figures: int, gates: Collection[GateState] = (), why: str = ""
) -> Status:
    """Return the status of a run that pytest would end with `pytests`.

    `expects_figures`: recording tests were collected and may measure. `figures`: number of tests that recorded a
    figure. `gates`: the states of verdicts. `why`: reason of pytest's own end, or of missing figures.
    """
    if pytests in PYTEST_STATUSES:
        return Status(pytests, why or PYTEST_STATUSES[pytests])
    if "regressed" in gates:
        return Status(FAILED, "a figure is worse than its baseline, in two sessions")
    if pytests == FAILED:
        in_vain = expects_figures and not figures and why
        return Status(pytests, f"no figure was recorded: {why}" if in_vain else "a test failed or a limit was broken")
    if expects_figures and not figures:
        return Status(NO_FIGURE, f"no figure was recorded: {why}")
    for code, state, reason in _GATE_STATUSES:
        if state in gates:
            return Status(code, reason)
    return Status(pytests, "no test failed and no limit was broken" if pytests == 0 else "pytest's own status")
