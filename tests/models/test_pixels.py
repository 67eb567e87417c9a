"""Stage 2's pictures: the grid of frames, and the pixels that a vision tower takes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fixtures.pixels as pixels_module
from fixtures.architectures import MODEL_KEYS
from fixtures.errors import CheckpointError
from fixtures.llava import paste_grid
from fixtures.pixel_settings import PROCESSORS, PixelSettings, clip_settings
from fixtures.pixels import PixelProcessor
from tests.models.side_by_side import clip

CPU = torch.device("cpu")


def kind(processor="torch", side=32, dtype=torch.float32, device=CPU):
    return PixelProcessor(clip_settings(side), processor, device, dtype)


def pixels(side, pictures, dtype):
    processor = kind(side=side, dtype=dtype)
    return processor.normalised(processor.resized(pictures))


def drawn(sizes, seed=0):
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


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


@pytest.mark.parametrize("processor", PROCESSORS)
def test_pictures_of_one_batch_do_not_touch_each_other(processor):
    pictures = drawn(sizes=[(40, 60), (50, 30), (32, 32), (7, 90), (300, 200)] * 4)
    together = kind(processor).resized(pictures)
    assert together.shape == (20, 32, 32, 3)
    for picture, found in zip(pictures, together, strict=True):
        assert np.array_equal(kind(processor).resized([picture])[0], found)
    levels = kind(processor).normalised(together)
    for picture, found in zip(together, levels, strict=True):
        assert torch.equal(kind(processor).normalised(picture[None])[0], found)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_pictures_that_may_not_be_written_or_lie_scattered_are_read_as_they_are(processor):
    (picture,) = drawn(sizes=[(40, 60)])
    wanted = kind(processor).resized([picture])
    locked = picture.copy()
    locked.flags.writeable = False
    scattered = np.ascontiguousarray(picture[:, ::-1])[:, ::-1]
    assert np.array_equal(kind(processor).resized([locked])[0], wanted[0])
    assert np.array_equal(kind(processor).resized([scattered])[0], wanted[0])
    wanted.flags.writeable = False
    assert kind(processor).normalised(wanted).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_pictures_are_only_read(processor):
    (picture,) = drawn(sizes=[(32, 32)])
    before = picture.copy()
    resized = kind(processor).resized([picture])
    kept = resized.copy()
    kind(processor).normalised(resized)
    assert np.array_equal(picture, before)
    assert np.array_equal(resized, kept)


def test_threads_are_no_more_than_cores_and_no_more_than_a_clip_has_frames(monkeypatch):
    for cores, threads in ((1, 1), (3, 3), (200, 8)):
        monkeypatch.setattr(pixels_module, "usable_cores", lambda cores=cores: cores)
        processor = kind()
        processor.resized(drawn(sizes=[(40, 40)] * 40))
        assert processor.threads == threads
        assert len(processor._workers._threads) <= threads


def test_threads_end_with_the_processor_that_they_work_for():
    processor = kind()
    processor.resized(drawn(sizes=[(40, 40)] * 4))
    threads = list(processor._workers._threads)
    assert threads
    del processor
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)


def test_the_threads_of_torch_itself_are_left_alone():
    torch.set_num_threads(3)
    processor = kind()
    processor.normalised(processor.resized(drawn(sizes=[(40, 40)] * 4)))
    with ThreadPoolExecutor(1) as elsewhere:
        assert elsewhere.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3


def test_what_goes_wrong_in_a_thread_is_raised():
    with pytest.raises(ValueError, match="not enough values"):
        kind().resized([np.zeros((4, 4), dtype=np.uint8)])


def test_identity_tells_implementation_settings_and_version_apart(monkeypatch):
    identities = {kind("torch").identity, kind("pil").identity, kind("pil", side=33).identity}
    assert len(identities) == 3
    assert kind("pil", dtype=torch.float16).identity in identities
    for package, processor in ((torch, "torch"), (PIL, "pil")):
        monkeypatch.setattr(package, "__version__", "99")
        assert kind(processor).identity not in identities


def test_a_filter_that_torch_does_not_have_is_refused_by_file_and_key():
    settings = PixelSettings(resample=1, source="some/preprocessor_config.json")
    with pytest.raises(
        CheckpointError, match=r"^some/preprocessor_config.json: its key 'resample' is 1, .*--processor"
    ):
        PixelProcessor(settings, "torch", CPU, torch.float32)
    PixelProcessor(settings, "pil", CPU, torch.float32)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("key", MODEL_KEYS)
def test_inputs_from_a_resized_clip_are_those_from_the_clip(key, processor, load_tiny):
    pipeline = load_tiny(key, processor=processor)
    whole = clip(key, seed=1, size=(48, 64))
    resized = pipeline.resizer.resized(whole)
    side = pipeline.model.config.vision_config.image_size
    assert {picture.shape for picture in resized.images} == {(side, side, 3)}
    assert (resized.resized, resized.count, resized.source) == (True, whole.count, whole.source)
    found, wanted = pipeline.preprocess(resized), pipeline.preprocess(whole)
    assert torch.equal(found.pixel_values, wanted.pixel_values)
    assert torch.equal(found.input_ids, wanted.input_ids)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_facts_say_which_processor_made_the_pixels(processor, load_tiny):
    pipeline = load_tiny("egpt", processor=processor)
    extra = pipeline.facts().extra
    assert extra["processor"] == processor
    assert extra["processor_identity"] == f"sha256 {pipeline.image_processor.identity}"
    assert extra["processor_threads"] == str(pipeline.image_processor.threads)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: PyTorch finds no CUDA device here")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_pixels_on_a_gpu_are_those_on_the_cpu(dtype):
    clips = [drawn(sizes=[(480, 640)] * 8, seed=seed) for seed in range(4)]
    there = kind(side=224, dtype=dtype, device=torch.device("cuda"))
    here = kind(side=224, dtype=dtype)
    # All copies are on their way before the first is looked at.
    found = [there.normalised(there.resized(pictures)) for pictures in clips]
    for copied, pictures in zip(found, clips, strict=True):
        assert torch.equal(copied.cpu(), here.normalised(here.resized(pictures)))
