"""Training pictures: what they show, where, and that a model sees in them what its own stages would show it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fixtures.architectures import MODEL_KEYS
from fixtures.event_camera import simulate_events
from fixtures.events import draw_event_images
from fixtures.pixels import PixelProcessor
from fixtures.scene import CLASSES, Scene
from fixtures.training import normalised
from fixtures.training_pictures import CHEAP, FULL, Quality, draw_picture_set, squeezed

SMALL = Quality(96, 72, 20)


@pytest.mark.parametrize(("key", "count"), [("egpt", 5), ("videollava", 8), ("llava", 1)])
def test_a_scene_gives_the_pictures_that_the_model_takes(key, count):
    drawn = draw_picture_set(key, [1, 2], 56, 14, SMALL)
    assert len(drawn) == 2
    assert drawn.pictures.shape == (2, count, 56, 56, 3)
    assert drawn.cover.shape == (2, count, 14, 14)


def test_full_quality_event_images_are_those_of_the_embedded_dataset():
    seed = 5
    drawn = draw_picture_set("egpt", [seed], 112, 7, FULL)
    scene = Scene.random(seed)
    wanted = [squeezed(picture, 112) for picture in draw_event_images(simulate_events(scene.render, scene.seconds))]
    np.testing.assert_array_equal(drawn.pictures[0], np.stack(wanted))


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_the_same_seed_gives_the_same_pictures(key):
    first, again = (draw_picture_set(key, [3], 56, 8, SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.pictures, again.pictures)


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_pixels_are_those_of_the_checkpoint_s_own_image_processor(key, new):
    pipeline = new(key)
    picture = Scene.random(7, CHEAP.width, CHEAP.height).render(0.0)
    side = pipeline.model.config.vision_config.image_size
    processor = PixelProcessor(pipeline.image_processor.settings, "pil", torch.device("cpu"), torch.float32)
    wanted = processor.normalised(processor.resized([picture]))
    found = normalised(torch.from_numpy(squeezed(picture, side).copy()))
    torch.testing.assert_close(found, wanted[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("key", MODEL_KEYS)
def test_every_thing_covers_some_place_and_nothing_else_does(key):
    drawn = draw_picture_set(key, range(8), 112, 28, SMALL)
    for scene, cover in zip(drawn.scenes, drawn.cover, strict=True):
        bits = int(np.bitwise_or.reduce(cover.ravel()))
        assert {name for index, name in enumerate(CLASSES) if bits >> index & 1} == set(scene.object_names())
