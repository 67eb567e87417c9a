"""A forked program is like one that was started: folder, words, variables, both streams and how it ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests import forked
from tests.forked import run_python

PROGRAM = """
import os, signal, sys, time
import beside
print(sys.argv[1:], os.getcwd(), os.environ["WORD"], beside.__name__, sys.stdin.read())
sys.stderr.write("complaint")
sys.stdout.flush()
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "hangs":
    time.sleep(60)
sys.exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "beside.py").touch()
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize(("word", "status"), [("ends", 3), ("killed", -signal.SIGKILL), ("hangs", -signal.SIGKILL)])
def test_a_forked_program_is_like_one_that_was_started(
    folder: Path, word: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forked, "TIMEOUT_S", 1 if word == "hangs" else 30)
    variables = os.environ | {"WORD": "known", "PYTHONPATH": str(folder / "elsewhere")}
    done = run_python(["program", word, "-x"], folder, variables)
    assert done.returncode == status
    assert done.stdout == f"{[word, '-x']} {folder} known beside \n"
    assert done.stderr == "complaint"


def test_where_there_is_nothing_to_fork_from_nobody_waits(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="the process to fork from ended with status 1"):
        run_python(["program"], folder, os.environ, ("nothing_of_that_name",))


def test_an_exception_is_told_and_ends_with_1(folder: Path) -> None:
    done = run_python(["program"], folder, os.environ)
    assert (done.returncode, done.stdout) == (1, "")
    assert "No module named 'beside'" in done.stderr
