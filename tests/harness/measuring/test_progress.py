from __future__ import annotations

import fcntl
import io
import os
import re
import struct
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import IO

import pytest

from harness.measuring import progress
from harness.measuring.progress import SECONDS_BETWEEN_DRAWINGS, Progress, open_terminal


@dataclass
class PseudoTerminal:
    """A terminal of 80 columns, and all that was drawn on it."""

    stream: IO[str]
    _master: int
    _drawn: str = field(default="")

    def drawn(self) -> str:
        self.stream.flush()
        while True:
            try:
                self._drawn += os.read(self._master, 65536).decode()
            except BlockingIOError:
                return self._drawn


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[PseudoTerminal]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(master, False)
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield PseudoTerminal(stream, master)
    os.close(master)


@pytest.fixture
def move_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stops the clock between drawings; the returned call moves it on."""
    clock = SimpleNamespace(moment=1000.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.moment))

    def move(seconds: float) -> None:
        clock.moment += seconds

    return move


def test_nobody_is_told_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    quiet = Progress(None, "egpt")
    quiet.start("load", 3)
    quiet.advance()
    quiet.stop()
    assert capfd.readouterr() == ("", "")


def test_output_that_is_not_a_terminal_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda handle: False)
    assert open_terminal() is None


def test_a_terminal_is_opened_anew_so_that_closing_it_closes_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda handle: handle == 2)
    opened = open_terminal()
    assert opened is not None
    assert opened.fileno() != 2
    opened.close()
    os.fstat(2)


def test_bar_says_which_model_and_stage_and_how_far(terminal: PseudoTerminal) -> None:
    bar = Progress(terminal.stream, "egpt")
    bar.start("prefill", 12)
    bar.advance()
    assert "egpt prefill" in terminal.drawn()
    assert "1/12" in terminal.drawn()
    bar.stop()


def test_bar_fits_the_terminal(terminal: PseudoTerminal) -> None:
    bar = Progress(terminal.stream, "videollava")
    bar.start("unsynchronised", 600)
    bar.advance()
    bar.stop()
    lines = terminal.drawn().replace("\r", "\n").split("\n")
    assert max(len(plain(line)) for line in lines) <= 80


def plain(line: str) -> str:
    """Without escape codes."""
    import re

    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)


def test_bar_is_wiped_when_its_measurement_ends(terminal: PseudoTerminal) -> None:
    bar = Progress(terminal.stream, "egpt")
    bar.start("load", 2)
    before = len(terminal.drawn())
    bar.stop()
    assert "\x1b[2K" in terminal.drawn()[before:]
    assert "egpt load" not in terminal.drawn()[before:].rpartition("\x1b[2K")[2]


def test_bar_is_drawn_again_only_after_a_while(terminal: PseudoTerminal, move_clock: Callable[[float], None]) -> None:
    bar = Progress(terminal.stream, "egpt")
    bar.start("load", 1000)
    bar.advance()
    for _ in range(100):
        bar.advance()
        terminal.drawn()  # a terminal that nobody reads from takes only so much
    assert "1/1000" in terminal.drawn()
    assert "2/1000" not in terminal.drawn()
    move_clock(SECONDS_BETWEEN_DRAWINGS / 2)
    bar.advance()
    assert "102/1000" not in terminal.drawn()
    move_clock(SECONDS_BETWEEN_DRAWINGS / 2)
    bar.advance()
    assert "103/1000" in terminal.drawn()
    bar.stop()


def test_a_new_measurement_takes_the_place_of_the_one_before(terminal: PseudoTerminal) -> None:
    bar = Progress(terminal.stream, "egpt")
    bar.start("first", 2)
    bar.start("second", 7)
    before = len(terminal.drawn())
    bar.advance()
    assert "second" in terminal.drawn()[before:]
    assert "first" not in terminal.drawn()[before:]
    bar.stop()


def test_nothing_is_drawn_before_the_start_or_after_the_end(terminal: PseudoTerminal) -> None:
    bar = Progress(terminal.stream, "egpt")
    bar.stop()
    bar.advance()
    assert terminal.drawn() == ""
    bar.start("load", 2)
    bar.stop()
    before = terminal.drawn()
    bar.advance()
    bar.stop()
    assert terminal.drawn() == before


def test_no_bar_appears_in_a_file() -> None:
    stream = io.StringIO()
    bar = Progress(stream, "egpt")
    bar.start("load", 2)
    bar.advance()
    bar.stop()
    assert stream.getvalue().strip() == ""


def test_a_bar_tells_how_many_steps_a_second(terminal: PseudoTerminal, move_clock: Callable[[float], None]) -> None:
    bar = Progress(terminal.stream, "egpt")
    bar.start("load", 10)
    assert "/s" not in terminal.drawn()
    for _ in range(4):
        move_clock(SECONDS_BETWEEN_DRAWINGS)
        bar.advance()
    bar.stop()
    assert re.search(r"\d/s", terminal.drawn())
