"""Which tests run, and in what order: one model after the other, and comparisons after both of their sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from fixtures.selection import Selection


def in_order_of_measurement(items: Sequence[pytest.Item], selection: Selection) -> list[pytest.Item]:
    """Return the items grouped by model, so that each is loaded once, and within a model by engine, in their order.

    An engine keeps caches and graphs as long as its model is there: the memory of those before it must not count them.
    What takes no engine comes first, and tests that hold two models come last.

    Where a target goes before the draft, those of its tests that compare it with the draft go behind the draft's:
    the target is loaded a second time for them.
    """
    return sorted(items, key=lambda item: (_turn(item, selection), _engine(item, selection), *item.location[:2]))


def _turn(item: pytest.Item, selection: Selection) -> int:
    chosen, models, draft = _parameters(item), selection.models, selection.draft
    if "target" in chosen:
        return 2 * len(models)  # the draft and a target together, behind all that hold one model
    model = chosen.get("pipeline")
    if model not in models:
        return -1
    turn = models.index(model)
    waits = item.get_closest_marker("compares_with_draft") and draft in models and turn < models.index(draft or "")
    return turn + len(models) if waits else turn


def _engine(item: pytest.Item, selection: Selection) -> int:
    engine = _parameters(item).get("engine")
    return selection.engines.index(engine) if engine in selection.engines else -1


def _parameters(item: pytest.Item) -> Mapping[str, Any]:
    parameters = getattr(item, "callspec", None)
    return parameters.params if parameters else {}
