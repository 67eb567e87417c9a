"""Each rank of a node has a GPU of its own."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.errors import ChoiceError
from fixtures.model_sets.loading import ModelSettings
from fixtures.selection import Selection
from harness.session.ranks import Rank
from perf_tests import suite_options

STORE: Any = None


def selected(device: str) -> Selection:
    return Selection(("egpt",), ("eager",), ModelSettings("full", device))


@pytest.mark.parametrize(
    ("device", "local", "found"),
    [("cuda", 0, "cuda:0"), ("cuda", 3, "cuda:3"), ("cuda:1", 3, "cuda:1"), ("cpu", 3, "cpu")],
)
def test_a_rank_takes_the_gpu_of_its_number_unless_one_is_named(
    device: str, local: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite_options, "find_device", lambda name: name)
    rank = Rank(number=local, world_size=8, local=local, per_node=4, restart=0, store=STORE)
    assert suite_options.on_device_of(rank, selected(device)).device == found
    assert suite_options.on_device_of(None, selected(device)).device == device


def test_more_ranks_than_gpus_are_a_wrong_choice() -> None:
    rank = Rank(number=99, world_size=100, local=99, per_node=100, restart=0, store=STORE)
    with pytest.raises(ChoiceError, match="there is no device 'cuda:99'"):
        suite_options.on_device_of(rank, selected("cuda"))
