"""A cache of fixed size has room for the longest answer of a run: growing would fall into a timed pass."""

from __future__ import annotations

import pytest

from fixtures.cache.frame_cache import FrameCache
from fixtures.model_sets.registry import MODELS
from fixtures.selection import select
from harness.options import Options
from perf_tests import suite_options

LONGEST = max(entry.fixed_tokens for entry in MODELS.values())


@pytest.mark.parametrize(
    ("options", "room"),
    [
        (Options(model_set="full"), 512),
        (Options(model_set="full", max_new_tokens=12), LONGEST),
        (Options(model_set="full", fixed_tokens=700), 700),
        (Options(model_set="full", fixed_tokens=700, max_new_tokens=900), 900),
    ],
)
def test_room_is_for_the_longer_of_natural_and_fixed_answers(options: Options, room: int) -> None:
    chosen = select(suite_options.request_of(options, FrameCache()))
    assert chosen.settings.pipeline.max_answer_tokens == room
