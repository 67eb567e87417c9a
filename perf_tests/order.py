"""Which tests run, and in what order: one model after the other, and comparisons after both of their sides."""

from collections.abc import Sequence

import pytest

from fixtures.selection import Selection
from harness.records.quantities import is_gpu


def in_order_of_measurement(items: Sequence[pytest.Item], selection: Selection) -> list[pytest.Item]:
    """Return the items grouped by model, so that each is loaded once, and within a model by engine, in their order.

    An engine keeps caches and graphs as long as its model is there: the memory of those before it must not count them.
    What takes no engine comes first, what measures nothing behind what does, and tests that hold two models last. On a
    GPU only those come later that run stages under a profiler, which slows what is launched after it.

    Where a target goes before the draft, those of its tests that compare it with the draft go behind the draft's:
    the target is loaded a second time for them.
    """
    models, draft, on_gpu = selection.models, selection.draft, is_gpu(selection.device)

    def turn(item: pytest.Item) -> tuple[int, int, bool]:
        callspec = getattr(item, "callspec", None)
        chosen = callspec.params if callspec else {}
        model, engine, place = chosen.get("pipeline"), chosen.get("engine"), -1
        if "target" in chosen:
            place = 2 * len(models)  # the draft and a target together, behind all that hold one model
        elif model in models:
            place = models.index(model)
            waits = item.get_closest_marker("compares_with_draft") and draft in models
            place += len(models) if waits and place < models.index(draft or "") else 0
            place += 3 * len(models) if on_gpu and item.get_closest_marker("watches") else 0
        number = selection.engines.index(engine) if engine in selection.engines else -1
        return place, number, item.get_closest_marker("stage") is None

    return sorted(items, key=lambda item: (*turn(item), *item.location[:2]))
