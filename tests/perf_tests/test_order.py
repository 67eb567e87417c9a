"""What runs behind what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from perf_tests.order import in_order_of_measurement


def item(name: str, marker: str = "", **params: str) -> Any:
    return SimpleNamespace(
        name=name,
        location=(name, 0),
        callspec=SimpleNamespace(params=params),
        get_closest_marker=lambda asked: asked == marker or None,
    )


@pytest.mark.parametrize(
    ("device", "names"),
    [
        ("cpu", ["decode egpt", "work egpt", "decode llava", "work llava", "pair"]),
        ("cuda:1", ["decode egpt", "decode llava", "pair", "work egpt", "work llava"]),
    ],
)
def test_on_a_gpu_no_time_is_taken_behind_a_profiler(device: str, names: list[str]) -> None:
    items = [item("pair", "stage", target="llava", engine="graph")]
    for model in ("llava", "egpt"):
        items += [item(f"{name} {model}", marker, pipeline=model, engine="graph")
                  for name, marker in (("work", "watches"), ("decode", "stage"))]  # fmt: skip
    chosen: Any = SimpleNamespace(models=("egpt", "llava"), draft="egpt", engines=("graph",), device=device)
    assert [each.name for each in in_order_of_measurement(items, chosen)] == names
