"""Stage 2's pixels are those of transformers' processors, bit for bit: the torchvision-based ones, and the PIL ones."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPImageProcessorPil, image_processing_backends, video_processing_utils
from transformers.models.clip.image_processing_clip import CLIPImageProcessor
from transformers.models.video_llava.image_processing_video_llava import VideoLlavaImageProcessor
from transformers.models.video_llava.video_processing_video_llava import VideoLlavaVideoProcessor

from fixtures.pixel_settings import read_settings
from fixtures.pixels import PixelProcessor
from tests.models import literal_torchvision

CPU = torch.device("cpu")
SQUARE = {"height": 23, "width": 23}
# What files say, in small: an odd side, so that halves have to be rounded.
FILES = {
    "as published": {"size": {"shortest_edge": 23}, "crop_size": SQUARE, "image_processor_type": "CLIPImageProcessor"},
    "as first published": {"size": 24, "crop_size": 24, "feature_extractor_type": "CLIPFeatureExtractor"},
    "a list for a crop": {"size": 40, "crop_size": [19, 30]},
    "squeezed": {"size": {"height": 20, "width": 31}, "do_center_crop": False},
    "a square from a number": {"size": 20, "default_to_square": True, "do_center_crop": False},
    "crop of another shape": {"size": {"height": 20, "width": 31}, "crop_size": {"height": 31, "width": 20}},
    "crop larger than the picture": {"size": {"shortest_edge": 12}, "crop_size": SQUARE},
    "only cropped": {"do_resize": False, "crop_size": SQUARE},
    "null for no": {"size": {"height": 20, "width": 31}, "crop_size": None, "do_center_crop": None, "do_pad": None},
    "bilinear": {"size": {"shortest_edge": 23}, "crop_size": SQUARE, "resample": 2},
    "nearest": {"size": {"shortest_edge": 23}, "crop_size": SQUARE, "resample": 0},
    "one mean for all": {"size": 24, "crop_size": 24, "image_mean": 0.5, "image_std": 0.25},
    "from -1 to 1": {"size": 24, "crop_size": 24, "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1]},
    "only rescaled": {"size": 24, "crop_size": 24, "do_normalize": False},
    "only normalised": {"size": 24, "crop_size": 24, "do_rescale": False},
    "grey levels": {"size": 24, "crop_size": 24, "do_rescale": False, "do_normalize": False},
}
RESTATED, REAL = "torchvision restated", "torchvision itself"


@pytest.fixture(scope="module", params=[RESTATED, REAL])
def torchvision(request):
    """What the library's torchvision-based processors compute with."""
    if request.param == REAL and importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed here: its only builds for this torch need CUDA")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == RESTATED:
            for module in (image_processing_backends, video_processing_utils):
                patch.setattr(module, "tvF", literal_torchvision, raising=False)
            patch.setattr(image_processing_backends, "pil_torch_interpolation_mapping", literal_torchvision.FILTERS)
        yield request.param


def ours(values, processor, pictures, dtype=torch.float32):
    found = PixelProcessor(read_settings("a file", values), processor, CPU, dtype)
    return found.normalised(found.resized(pictures))


def drawn(seed, count, height, width):
    """Noise and flat patches: every grey level, and edges that bicubic overshoots at."""
    random = np.random.default_rng(seed)
    pictures = random.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    pictures[:, : height // 2, : width // 2] = random.choice([0, 255], 3)
    return list(pictures)


def of_images(processor, pictures):
    return processor(images=pictures, return_tensors="pt", input_data_format="channels_last").pixel_values


lengths = st.integers(1, 70)


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), height=lengths, width=lengths)
def test_torch_s_pixels_are_those_of_the_torchvision_based_processor(torchvision, file, seed, height, width):
    pictures = drawn(seed, 2, height, width)
    wanted = of_images(CLIPImageProcessor(**FILES[file]), pictures)
    assert torch.equal(ours(FILES[file], "torch", pictures), wanted.float())


@pytest.mark.parametrize("file", FILES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**31), height=lengths, width=lengths)
def test_pil_s_pixels_are_those_of_the_pil_processor(file, seed, height, width):
    pictures = drawn(seed, 2, height, width)
    wanted = of_images(CLIPImageProcessorPil(**FILES[file]), pictures)
    assert torch.equal(ours(FILES[file], "pil", pictures), wanted.float())


@pytest.mark.parametrize("size", [(480, 640), (1080, 1440), (225, 224)])
def test_a_clip_s_pixels_are_those_of_the_video_processor(torchvision, size):
    frames = drawn(1, 2, *size)
    processor = VideoLlavaVideoProcessor()
    wanted = processor(videos=np.stack(frames), return_tensors="pt", input_data_format="channels_last")
    assert torch.equal(ours({}, "torch", frames), wanted.pixel_values_videos[0])


def test_a_clip_s_pixels_are_those_of_the_video_model_s_pil_processor():
    frames = drawn(2, 2, 480, 640)
    processor = VideoLlavaImageProcessor()
    # The library is changing the name of the one thing that comes back.
    (wanted,) = processor(images=frames, return_tensors="pt", input_data_format="channels_last").values()
    assert torch.equal(ours({}, "pil", frames), wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_numbers_are_the_library_s_rounded_once(torchvision, dtype):
    pictures = drawn(3, 1, 30, 40)
    wanted = of_images(CLIPImageProcessor(**FILES["as published"]), pictures)
    assert torch.equal(ours(FILES["as published"], "torch", pictures, dtype), wanted.to(dtype))


def test_both_processors_differ_by_a_few_grey_levels_at_most_but_do_differ():
    pictures = drawn(4, 2, 480, 640)
    kinds = [PixelProcessor(read_settings("a file", {}), each, CPU, torch.float32) for each in ("torch", "pil")]
    one, other = (kind.resized(pictures).astype(int) for kind in kinds)
    assert 0 < np.abs(one - other).max() <= 3
