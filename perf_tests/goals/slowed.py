"""A pytest plugin that makes stages do more work, so that it can be measured whether that is found.

`-p perf_tests.goals.slowed --slowed-by 0.1` lets each stage but the first work on for a tenth of the time that it took.
The run says so in its record; its figures are good for nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import pytest

from harness.plugin import SESSION

SLOWED = {"preprocess", "encode_vision", "prefill", "decode"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Announce how much more work there is to be."""
    parser.addoption("--slowed-by", type=float, default=0.0, help="extra work, as a share of a stage's own time")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Write into the run's record what it was made of."""
    share = config.getoption("--slowed-by")
    config.stash[SESSION].advice.append(f"work was injected ({share:+.0%}): these figures say nothing of the code")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Put the slowed pipeline in the place of the real one."""
    value = yield
    if fixturedef.argname == "pipeline":
        if request.getfixturevalue("selection").device != "cpu":
            raise pytest.UsageError("the injected work is the CPU's: a GPU would have it done while others wait")
        value = SlowedPipeline(value, request.config.getoption("--slowed-by"))
        assert fixturedef.cached_result is not None, "pytest keeps what a fixture returned"
        fixturedef.cached_result = (value, fixturedef.cached_result[1], None)
    return value


class SlowedPipeline:
    """A pipeline whose stages work on for a `share` of the time that they took."""

    def __init__(self, pipeline: Any, share: float) -> None:
        self._pipeline = pipeline
        self._share = share

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._pipeline, name)
        return self._longer(found) if name in SLOWED else found

    def _longer(self, stage: Callable[..., Any]) -> Callable[..., Any]:
        def work(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = stage(*arguments, **named)
            _work_until(start + (1 + self._share) * (time.perf_counter() - start))
            return result

        return work


def _work_until(moment: float) -> None:
    while time.perf_counter() < moment:
        sum(range(50))
