"""A cache of fixed size has room for the longest answer of a run: growing would fall into a timed pass."""

from __future__ import annotations

import pytest

from fixtures.cache.frame_cache import FrameCache
from fixtures.selection import FIXED_TOKENS, RunRequest, select
from harness.options import Options
from perf_tests import suite_options

LONGEST = max(FIXED_TOKENS.values())


@pytest.mark.parametrize(
    ("options", "room"),
    [
        (Options(), 512),
        (Options(max_new_tokens=12), LONGEST),
        (Options(fixed_tokens=700), 700),
        (Options(fixed_tokens=700, max_new_tokens=900), 900),
    ],
)
def test_room_is_for_the_longer_of_natural_and_fixed_answers(options: Options, room: int) -> None:
    assert suite_options.settings_of(options, select(RunRequest(model_set="full")), FrameCache()).room == room
