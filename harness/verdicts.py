"""What a run's exit status means, and why it was given: the first that holds, from the top.

2, 3, 4, 6   pytest's own: interrupted, internal error, usage error, its own sixth
1            a test failed or errored, or a limit was broken
10           no figure was recorded
0            otherwise
"""

from __future__ import annotations

from dataclasses import dataclass

FAILED = 1  # pytest.ExitCode.TESTS_FAILED: what a status means can be told without pytest
NO_FIGURE = 10
PYTESTS_OWN = (2, 3, 4, 6)


@dataclass(frozen=True, slots=True)
class Status:
    """An exit status and the reason for it, in words."""

    code: int
    reason: str


def exit_status(pytests: int, *, expects_figures: bool, figures: int) -> Status:
    """Return the status of a run that pytest would end with `pytests`.

    `expects_figures`: a test that records was collected, and nothing in the command line forbids measuring.
    `figures`: measurements that were recorded.
    """
    if pytests in PYTESTS_OWN:
        return Status(pytests, "pytest ended the run itself")
    if pytests == FAILED:
        return Status(pytests, "a test failed or a limit was broken")
    if expects_figures and not figures:
        return Status(NO_FIGURE, "no figure was recorded: every test that measures was deselected, skipped or disabled")
    return Status(pytests, "no test failed and no limit was broken" if pytests == 0 else "pytest's own status")
