"""Git and sessions as programs of their own: what they say, how long they may take, and how they end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.__main__ import main
from harness.commands.child_session import PytestArguments
from harness.errors import RevisionError
from harness.measuring.environment import git_state
from harness.processes import git, run_to_end
from tests.harness.suite_in_git import new_repository


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
def test_inside_a_hook_of_another_checkout_git_still_tells_of_the_folder(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other = (new_repository(tmp_path / name, {"file.py": name}) for name in ("ours", "other"))
    before = git_state(ours)
    values = {"GIT_DIR": other / ".git", "GIT_WORK_TREE": other, "GIT_INDEX_FILE": other / "no"}
    monkeypatch.setenv(variable, str(values[variable]))
    assert git_state(ours) == before
    assert before is not None
    assert before["commit"] != git(other, "rev-parse", "HEAD")


def test_a_git_that_takes_too_long_is_an_error_and_no_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "git"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(RevisionError, match=r"git status took longer than 0\.2 s in "):
        git(tmp_path, "status", timeout_s=0.2)


def test_what_git_says_of_its_failure_is_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(RevisionError, match=r"git rev-parse failed in .*: fatal: not a git repository"):
        git(tmp_path, "rev-parse", "HEAD")


def test_a_session_gives_its_status_and_its_words_to_the_log(tmp_path: Path) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"
    assert run_to_end([sys.executable, "-c", code], log=tmp_path / "log") == 7
    assert set((tmp_path / "log").read_text().split()) == {"out", "err"}


def test_a_session_runs_in_the_folder_that_is_named_without_ties_to_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    code = "import os; print(os.getcwd(), os.getenv('GIT_DIR'))"
    run_to_end([sys.executable, "-c", code], log=tmp_path / "log", folder=tmp_path)
    assert (tmp_path / "log").read_text().split() == [str(tmp_path), "None"]


@pytest.mark.parametrize("words", [["gate"], ["baseline", "record"]])
def test_a_command_that_is_ended_leaves_no_session_behind(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = tmp_path / "started"
    code = f"import os, time; open({str(started)!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(60)"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PytestArguments, "command", lambda *_words: [sys.executable, "-c", code])

    def end() -> None:
        while not (started.exists() and started.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end, daemon=True).start()
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
            main(words)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not Path(f"/proc/{int(started.read_text())}").exists()


def test_where_we_are_interrupted_the_session_and_what_it_started_are_killed(tmp_path: Path) -> None:
    """The child starts a child, both wait; the interrupt comes once the second one has named itself."""
    waits = "import time; time.sleep(600)"
    start = f"subprocess.Popen([sys.executable, '-c', {waits!r}])"
    log = tmp_path / "log"

    def interrupt() -> None:
        while not (log.exists() and log.read_text().endswith("\n")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has it ignored in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            run_to_end(
                [sys.executable, "-c", f"import subprocess, sys; print({start}.pid, flush=True); {waits}"], log=log
            )
    finally:
        signal.signal(signal.SIGINT, before)
    status = Path(f"/proc/{int(log.read_text())}/status")
    patience = time.monotonic() + 30
    while status.exists() and "zombie" not in status.read_text():
        assert time.monotonic() < patience, "what the session started is still there"
        time.sleep(0.01)  # it goes as soon as its new parent takes note
