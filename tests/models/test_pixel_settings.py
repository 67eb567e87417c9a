"""Image processor files: found where the library finds them, read as it reads them, or refused by file and key."""

from __future__ import annotations

import json

import pytest

from fixtures.errors import CheckpointError
from fixtures.pixel_settings import PixelSettings, clip_settings, load_settings, read_settings

SIZES = "N, {'shortest_edge': N} or {'height': N, 'width': N}"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (
            {"image_processor_type": "SiglipImageProcessor"},
            "'image_processor_type' is 'SiglipImageProcessor', ",
        ),
        ({"do_pad": True}, "'do_pad' is True, a step that CLIP's processing does not have. Make it false."),
        ({"do_resize": "yes"}, "'do_resize' is 'yes', which is neither yes nor no. Make it true or false."),
        ({"size": {"longest_edge": 9}}, f"'size' is {{'longest_edge': 9}}, which is no size .* Make it {SIZES}."),
        ({"size": {"shortest_edge": 0}}, f"'size' is {{'shortest_edge': 0}}, which is no size .* Make it {SIZES}."),
        ({"size": True}, "'size' is True, which is no size"),
        ({"crop_size": [3, 4, 5]}, r"'crop_size' is \[3, 4, 5\], which is no size .* Make it N or {'height': N, "),
        ({"crop_size": None}, "'crop_size' is None, which is no size"),
        ({"do_center_crop": False}, "'do_center_crop' is False, which leaves pictures of any size"),
        ({"do_resize": False, "do_center_crop": False}, "'do_resize' is False, which leaves pictures of any size"),
        ({"resample": 9}, r"'resample' is 9, which is no filter of Pillow's. Make it 3 \(bicubic\)"),
        ({"resample": None}, "'resample' is None, which is no filter of Pillow's"),
        ({"rescale_factor": "1/255"}, "'rescale_factor' is '1/255', which no picture can be multiplied by"),
        ({"rescale_factor": 0}, "'rescale_factor' is 0, which no picture can be multiplied by"),
        ({"image_mean": [0.5, 0.5]}, r"'image_mean' is \[0.5, 0.5\], which is not a number for each of three channels"),
        ({"image_std": [0.5, 0, 0.5]}, r"'image_std' is \[0.5, 0, 0.5\], and nothing can be divided by 0"),
    ],
)
def test_what_clip_s_processing_does_not_know_is_refused_by_file_and_key(values, complaint):
    with pytest.raises(CheckpointError, match=f"^some/preprocessor_config.json: its key {complaint}"):
        read_settings("some/preprocessor_config.json", values)


@pytest.mark.parametrize(
    "values",
    [
        {"do_normalize": False, "image_mean": "none"},
        {"do_rescale": False, "rescale_factor": None},
        {"do_center_crop": False, "size": [9, 9], "crop_size": "none"},
        {"do_resize": False, "size": {"longest_edge": 9}},
        {"do_pad": False, "do_convert_rgb": True, "do_sample_frames": False, "processor_class": "LlavaProcessor"},
        {"image_processor_type": "CLIPImageProcessorFast"},
    ],
)
def test_what_is_not_done_need_not_be_understood(values):
    assert isinstance(read_settings("a file", values), PixelSettings)


def test_a_key_that_is_missing_has_clip_s_published_value():
    assert read_settings("a file", {}) == clip_settings(224) == PixelSettings()


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of JSON files, each with settings that crop to another side."""

    def make(**files):
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return make


def side(*sources, video=False):
    height, width = load_settings(*sources, video=video).shape
    assert height == width
    return height


SINGLE, VIDEO = {"crop_size": 1}, {"crop_size": 2}
PARTS = {"image_processor": {"crop_size": 3}, "video_processor": {"crop_size": 4}}


def test_images_take_the_newer_file_of_all_processors_before_the_older_one_of_images(folder):
    assert side(folder(preprocessor_config=SINGLE, video_preprocessor_config=VIDEO)) == 1
    assert side(folder(processor_config={"processor_class": "LlavaProcessor"})) == 1
    assert side(folder(processor_config=PARTS)) == 3


def test_videos_take_what_is_meant_for_videos_before_what_is_meant_for_images(folder):
    assert side(folder(processor_config={"image_processor": {"crop_size": 3}}), video=True) == 3
    assert side(folder(preprocessor_config=SINGLE), video=True) == 1
    assert side(folder(video_preprocessor_config=VIDEO), video=True) == 2
    assert side(folder(processor_config=PARTS), video=True) == 4


def test_the_first_source_that_has_settings_is_taken(folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert side(empty, "no-such-lab/no-such-model", folder(preprocessor_config=SINGLE)) == 1
    with pytest.raises(CheckpointError, match=f"{empty}: it has no image processor settings. Put the preprocessor_con"):
        load_settings(empty)


@pytest.mark.parametrize(("text", "problem"), [("{", "is not JSON"), ("[1]", "is not a JSON object")])
def test_a_torn_file_is_refused_by_name(text, problem, tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"^{tmp_path}/preprocessor_config.json: {problem}.* Copy it again"):
        load_settings(tmp_path)


def test_settings_name_their_file_but_are_not_told_apart_by_it(folder):
    read = load_settings(folder(preprocessor_config={}))
    assert read.source.endswith("preprocessor_config.json")
    assert read == PixelSettings()
    assert read.as_json() == PixelSettings().as_json()
