"""The limit of a sample's time, with work that waits for nothing but the stopping."""

from __future__ import annotations

import signal
import time

import pytest

from harness.measuring import stopping
from harness.measuring.stopping import SampleTimeoutError, limited, time_limit

AT_MOST_S = 30.0


def wait() -> None:
    end = time.monotonic() + AT_MOST_S
    while time.monotonic() < end:
        time.sleep(0.01)
    pytest.fail("nothing ended the wait")


def test_what_takes_too_long_is_ended_in_the_middle() -> None:
    with pytest.raises(SampleTimeoutError, match=r"took longer than the 0\.05 s that --sample_timeout allows"):
        limited(lambda _: wait(), 0.05)(None)


def test_work_that_catches_everything_is_ended_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "AGAIN_AFTER_S", 0.5)  # long beside what a busy machine takes for an assignment
    caught = []

    def stubborn(_: object) -> None:
        try:
            wait()
        except Exception as error:
            caught.append(error)
        wait()

    with pytest.raises(SampleTimeoutError):
        limited(stubborn, 0.3)(None)
    assert len(caught) == 1


def test_what_ends_in_time_is_left_alone_and_so_is_what_follows() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert limited(lambda value: value + 1, 60.0)(1) == 2
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize(("outer_s", "is_due"), [(3600.0, False), (0.01, True)])
def test_an_alarm_that_was_set_before_comes_after_all(outer_s: float, is_due: bool) -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: came.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, outer_s, 7.0)
        with time_limit(60.0):
            time.sleep(0.05)
            assert not came
        end = time.monotonic() + AT_MOST_S
        while is_due and not came and time.monotonic() < end:
            time.sleep(0.001)
        left_s, again_s = signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (bool(came), again_s) == (is_due, 7.0)
    assert is_due or outer_s - 60 < left_s < outer_s


def test_an_error_of_the_work_is_its_own() -> None:
    with pytest.raises(ValueError, match="no such file"), time_limit(60.0):
        raise ValueError("no such file")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_without_a_limit_nothing_is_wrapped() -> None:
    assert limited(wait, None) is wait
