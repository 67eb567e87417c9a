"""What every test of the suite itself is given."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.forked import end_servers

# A machine that is busy with another process takes longer now and then, which is no failure.
settings.register_profile("whatever time it takes", deadline=None)
settings.load_profile("whatever time it takes")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of what `make test` leaves out."""
    config.addinivalue_line(
        "markers", "slow: takes long, as trainings and fuzzing do; make test-slow runs it, and so does CI"
    )


def pytest_sessionstart() -> None:
    """Keep pytest-xdist's notes to its workers from the processes that tests start.

    By then everything in this process has read them; pytest-benchmark in a process of the tests' own would take
    itself for a worker and measure nothing.
    """
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST_")]:
        del os.environ[name]


def pytest_collection_finish() -> None:
    """Take what is imported out of the garbage collector's sight, which looks through all of it in many tests."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Leave no process behind."""
    end_servers()


@pytest.fixture(autouse=True)
def _leaves_scheduling_alone() -> Iterator[None]:
    """Fail a test that leaves this process, and all that is started from it, with another priority."""
    before = _scheduling()
    yield
    assert _scheduling() == before, "the test changed how the operating system schedules this process"


def _scheduling() -> int | None:
    return os.sched_getscheduler(0) if sys.platform == "linux" else None
