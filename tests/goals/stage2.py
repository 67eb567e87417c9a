"""Stage 2 compared with transformers' PIL processor: 8 frames of 1440x1080 to 224 pixels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fixtures.pixels.processor import PixelProcessor
from fixtures.pixels.settings import PROCESSORS, clip_settings
from fixtures.scenes.scene import Scene
from harness.measuring.rounds import Variant

FRAMES, WIDTH, HEIGHT, SIDE = 8, 1440, 1080, 224
TIMES_FASTER = {"torch": 6.5, "pil": 1.9}
"""Processor -> goal: how many times faster than transformers' PIL processor."""
LIBRARY = "CLIPImageProcessorPil"

Frames = list[NDArray[np.uint8]]


def stage2_ways() -> list[Variant]:
    """Each of our processors and transformers' on the same frames; asserts that `pil` gives transformers' bits."""
    scene = Scene.random(0, WIDTH, HEIGHT)
    frames = [scene.render(scene.seconds * number / FRAMES) for number in range(FRAMES)]
    ours = {each: PixelProcessor(clip_settings(SIDE), each, torch.device("cpu"), torch.float32) for each in PROCESSORS}
    library = _library()
    assert torch.equal(_ours(ours["pil"], frames), library(frames)), "other pixels: the times cannot be compared"
    return [
        *((each, partial(_ours, processor, frames)) for each, processor in ours.items()),
        (LIBRARY, partial(library, frames)),
    ]


def _ours(processor: PixelProcessor, frames: Frames) -> Tensor:
    return processor.normalised(processor.resized(frames))


def _library() -> Callable[[Frames], Tensor]:
    from transformers import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})

    def pixels(frames: Frames) -> Tensor:
        found: Tensor = processor(images=frames, return_tensors="pt", input_data_format="channels_last").pixel_values
        return found

    return pixels
