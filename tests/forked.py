"""Python programs in processes of their own that start at once: forked from one that has imported what they need.

Such a process is like any other: it can be killed, takes signals, holds locks and has an exit status. What is saved is
the time that imports take, most of what a short run costs.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from _pytest.config import default_plugins

from tests import ROOT

# All but plugins by their names, which pytest wants to import itself.
PYTEST = (*(f"_pytest.{name}" for name in default_plugins), "pytest_benchmark.fixture", "pytest_benchmark.session")
CHARTS = ("matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2")
HARNESS = (*PYTEST, *CHARTS, "harness.session.recorder", "harness.report.files", "harness.report.terminal")
TIMEOUT_S = 300
_servers: dict[tuple[str, ...], subprocess.Popen[str]] = {}


def run_python(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], imported: tuple[str, ...] = HARNESS
) -> subprocess.CompletedProcess[str]:
    """Run `python -m WORDS` in `folder` with these environment variables, where the modules `imported` are loaded."""
    server = _server(imported)
    assert server.stdin is not None
    assert server.stdout is not None
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor() as threads:
        pipes = [Path(place) / name for name in ("stdout", "stderr")]
        for pipe in pipes:
            os.mkfifo(pipe)
        texts = [threads.submit(partial(pipe.read_text, encoding="utf-8", errors="replace")) for pipe in pipes]
        request = [TIMEOUT_S, list(words), str(folder), dict(variables), [str(pipe) for pipe in pipes]]
        with suppress(BrokenPipeError):
            server.stdin.write(json.dumps(request) + "\n")
            server.stdin.flush()
        answer = server.stdout.readline()
        if not answer:  # whoever waits for a stream would wait for ever
            _servers.pop(imported).communicate()
            for pipe in pipes:
                os.close(os.open(pipe, os.O_RDWR))
            raise RuntimeError(f"the process to fork from ended with status {server.returncode}")
        stdout, stderr = (text.result() for text in texts)
    return subprocess.CompletedProcess(["python", "-m", *words], int(answer), stdout, stderr)


def end_servers() -> None:
    """End the processes that were forked from, and wait for them: what they cost is then counted as this one's."""
    while _servers:
        _, server = _servers.popitem()
        server.communicate()


def _server(imported: tuple[str, ...]) -> subprocess.Popen[str]:
    """The process to fork from, started with the first request."""
    if imported not in _servers:
        command = [sys.executable, "-m", "tests.forked", *imported]
        _servers[imported] = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    return _servers[imported]


def _serve() -> None:
    for line in sys.stdin:
        timeout_s, *program = json.loads(line)
        child = os.fork()
        if not child:
            _become(*program)
            return
        signal.signal(signal.SIGALRM, lambda *_, child=child: os.kill(child, signal.SIGKILL))
        signal.alarm(timeout_s)
        _, status = os.waitpid(child, 0)
        signal.alarm(0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(words: list[str], folder: str, variables: dict[str, str], pipes: list[str]) -> None:
    """Be what `python -m WORDS` would be."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, pipe in enumerate(pipes, 1):
        os.dup2(os.open(pipe, os.O_WRONLY), number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.path[:1] = [folder, *filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
    if processes := sys.modules.get("harness.processes"):
        processes.run_to_end = partial(_fork_to_end, processes.run_to_end)  # type: ignore[attr-defined]
    _run(words)


def _fork_to_end(
    otherwise: Callable[..., int], command: Sequence[str], *, log: Path | None = None, folder: Path | None = None
) -> int:
    """Do what `run_to_end` does of a command in the same folder: the session, too, is forked."""
    if folder or list(command[:2]) != [sys.executable, "-m"]:
        return otherwise(command, log=log, folder=folder)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        for number in (1, 2) if log else ():
            os.dup2(os.open(str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666), number)
        _run(command[2:])
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _run(words: Sequence[str]) -> NoReturn:
    sys.argv[1:] = words[1:]
    status: object = 0
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code or 0
    if isinstance(status, int):  # a sentence is for the interpreter to print
        # What an end is seen by; to let go of a thousand modules, one by one, would take longer than most programs.
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    for module in sys.argv[1:]:
        import_module(module)
    # Else each process would look through all of it, and have its own copy made, to find nothing to collect.
    gc.collect()
    gc.freeze()
    _serve()
