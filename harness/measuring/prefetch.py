"""Files loaded side by side, ahead of the model that takes them in order: never more of them than asked for."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")


@contextmanager
def prefetched(
    load: Callable[[Item], Any], items: Iterable[Item], workers: int, most: int
) -> Iterator[Iterator[tuple[Item, Future[Any]]]]:
    """Yield an iterator of (item, its loading) in order; `load` runs in `workers` threads.

    At most `most` items are loaded, or being loaded, and not yet asked for, the one at hand aside. When the block
    ends, by an exception or an interrupt too, loads at work are waited for and no other begins.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="loader")
    try:
        yield _in_order(pool, load, items, most)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ThreadPoolExecutor, load: Callable[[Item], Any], items: Iterable[Item], most: int
) -> Iterator[tuple[Item, Future[Any]]]:
    upcoming = iter(items)
    waiting = deque((item, pool.submit(load, item)) for item in islice(upcoming, most))
    while waiting:
        at_hand = waiting.popleft()
        waiting.extend((item, pool.submit(load, item)) for item in islice(upcoming, 1))
        yield at_hand
        del at_hand  # else it would outlive the wait for the next one
