"""Other programs: git, and pytest sessions in processes of their own."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.errors import RevisionError

# Set by git inside a hook: they tie every git command to one checkout and index.
GIT_TIES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}
# A large checkout on a slow disk takes minutes; a git that waits for input would wait for ever.
GIT_TIMEOUT_S = 600.0


def git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = GIT_TIMEOUT_S) -> str:
    """Return git's output for `folder`, whatever hook surrounds it; `env`: more variables. Raises RevisionError."""
    # No hooks: those of git-lfs or pre-commit may fail, or write into the checkout.
    command = ["git", "-c", f"core.hooksPath={os.devnull}", "-C", str(folder), *arguments]
    environment = environment_without_git_ties() | dict(env or {})
    try:
        done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=timeout_s)  # noqa: S603
    except OSError as error:
        raise RevisionError(f"git cannot be run ({error.strerror}); it checks out the compared revisions") from error
    except subprocess.TimeoutExpired as error:
        raise RevisionError(f"git {arguments[0]} took longer than {timeout_s:g} s in {folder}") from error
    if done.returncode:
        raise RevisionError(f"git {arguments[0]} failed in {folder}: {os.fsdecode(done.stderr).strip()}")
    return os.fsdecode(done.stdout).strip()


def environment_without_git_ties() -> dict[str, str]:
    """Return this process's environment without the variables that tie git to one checkout."""
    return {name: value for name, value in os.environ.items() if name not in GIT_TIES}


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """End the block with a shell's status at Ctrl-C, SIGTERM (sent by CI) or SIGHUP: no session stays behind."""
    # Under nohup SIGHUP is ignored, and stays so.
    handled = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, lambda number, _: sys.exit(128 + number)) for each in handled}
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_to_end(command: Sequence[str], *, log: Path | None = None, folder: Path | None = None) -> int:
    """Run a command and return its exit status, negative for a signal; an interrupt kills the command.

    With `log` its output goes into that file, its input is empty, and an interrupt kills its child processes too.
    """
    sys.stdout.flush()
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb")) if log else None
        process = subprocess.Popen(  # noqa: S603
            list(command),
            cwd=folder,
            env=environment_without_git_ties(),
            stdin=subprocess.DEVNULL if log else None,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            start_new_session=log is not None,
        )
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                # A killed session loses no finished measurement: its journal has every line already.
                os.killpg(process.pid, signal.SIGKILL) if log else process.kill()
                process.wait()
