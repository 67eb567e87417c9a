"""The order of tests: one model after the other, and comparisons after both of their models."""

from collections.abc import Sequence

import pytest

from fixtures.selection import Selection
from harness.records.quantities import is_gpu


def in_order_of_measurement(items: Sequence[pytest.Item], selection: Selection) -> list[pytest.Item]:
    """Return the tests grouped by model, so that each is loaded once, and within a model by engine, else as collected.

    Tests without an engine come first: an engine keeps caches and graphs in memory, which would count for later tests.
    Tests that measure nothing follow those that do, and tests with two models come last. On a GPU, profiled tests come
    even later, since kernel launches are slower after a profiler ran.

    Where a target comes before the draft, its tests that compare with the draft come after the draft's tests, and the
    target is loaded a second time.
    """
    models, draft, on_gpu = selection.models, selection.draft, is_gpu(selection.device)

    def turn(item: pytest.Item) -> tuple[int, int, bool]:
        callspec = getattr(item, "callspec", None)
        chosen = callspec.params if callspec else {}
        model, engine, place = chosen.get("pipeline"), chosen.get("engine"), -1
        if "target" in chosen:
            place = 2 * len(models)  # behind all tests with one model
        elif model in models:
            place = models.index(model)
            waits = item.get_closest_marker("compares_with_draft") and draft in models
            if waits and place < models.index(draft or ""):
                place += len(models)
            if on_gpu and item.get_closest_marker("watches"):
                place += 3 * len(models)
        number = selection.engines.index(engine) if engine in selection.engines else -1
        return place, number, item.get_closest_marker("stage") is None

    return sorted(items, key=lambda item: (*turn(item), *item.location[:2]))
