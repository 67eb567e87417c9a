"""The first signal asks, the second one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from harness.measuring import stopping
from harness.measuring.stopping import StopRequestedError, orderly_stop, stop_if_asked


def test_without_a_signal_nothing_stops() -> None:
    said: list[str] = []
    with orderly_stop(said.append):
        stop_if_asked()
    assert said == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_answered_between_two_samples_and_announced_at_once(number: signal.Signals) -> None:
    said: list[str] = []
    with orderly_stop(said.append):
        os.kill(os.getpid(), number)
        assert said == [f"{number.name}: the run ends after the current sample; a second {number.name} ends it at once"]
        with pytest.raises(StopRequestedError, match=f"ended by {number.name}"):
            stop_if_asked()


@pytest.fixture
def interrupts() -> Iterator[None]:
    """SIGINT as Python takes it, also where a shell has it ignored by what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_a_later_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "SAME_REQUEST_S", 0.0)
    with orderly_stop(lambda _line: None):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_two_signals_of_one_moment_are_one_request() -> None:
    said: list[str] = []
    with orderly_stop(said.append):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopRequestedError, match="ended by SIGINT"):
            stop_if_asked()
    assert len(said) == 1


def test_signals_that_a_library_took_for_itself_are_taken_back() -> None:
    libc = ctypes.CDLL(None)
    libc.signal.restype, libc.signal.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    with orderly_stop(lambda _line: None):
        libc.signal(signal.SIGTERM, 1)  # SIG_IGN, unknown to Python: as LLVM's own handler, but it can be survived
        os.kill(os.getpid(), signal.SIGTERM)
        stop_if_asked()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StopRequestedError, match="ended by SIGTERM"):
            stop_if_asked()


def test_behind_the_block_all_is_as_it_was() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with orderly_stop(lambda _line: None):
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    stop_if_asked()


def test_a_thread_beside_the_main_one_changes_nothing() -> None:
    def enter() -> None:
        with orderly_stop(print):
            found.append(signal.getsignal(signal.SIGTERM))

    found: list[object] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
