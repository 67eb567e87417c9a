"""What is relied on of pytest-benchmark's inside, with the installed version; each run is a session of its own."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT
from tests.forked import run_python

CONFTEST = """
from pathlib import Path
import pytest
from harness.measuring.benchmark import is_switched_off, write_results_to

def pytest_configure(config):
    print("switched off:", is_switched_off(config))

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    write_results_to(session.config, Path("ours.json"), even_if_named=Path("named").exists())
    return (yield)
"""
TESTS = """
import pytest
from harness.measuring.benchmark import Benchmark

@pytest.fixture
def measured(benchmark):
    ended = []
    def timed(seconds, rounds=9):
        left = iter(seconds)
        ours = Benchmark(benchmark)
        ours.extra_info["rounds"] = rounds
        end = lambda *found: ended.append(found)
        ours.timed(lambda _: None, begin=lambda: next(left, None), end=end, rounds=rounds)
        print("ended:", [(value, type(seconds).__name__) for value, seconds in ended])
        return ours
    return timed

def test_all(measured):
    measured([1, 2, 3], rounds=3)

def test_until_nothing_is_left(measured):
    measured([1, 2])

def test_one_left_out(measured):
    ours = measured([1, 2, 3, 4], rounds=4)
    if ours.enabled:
        ours.leave_out({1, 2})

def test_all_left_out(measured):
    ours = measured([1, 2])
    if ours.enabled:
        ours.leave_out([0, 1])

def test_discarded(measured):
    measured([1, 2]).discard()

def test_of_nothing(measured):
    measured([]).discard()

def test_that_raises(benchmark):
    def broken(_):
        raise ValueError("torn")
    with pytest.raises(ValueError):
        Benchmark(benchmark).timed(broken, begin=lambda: 1, end=lambda *_: None, rounds=2)
"""


def session(folder: Path, *arguments: str) -> tuple[str, dict[str, Any]]:
    """Run the tests, and return what they printed and their entries in the file by name, if there is one."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text(f"[pytest]\npythonpath = {ROOT}\n")
    words = ("pytest", "-s", "-q", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", *arguments)
    variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    result = run_python(words, folder, variables, ("pytest_benchmark.session",))
    assert result.returncode == 0, result.stdout
    file = folder / "ours.json"
    entries = json.loads(file.read_text())["benchmarks"] if file.exists() else []
    return result.stdout, {entry["name"]: entry for entry in entries}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    return session(tmp_path_factory.mktemp("measured"))


def test_the_version_is_one_that_is_supported() -> None:
    assert (5, 2) <= tuple(map(int, metadata.version("pytest-benchmark").split(".")[:2])) <= (5, 3)


def test_every_round_is_ended_with_its_seconds(measured: tuple[str, dict[str, Any]]) -> None:
    printed, _ = measured
    assert "ended: [(1, 'float'), (2, 'float'), (3, 'float')]" in printed
    assert "switched off: False" in printed


def test_the_file_has_the_rounds_that_were_not_left_out(measured: tuple[str, dict[str, Any]]) -> None:
    _, entries = measured
    rounds = {name: (len(entry["stats"]["data"]), entry["stats"]["rounds"]) for name, entry in entries.items()}
    assert rounds["test_all"] == (3, 3)
    assert rounds["test_until_nothing_is_left"] == (2, 2)
    assert rounds["test_one_left_out"] == (2, 2)
    assert entries["test_all"]["extra_info"] == {"rounds": 3}


def test_a_test_without_rounds_is_not_in_the_file_and_neither_is_one_that_raised(
    measured: tuple[str, dict[str, Any]],
) -> None:
    assert set(measured[1]) == {"test_all", "test_until_nothing_is_left", "test_one_left_out"}


def test_with_benchmarks_disabled_each_runs_once_and_nothing_is_written(tmp_path: Path) -> None:
    printed, entries = session(tmp_path, "--benchmark-disable")
    assert "switched off: True" in printed
    assert printed.count("ended: [(1, 'NoneType')]") == 5
    assert "ended: []" in printed
    assert entries == {}


def test_what_was_disabled_and_enabled_again_is_not_switched_off(tmp_path: Path) -> None:
    printed, entries = session(tmp_path, "--benchmark-disable", "--benchmark-enable")
    assert "switched off: False" in printed
    assert len(entries) == 3


def test_a_file_that_was_named_is_kept_unless_the_name_would_be_anothers(tmp_path: Path) -> None:
    assert session(tmp_path, "--benchmark-json=mine.json")[1] == {}
    assert len(json.loads((tmp_path / "mine.json").read_text())["benchmarks"]) == 3
    (tmp_path / "named").touch()
    assert len(session(tmp_path, "--benchmark-json=mine.json")[1]) == 3
