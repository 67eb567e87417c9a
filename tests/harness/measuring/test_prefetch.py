"""Loading ahead of the model: in order, within bounds, and over when it is over."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.measuring import whole_pass
from harness.measuring.whole_pass import prefetched


class Loads:
    """Loads that notice when they begin and end, and wait for `gate` if there is one."""

    def __init__(self, gate=None):
        self.gate = gate
        self.begun = []
        self.at_work = 0
        self.most_at_work = 0
        self.lock = threading.Lock()

    def __call__(self, item):
        with self.lock:
            self.begun.append(item)
            self.at_work += 1
            self.most_at_work = max(self.most_at_work, self.at_work)
        if self.gate is not None:
            assert self.gate.wait(timeout=30)
        time.sleep(0.002 if item % 2 else 0)
        with self.lock:
            self.at_work -= 1
        if item == 13:
            raise OSError("no such file")
        return item * 10


def settle(loads, count):
    """Wait until so many loads have begun, and a moment longer for those that should not."""
    deadline = time.monotonic() + 30
    while len(loads.begun) < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 12])
def test_items_come_in_order_each_with_its_own_load(workers, count):
    with prefetched(Loads(), range(count), workers, 2 * workers) as loadings:
        assert [(item, loading.result()) for item, loading in loadings] == [(n, 10 * n) for n in range(count)]


def test_files_are_loaded_side_by_side_but_by_no_more_threads_than_asked_for():
    gate = threading.Event()
    loads = Loads(gate)
    with prefetched(loads, range(12), 3, 2 * 3) as loadings:
        iterator = iter(loadings)
        next(iterator)
        settle(loads, 3)
        assert (sorted(loads.begun), loads.most_at_work) == ([0, 1, 2], 3)
        gate.set()
        list(iterator)
    assert loads.most_at_work == 3


def test_no_more_is_loaded_ahead_than_twice_the_threads():
    loads = Loads()
    with prefetched(loads, range(100), 2, 2 * 2) as loadings:
        next(loadings)
        settle(loads, 5)
        assert sorted(loads.begun) == [0, 1, 2, 3, 4]
        next(loadings)
        settle(loads, 6)
        assert sorted(loads.begun) == [0, 1, 2, 3, 4, 5]


def test_a_load_that_fails_says_so_at_its_turn_and_the_others_come():
    found = []
    with prefetched(Loads(), range(12, 16), 2, 2 * 2) as loadings:
        for item, loading in loadings:
            found.append((item, str(loading.exception() or loading.result())))
    assert found == [(12, "120"), (13, "no such file"), (14, "140"), (15, "150")]


def test_what_waits_for_its_turn_when_the_block_ends_never_begins(monkeypatch):
    """Those at work go on only when the block has been left."""
    gate = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            gate.set()
            super().shutdown(wait=wait)

    monkeypatch.setattr(whole_pass, "ThreadPoolExecutor", Pool)
    loads = Loads(gate)
    with pytest.raises(KeyboardInterrupt):
        end_while_two_are_at_work(loads)
    assert sorted(loads.begun) == [0, 1]


def end_while_two_are_at_work(loads):
    with prefetched(loads, range(100), 2, 2 * 2) as loadings:
        next(loadings)
        settle(loads, 2)
        raise KeyboardInterrupt


def take_one_and_end(loads, ending):
    with prefetched(loads, range(100), 2, 2 * 2) as loadings:
        next(loadings)
        raise ending


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt])
def test_whatever_ends_the_block_no_load_begins_after_it_and_no_thread_is_left(ending):
    loads = Loads()
    with pytest.raises(ending):
        take_one_and_end(loads, ending)
    begun = len(loads.begun)
    assert begun <= 5
    assert loads.at_work == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
