from types import SimpleNamespace
from typing import Any

import pytest

from perf_tests import conftest


@pytest.mark.parametrize(
    ("model_set", "asked_for", "count"), [("tiny", None, 3), ("tiny", 5, 5), ("tiny", 1, 1), ("checkpoint", None, 5)]
)
def test_of_small_models_three_samples_take_what_takes_longest_unless_their_number_is_given(
    model_set: str, asked_for: int | None, count: int
) -> None:
    fixture: Any = conftest.few_samples
    session = SimpleNamespace(options=SimpleNamespace(stage_samples=asked_for))
    samples = list(range(asked_for or 5))
    taken = fixture._get_wrapped_function()(samples, session, SimpleNamespace(model_set=model_set))
    assert taken == samples[:count]
