"""Stage 2 beside transformers' PIL processor: 8 frames of 1440x1080 to 224 pixels, in turns within each round.

`python -m perf_tests.goals.stage2` prints the rows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from fixtures.pixel_settings import PROCESSORS, clip_settings
from fixtures.pixels import PixelProcessor
from fixtures.scene import Scene
from harness.statistics import median
from perf_tests.goals.goal_table import GoalRow

FRAMES, WIDTH, HEIGHT, SIDE = 8, 1440, 1080, 224
ROUNDS = 41
GOALS = {"torch": 6.5, "pil": 1.9}


def stage2_rows(rounds: int = ROUNDS) -> list[GoalRow]:
    """Measure both processors and the library's; raises AssertionError where `pil` does not give the library's bits."""
    scene = Scene.random(0, WIDTH, HEIGHT)
    frames = [scene.render(scene.seconds * number / FRAMES) for number in range(FRAMES)]
    ours = {each: PixelProcessor(clip_settings(SIDE), each, torch.device("cpu"), torch.float32) for each in PROCESSORS}
    library = _library()

    def by(processor: PixelProcessor) -> Callable[[], Tensor]:
        return lambda: processor.normalised(processor.resized(frames))

    calls = {each: by(processor) for each, processor in ours.items()} | {"library": lambda: library(frames)}
    assert torch.equal(calls["pil"](), calls["library"]()), "other pixels: the times cannot be compared"
    medians = {each: median(seconds) for each, seconds in _in_turns(calls, rounds).items()}
    return [
        GoalRow(
            what=f"stage 2, {each}, {FRAMES} frames of {WIDTH}x{HEIGHT} to {SIDE}",
            value=1000 * medians[each],
            unit="ms",
            goal=f"at least {goal}x the PIL processor",
            n=rounds,
            reference="CLIPImageProcessorPil",
            reference_value=1000 * medians["library"],
        )
        for each, goal in GOALS.items()
    ]


def _library() -> Callable[[list[Any]], Tensor]:
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})

    def pixels(frames: list[Any]) -> Tensor:
        found: Tensor = processor(images=frames, return_tensors="pt", input_data_format="channels_last").pixel_values
        return found

    return pixels


def _in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in every round; what slows the machine down for a while meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    for row in stage2_rows():
        times = row.reference_value / row.value if row.reference_value else 0.0
        sys.stdout.write(f"{row.what}: {row.value:.4g} {row.unit}, {times:.2f}x the PIL processor (goal: {row.goal})\n")
