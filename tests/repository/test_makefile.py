"""The Makefile, run for real with a Python that only notes what it is asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import ROOT
from tests.forked import run_python

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# Stands for python3: `-m venv --clear FOLDER` puts a copy of itself there; pip fails where a file `offline` exists.
FAKE_PYTHON = """#!/bin/sh
echo "$@" >> calls
case "$*" in
"-m venv --clear "*) rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
"-m pip "*) test ! -e offline ;;
esac
"""
SET_UP = ".venv/.complete"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with the files that set-up reads."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-oldest.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    topic = tmp_path / "tests" / "goals" / "test_trust.py"
    topic.parent.mkdir(parents=True)
    topic.touch()
    return tmp_path


def test_every_target_that_help_names_exists(clone: Path) -> None:
    lines = _make(clone, "help").stdout.splitlines()
    targets = [line.split()[1] for line in lines]
    tests = ["test", "test-slow", "test-kernels", "test-oldest"]
    assert targets == ["help", "bench", *tests, "measured", "format", "clean"]
    for target in targets:
        assert _make(clone, "--dry-run", target, "TOPIC=trust").returncode == 0


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["bench"], "-m pytest perf_tests --max_samples 4"),
        (["test"], '-m "not slow" --max_samples 4'),
        (["test-slow"], "-m slow --max_samples 4"),
        (["test-kernels"], "-m pytest tests/fixtures/engines/test_few_rows.py --max_samples 4"),
        (["test-oldest"], '-m "not slow" --max_samples 4'),
        (["measured", "TOPIC=trust"], "-m pytest tests/goals/test_trust.py --max_samples 4"),
    ],
)
def test_args_reach_pytest(clone: Path, words: list[str], command: str) -> None:
    last = _make(clone, "--dry-run", *words, "ARGS=--max_samples 4").stdout.splitlines()[-1]
    assert last.endswith(command)


@pytest.mark.parametrize("folder", [".venv", ".venv-oldest"])
def test_set_up_installs_within_the_pins(clone: Path, folder: str) -> None:
    assert _make(clone, f"{folder}/.complete").returncode == 0
    pins = {".venv": "constraints.txt", ".venv-oldest": "constraints-oldest.txt"}[folder]
    assert _calls(clone)[-1].endswith(f"--requirement {folder}/requirements.txt --constraint {pins}")


def test_what_is_set_up_is_not_set_up_again(clone: Path) -> None:
    _make(clone, SET_UP)
    before = _calls(clone)
    assert _make(clone, "--silent", SET_UP).stdout == ""
    assert _calls(clone) == before


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_pin_or_range_sets_up_anew(clone: Path, changed: str) -> None:
    _make(clone, SET_UP)
    _make_newer(clone / changed, clone / SET_UP)
    before = len(_calls(clone))
    _make(clone, SET_UP)
    assert len(_calls(clone)) == 2 * before


def test_an_interrupted_set_up_does_not_count(clone: Path) -> None:
    _make(clone, SET_UP)
    (clone / "offline").touch()
    _make_newer(clone / "pyproject.toml", clone / SET_UP)
    assert _make(clone, SET_UP).returncode != 0
    assert not (clone / SET_UP).exists()
    (clone / "offline").unlink()
    assert _make(clone, SET_UP).returncode == 0


def test_a_python_that_is_too_old_is_refused_in_words(clone: Path) -> None:
    (clone / "python").write_text("#!/bin/sh\nexit 1\n")
    refused = _make(clone, SET_UP)
    assert refused.returncode != 0
    assert "Python 3.11 or newer is needed" in refused.stderr


@pytest.mark.parametrize("words", [[], ["TOPIC=haste"]])
def test_a_topic_that_does_not_exist_is_answered_with_those_that_do(clone: Path, words: list[str]) -> None:
    answer = _make(clone, "measured", *words)
    assert answer.returncode == 2
    assert "trust" in answer.stderr
    assert not (clone / "calls").exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], "tests/test_one.py"),
        (["tests"], "tests/test_one.py"),
        (["tests/goals/test_trust.py"], "tests/goals/test_trust.py"),
    ],
)
def test_goals_are_collected_by_their_names_alone(clone: Path, words: list[str], found: str) -> None:
    shutil.copy(ROOT / "pytest.ini", clone)
    for name in ("tests/test_one.py", "tests/goals/test_trust.py"):
        (clone / name).write_text("def test_something() -> None:\n    pass\n")
    variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}
    pytests = ("pytest", "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", "--collect-only", "-q")
    listed = run_python([*pytests, *words], clone, variables).stdout
    assert [line for line in listed.splitlines() if "::" in line] == [f"{found}::test_something"]


def _make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make as typed into a shell, also where these tests were started by make themselves."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "PYTHON=./python", *words], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )


def _make_newer(file: Path, than: Path) -> None:
    time = than.stat().st_mtime + 1
    os.utime(file, (time, time))


def _calls(clone: Path) -> list[str]:
    """Return what the stand-in was asked to do, a line per line of its arguments."""
    return (clone / "calls").read_text().splitlines()
