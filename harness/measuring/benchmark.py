"""The one module that uses internals of pytest-benchmark, of versions 5.2.3 to 5.3.x.

Beyond `pedantic`, `extra_info` and `enabled` it relies on these facts; a test checks each with the installed version:

- `pedantic` keeps the seconds of the rounds in the list `stats.stats.data`, the latest before its round's teardown;
  the statistics are computed at the end of the session, so that elements may be removed until then.
- An exception out of `setup` ends `pedantic` and sets `has_error`, which keeps a test out of table and file.
- With benchmarks disabled `pedantic` calls `setup` and the target once, no teardown, and `stats` is None.
- The session object, which is registered as the plugin "pytest-benchmark", writes its `benchmarks`, if there are any,
  to `json` when the session finishes: up to 5.2 an open file, from 5.3 on a path.
"""

from collections.abc import Callable, Collection
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pytest

Value = TypeVar("Value")

_DEFAULT_TIMER = "time.perf_counter"

_WANTS_OPEN_FILES = metadata.version("pytest-benchmark").startswith("5.2.")


class _NothingLeftError(Exception):
    """`begin` has no further round."""


class Benchmark:
    """One test's pytest-benchmark fixture."""

    def __init__(self, fixture: Any) -> None:
        self._fixture = fixture

    @property
    def enabled(self) -> bool:
        """False under --benchmark-disable: a call runs once, nothing is timed."""
        return bool(self._fixture.enabled)

    @property
    def extra_info(self) -> dict[str, Any]:
        """The test's facts in pytest-benchmark's file, beside its rounds."""
        info: dict[str, Any] = self._fixture.extra_info
        return info

    def timed(
        self,
        target: Callable[[Value], object],
        *,
        begin: Callable[[], Value | None],
        end: Callable[[Value, float | None], object],
        rounds: int,
    ) -> None:
        """Time `target(begin())` in up to `rounds` rounds, or until `begin` returns None. Call it once per test.

        `end` gets the value of `begin` and the round's seconds. With benchmarks disabled there is one round, and `end`
        gets None for its seconds.
        """
        latest: list[Value] = []

        def setup() -> tuple[tuple[Value], dict[str, Any]]:
            value = begin()
            if value is None:
                raise _NothingLeftError
            latest[:] = [value]
            return (value,), {}

        def teardown(value: Value) -> None:
            end(value, self._fixture.stats.stats.data[-1])

        try:
            self._fixture.pedantic(target, setup=setup, teardown=teardown, rounds=rounds)
        except _NothingLeftError:
            self._fixture.has_error = False
        if latest and not self.enabled:
            end(latest[0], None)

    def leave_out(self, rounds: Collection[int]) -> None:
        """Take rounds out of pytest-benchmark's statistics, by index, or the whole test where none is left."""
        seconds = self._fixture.stats.stats.data
        seconds[:] = [each for index, each in enumerate(seconds) if index not in rounds]
        if not seconds:
            self.discard()

    def discard(self) -> None:
        """Keep the test out of pytest-benchmark's table and file."""
        self._fixture.has_error = True


def is_switched_off(config: "pytest.Config") -> bool:
    """Return whether the command line disables benchmarks."""
    return bool(config.option.benchmark_disable and not config.option.benchmark_enable)


def read_timer(config: "pytest.Config", timer: str) -> bool:
    """Make pytest-benchmark use `timer` unless the user chose another; return whether it uses `timer`.

    Call it before pytest-benchmark's session begins.
    """
    if config.getoption("benchmark_timer", timer) == _DEFAULT_TIMER:
        config.option.benchmark_timer = timer
    return bool(str(config.getoption("benchmark_timer", timer)) == timer)


def write_results_to(config: "pytest.Config", file: Path, *, even_if_named: bool = False) -> None:
    """Make pytest-benchmark write its figures, if any, to `file`, unless the command line names another file."""
    session: Any = config.pluginmanager.get_plugin("pytest-benchmark")
    if session.benchmarks and (session.json is None or even_if_named):
        session.json = file.open("wb") if _WANTS_OPEN_FILES else file
