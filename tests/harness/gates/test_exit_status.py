from __future__ import annotations

from typing import Any

import pytest

from harness.gates.exit_status import PYTEST_STATUSES, exit_status, why_no_figure
from harness.records.lines import OutcomeRecord

FAILED = "a test failed or a limit was broken"


@pytest.mark.parametrize("expects_figures", [True, False])
@pytest.mark.parametrize("figures", [0, 1])
@pytest.mark.parametrize("pytests", [2, 3, 4, 6])
def test_pytests_own_ends_stay_as_they_are(pytests: int, figures: int, expects_figures: bool) -> None:
    status = exit_status(pytests, expects_figures=expects_figures, figures=figures)
    assert (status.code, status.reason) == (pytests, PYTEST_STATUSES[pytests])
    stopped = exit_status(pytests, expects_figures=expects_figures, figures=figures, why="you stopped the run")
    assert (stopped.code, stopped.reason) == (pytests, "you stopped the run")


def test_the_sixth_of_pytests_statuses_is_too_many_warnings() -> None:
    assert pytest.ExitCode.MAX_WARNINGS_ERROR == 6
    assert "too many warnings" in PYTEST_STATUSES[6]


def test_reasons_for_no_figure_are_counted_and_what_was_left_out_comes_last() -> None:
    outcomes = [
        *(OutcomeRecord(f"a{number}", "deselected", "by the command line") for number in range(3)),
        *(OutcomeRecord(f"b{number}", "skipped", "no CUDA device") for number in range(2)),
        OutcomeRecord("c", "skipped", "no MP4 files"),
        OutcomeRecord("d", "failed", "setup: no config.json"),
    ]
    assert why_no_figure(outcomes) == (
        "1 test failed: setup: no config.json; 2 tests skipped: no CUDA device; 1 test skipped: no MP4 files; …"
    )
    assert why_no_figure(outcomes[:4]).endswith("; 3 tests deselected: by the command line")


def test_failures_that_left_no_figure_are_told_with_the_status() -> None:
    status = exit_status(1, expects_figures=True, figures=0, why="8 tests failed: setup: no config.json")
    assert (status.code, status.reason) == (1, "no figure was recorded: 8 tests failed: setup: no config.json")


@pytest.mark.parametrize(
    ("pytests", "expects_figures", "figures", "code", "reason"),
    [
        (0, True, 1, 0, "no test failed"),
        (0, True, 0, 10, "no figure was recorded"),
        (0, False, 0, 0, "no test failed"),
        (1, True, 1, 1, FAILED),
        (1, True, 0, 1, FAILED),  # a failure says more than the figures that are missing for it
        (1, False, 0, 1, FAILED),
        (5, True, 0, 10, "no figure was recorded"),
        (5, False, 0, 5, "pytest's own"),
    ],
)
def test_first_that_holds_gives_the_status(
    pytests: int, expects_figures: bool, figures: int, code: int, reason: str
) -> None:
    status = exit_status(pytests, expects_figures=expects_figures, figures=figures)
    assert status.code == code
    assert reason in status.reason


@pytest.mark.parametrize(
    ("gates", "reason"),
    [
        ({"invalid", "unstable", "flagged"}, "the session, or a figure of it, cannot be trusted"),
        ({"unstable", "flagged", "missing baseline"}, "the baseline is unstable"),
        ({"flagged", "missing baseline"}, "a figure is worse than its baseline in one session"),
        ({"regressed", "invalid"}, "a figure is worse than its baseline, in two sessions"),
    ],
)
def test_of_several_states_the_reason_is_that_of_the_first(gates: Any, reason: str) -> None:
    assert exit_status(0, expects_figures=True, figures=1, gates=gates).reason.startswith(reason)


def test_status_is_a_plain_number_that_a_journal_can_hold() -> None:
    assert type(exit_status(pytest.ExitCode.OK, expects_figures=False, figures=0).code) in {int, pytest.ExitCode}


def test_what_regressed_is_the_reason_though_its_test_failed() -> None:
    status = exit_status(1, expects_figures=True, figures=1, gates={"regressed", "flagged"})
    assert (status.code, status.reason) == (1, "a figure is worse than its baseline, in two sessions")
