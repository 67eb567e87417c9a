"""The models and the device of the goals, chosen by the options of the run."""

from __future__ import annotations

import pytest

from fixtures.cache.frame_cache import FrameCache
from fixtures.selection import Selection, select
from harness.session.plugin import SESSION
from perf_tests.gpu_needs import reason_to_skip
from perf_tests.suite_options import request_of


def pytest_configure(config: pytest.Config) -> None:
    """Register the suite's marker for tests that need a GPU."""
    config.addinivalue_line("markers", "gpu(memory_gb=0, devices=1): needs CUDA, so much memory, so many devices")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip goals that cannot run on this machine, with the reason."""
    chosen = select(request_of(config.stash[SESSION].options, FrameCache()))
    for item in items:
        reason = reason_to_skip(item, chosen)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def selection(request: pytest.FixtureRequest) -> Selection:
    """Return the models, engines and device of this run."""
    return select(request_of(request.config.stash[SESSION].options, FrameCache()))
