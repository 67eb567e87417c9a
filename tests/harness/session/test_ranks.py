"""What a rank is told and draws, with a store that forgets nothing and needs no network."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ResumeError
from harness.session import ranks
from harness.session.ranks import PREFIX, Rank, rank_of, share_of


class Memory:
    """torchrun's store, for ranks of one process."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def get(self, key: str) -> bytes:
        return self.values[key].encode()

    def wait(self, keys: list[str], timeout: timedelta) -> None:
        end = time.monotonic() + 10
        while not self.check(keys):
            assert time.monotonic() < end, "would wait for ever"

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def add(self, key: str, amount: int) -> int:
        self.values[key] = str(int(self.values.get(key, "0")) + amount)
        return int(self.values[key])


def rank(number: int, store: Memory, restart: int = 0) -> Rank:
    return Rank(number, 2, number, 2, restart, store)


def test_without_torchrun_there_is_no_rank() -> None:
    assert rank_of({"RANK": "0"}) is None


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(0, 12))
def test_every_number_is_drawn_once_however_fast_the_ranks_are(turns: list[int], count: int) -> None:
    store = Memory()
    drawing = [rank(number, store).claim_indices("a test", count) for number in range(3)]
    drawn = [next(drawing[turn], None) for turn in turns] + [number for each in drawing for number in each]
    assert sorted(number for number in drawn if number is not None) == list(range(count))


def test_two_tests_have_counters_of_their_own() -> None:
    store = Memory()
    assert list(rank(0, store).claim_indices("one", 2)) == [0, 1]
    assert list(rank(0, store).claim_indices("two", 2)) == [0, 1]


def started(*ranks: Rank) -> None:
    """Let the ranks of one start come to know the folder, and each other."""
    first, *further = ranks
    with ThreadPoolExecutor() as threads:
        told = threads.submit(first.publish, Path("/a/run"))
        folders: list[Future[Path]] = [threads.submit(each.wait_for_folder) for each in further]
        told.result()
    assert {each.result() for each in folders} == {Path("/a/run")}


def test_every_start_draws_anew_though_only_the_node_that_lost_a_rank_counts_a_restart() -> None:
    store = Memory()
    before = rank(0, store), rank(1, store)
    started(*before)
    assert [next(each.claim_indices("a test", 3)) for each in before] == [0, 1]
    after = rank(0, store), rank(1, store, restart=1)
    started(*after)
    assert [number for each in after for number in each.claim_indices("a test", 3)] == [0, 1, 2]


def test_a_rank_that_died_before_it_was_told_is_not_taken_for_the_one_that_lives() -> None:
    store = Memory()
    first, living = rank(0, store), rank(1, store)
    store.set(f"{PREFIX}/question/1", "of a dead process")
    with ThreadPoolExecutor() as threads:
        told = threads.submit(first.publish, Path("/a/run"))
        store.wait([f"{PREFIX}/answer/of a dead process"], timedelta(seconds=10))
        assert not told.done()
        assert living.wait_for_folder() == Path("/a/run")
        told.result()
    assert first.start == living.start == 1


def test_a_rank_that_never_acknowledges_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "PATIENCE", timedelta(seconds=0.1))
    store = Memory()
    store.set(f"{PREFIX}/question/1", "of a dead process")
    with pytest.raises(ResumeError, match=r"rank 1 of 2 did not join within 0 minutes; .* --resume=FOLDER"):
        rank(0, store).publish(Path("/a/run"))


def test_the_folder_is_known_to_later_restarts() -> None:
    store = Memory()
    first = rank(0, store)
    assert first.published_folder() is None
    started(first, rank(1, store))
    assert rank(0, store, restart=1).published_folder() == Path("/a/run")


def test_a_restart_before_there_was_a_folder_begins_one() -> None:
    store = Memory()
    rank(0, store).published_folder()
    assert rank(0, store, restart=1).published_folder() is None


def test_a_restart_that_finds_another_store_begins_no_second_run() -> None:
    with pytest.raises(ResumeError, match="torchrun has lost its store"):
        rank(0, Memory(), restart=1).published_folder()


@given(st.integers(1, 70), st.integers(1, 9))
def test_cores_are_shared_out_in_blocks(cores: int, per_node: int) -> None:
    blocks = [share_of(list(range(cores)), local, per_node) for local in range(per_node)]
    assert all(blocks)
    assert all(block == list(range(block[0], block[0] + len(block))) for block in blocks)
    if cores >= per_node:
        assert sorted(core for block in blocks for core in block) == list(range(cores))
        assert max(map(len, blocks)) - min(map(len, blocks)) <= 1
