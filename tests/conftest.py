"""What every test of the suite itself is given."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.forked import end_servers

# A machine that is busy with another process takes longer now and then, which is no failure. Each run draws other
# examples, so that many runs see many; CI draws more.
settings.register_profile("whatever time it takes", deadline=None, max_examples=100 if "CI" in os.environ else 40)
settings.load_profile("whatever time it takes")

# Without a GPU, kernels are run by Triton's interpreter. Triton reads this when transformers imports it.
if not Path("/proc/driver/nvidia").exists():
    os.environ["TRITON_INTERPRET"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of what `make test` leaves out; keep all but the goals to one thread a process."""
    if not any("goals" in word for word in config.args):
        # Models of tests are too small for two, which on a busy machine wait for each other and compute nothing.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.addinivalue_line(
        "markers", "slow: takes long, as trainings and fuzzing do; make test-slow runs it, and so does CI"
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Give a folder's tests to one process: what they share, and the processes that they fork from, is made once."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFolder(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            folders = nodeid.partition("::")[0].split("/")[:-1]
            return "/".join(folders[: 3 if "fixtures" in folders else 2])

    return ByFolder(config, log)


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
