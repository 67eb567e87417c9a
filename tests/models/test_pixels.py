"""Stage 2's pictures: the grid of frames, and the pixels that a vision tower takes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.llava import paste_grid
from fixtures.pixel_settings import clip_settings
from fixtures.pixels import PixelProcessor

CPU = torch.device("cpu")


def pixels(side, pictures, dtype):
    processor = PixelProcessor(clip_settings(side), "torch", CPU, dtype)
    return processor.normalised(processor.resized(pictures))


@settings(deadline=None)
@given(count=st.integers(1, 12), height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_frame_stands_whole_in_its_cell_in_reading_order(count, height, width, seed):
    frames = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    grid = paste_grid(list(frames))
    columns = grid.shape[1] // width
    assert grid.shape == (2 * height, (count + 1) // 2 * width, 3)
    cells = grid.reshape(2, height, columns, width, 3).swapaxes(1, 2).reshape(-1, height, width, 3)
    assert np.array_equal(cells[:count], frames)
    assert not cells[count:].any()


def test_eight_frames_make_two_rows_of_four():
    frames = [np.full((3, 5, 3), number, dtype=np.uint8) for number in range(8)]
    assert paste_grid(frames)[::3, ::5, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("size", [(480, 640), (100, 50), (336, 336)])
def test_pictures_of_any_size_become_squares(size):
    pictures = [np.zeros((*size, 3), dtype=np.uint8)] * 3
    assert pixels(336, pictures, torch.float16).shape == (3, 3, 336, 336)


def test_pixels_are_normalised_by_clip_s_published_mean_and_deviation():
    grey = np.full((224, 224, 3), 128, dtype=np.uint8)
    found = pixels(224, [grey], torch.float32)[0, :, 0, 0]
    mean, deviation = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    torch.testing.assert_close(found, (128 / 255 - mean) / deviation)


def test_pictures_of_different_sizes_go_into_one_batch():
    pictures = [np.zeros((40, 60, 3), dtype=np.uint8), np.zeros((50, 30, 3), dtype=np.uint8)]
    assert pixels(32, pictures, torch.float32).shape == (2, 3, 32, 32)


@pytest.mark.parametrize("height", [1, 3])
def test_a_very_small_picture_is_not_taken_for_channels_first(height):
    picture = np.zeros((height, 3, 3), dtype=np.uint8)
    picture[..., 0] = 255
    found = pixels(8, [picture], torch.float32)[0]
    assert (found[0] > found[2]).all()
