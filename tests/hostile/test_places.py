"""Files that lead elsewhere: links, names that climb, lists of other files, pipes; and programs in disguise."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from fixtures.cache.clip_files import png_clip
from fixtures.data.dataset import JSON_NAME, Dataset, dataset_identity
from fixtures.data.events import read_events
from fixtures.data.media import event_file, event_image_files, mp4_file
from fixtures.errors import CheckpointError, DatasetError, FixtureError, SampleError
from fixtures.model_sets import pretrained
from fixtures.model_sets.loading import ModelSettings
from fixtures.model_sets.tiny import shipped_checkpoint
from fixtures.models.facts import weights_identity
from fixtures.pipeline import Sample
from fixtures.preparing.command import PrepareRequest, prepare
from fixtures.video.frames import read_frames, read_image
from fixtures.video.readers.packets import slices_per_picture
from tests.fixtures.video.made_clips import Clip, write_clip
from tests.hostile.media_files import COUNT, make_dataset, make_frames, write_events

ASKS: dict[str, Callable[[Sample], object]] = {
    "event_data": event_file,
    "event_image": event_image_files,
    "mp4_data": mp4_file,
    "video_data": lambda sample: png_clip(sample, COUNT).read(),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dataset").mkdir()
    make_dataset(tmp_path / "dataset")
    return tmp_path / "dataset"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder beside the dataset, with a sound file of each kind."""
    (tmp_path / "elsewhere").mkdir()
    make_frames(tmp_path / "elsewhere")
    write_events(tmp_path / "elsewhere" / "0.npy")
    write_clip(tmp_path / "elsewhere" / "0.mp4", Clip())
    return tmp_path / "elsewhere"


def rewritten(folder: Path, **fields: object) -> Sample:
    """The first sample, with other fields in the JSON."""
    entries = json.loads((folder / JSON_NAME).read_text())
    entries[0].update(fields)
    (folder / JSON_NAME).write_text(json.dumps(entries))
    return Dataset.open(folder).samples[0]


@pytest.mark.parametrize("way", ["climbing", "absolute", "through a link"])
@pytest.mark.parametrize("field", ASKS)
def test_a_name_that_leaves_the_dataset_folder_is_refused_and_nothing_read(
    folder: Path, elsewhere: Path, field: str, way: str
) -> None:
    name = {"event_data": "0.npy", "event_image": "0.png", "mp4_data": "0.mp4", "video_data": ""}[field]
    where = {"climbing": "../../elsewhere", "absolute": str(elsewhere), "through a link": "link"}[way]
    for media in ("event_npy", "event_image", "mp4", "video"):
        (folder / media / "link").symlink_to(elsewhere, target_is_directory=True)
    written = f"{where}/{name}"
    sample = rewritten(folder, **{field: [written] if field == "event_image" else written})
    with pytest.raises(SampleError, match=rf"'a_0', field '{field}': .*leaves the dataset folder"):
        ASKS[field](sample)


def test_a_frame_that_is_a_link_out_of_the_dataset_folder_is_refused(folder: Path, elsewhere: Path) -> None:
    frames = folder / "video" / "a" / "0"
    make_frames(frames)
    sample = Dataset.open(folder).samples[0]
    assert png_clip(sample, COUNT).read()
    (frames / "0.png").unlink()
    (frames / "0.png").symlink_to(elsewhere / "0.png")
    with pytest.raises(SampleError, match=r"0\.png: leaves the dataset folder"):
        png_clip(sample, COUNT).read()
    (outcome, _) = sorted(prepare(PrepareRequest(folder, mp4=True, workers=1)), key=lambda each: each.job.sample.id)
    assert "leaves the dataset folder" in outcome.problem


def test_a_frame_may_be_a_link_within_the_dataset_and_the_dataset_folder_a_link_itself(
    folder: Path, tmp_path: Path
) -> None:
    frames = folder / "video" / "a" / "0"
    make_frames(frames)
    (frames / "0.png").rename(folder / "kept.png")
    (frames / "0.png").symlink_to(folder / "kept.png")
    (tmp_path / "linked").symlink_to(folder, target_is_directory=True)
    for way in (folder, tmp_path / "linked"):
        assert png_clip(Dataset.open(way).samples[0], COUNT).read().frames.shape[0] == COUNT


def test_nothing_is_written_through_a_link_that_leaves_the_dataset_folder(folder: Path, elsewhere: Path) -> None:
    shutil.rmtree(folder / "event_image")
    (folder / "event_image").symlink_to(elsewhere, target_is_directory=True)
    before = sorted(elsewhere.rglob("*"))
    outcomes = prepare(PrepareRequest(folder, event_images=5, workers=1))
    assert {outcome.state for outcome in outcomes} == {"failed"}
    assert all("leaves the dataset folder" in outcome.problem for outcome in outcomes)
    assert sorted(elsewhere.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder: Path) -> None:
    for place in ("event_npy/a/0.npy", "mp4/a/0.mp4", "video/a/0/0.png"):
        (folder / place).unlink()
        os.mkfifo(folder / place)
    os.mkfifo(folder / "other.json")
    dataset = Dataset.open(folder)
    assert dataset_identity(dataset)
    for field in ("event_data", "mp4_data", "video_data"):
        with pytest.raises(SampleError, match="is not a file"):
            ASKS[field](dataset.samples[0])
    with pytest.raises(DatasetError, match=r"other\.json: is not a file"):
        Dataset.open(folder, folder / "other.json")


def test_half_of_a_character_is_in_no_result(folder: Path) -> None:
    with pytest.raises(DatasetError, match=r"entry 0, field 'id': holds an unpaired surrogate \('\\ud800'\)"):
        rewritten(folder, id="a\ud800")
    sample = rewritten(folder, id="a", split="a\ud800", video_data="a\ud800")
    assert (sample.split, sample.raw_video_data) == ("", None)
    with pytest.raises(SampleError, match=r"field 'video_data': .*holds an unpaired surrogate \('\\ud800'\)"):
        ASKS["video_data"](sample)


def test_a_list_of_other_files_is_no_clip(elsewhere: Path) -> None:
    """FFmpeg by itself would open what the list names."""
    (elsewhere / "list.mp4").write_text("ffconcat version 1.0\nfile 0.mp4\n")
    with av.open(str(elsewhere / "list.mp4")) as container:
        assert next(container.decode(video=0)).width == Clip().width
    for reader in ("fast", "legacy"):
        with pytest.raises(FixtureError, match=r"list\.mp4: is torn or not a video"):
            read_frames(elsewhere / "list.mp4", 2, reader=reader)
    with pytest.raises(FixtureError, match=r"list\.mp4: is torn or not a video"):
        slices_per_picture(elsewhere / "list.mp4")


def test_a_picture_is_never_handed_to_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow reads PostScript by running Ghostscript, whatever the file is called."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(FixtureError, match=r"a\.png: is torn or not a picture"):
        read_image(tmp_path / "a.png")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_checkpoint("llava"), tmp_path / "checkpoint"))


def load(checkpoint: Path) -> object:
    return pretrained.load_pretrained("llava", str(checkpoint), torch.device("cpu"), torch.float32, ModelSettings())


ABSURD = {
    "vocab_size": (10**8, r"config\.json describes \d+ parameters, but its weight files have \d+ bytes"),
    "hidden_size": (4096, r"config\.json describes \d+ parameters, but its weight files have \d+ bytes"),
    "num_hidden_layers": (10**9, "config.json has 1000000000 as 'num_hidden_layers', not a number of 0 to 1024"),
}


@pytest.mark.parametrize("key", ABSURD)
def test_a_config_that_asks_for_more_than_the_weights_can_be_is_refused_before_a_model_is_made(
    checkpoint: Path, key: str
) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["text_config"][key], words = ABSURD[key]
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=words):
        load(checkpoint)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_that_comes_with_a_checkpoint_is_not_run(checkpoint: Path, tmp_path: Path, file: str) -> None:
    proof = tmp_path / "proof"
    (checkpoint / "odd.py").write_text(f"open({str(proof)!r}, 'w')\nclass Odd: pass\n")
    content = json.loads((checkpoint / file).read_text())
    names = {"AutoConfig": "odd.Odd", "AutoTokenizer": ["odd.Odd", "odd.Odd"], "AutoModelForCausalLM": "odd.Odd"}
    (checkpoint / file).write_text(json.dumps(content | {"auto_map": names}))
    with contextlib.suppress(CheckpointError):
        load(checkpoint)
    assert not proof.exists()


def test_an_index_of_weights_names_files_of_its_own_folder_only(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint.parent / "model.safetensors")
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../model.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"index\.json: names files in other folders, such as '\.\./model"):
        load(checkpoint)


def test_an_announced_header_beyond_the_file_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "odd.safetensors").write_bytes((2**63 - 1).to_bytes(8, "little") + b"{}")
    assert weights_identity(tmp_path).startswith("sha256 ")


def test_events_at_the_edge_of_what_is_taken_for_a_place_are_drawn(tmp_path: Path) -> None:
    far = np.full(50, 4096, dtype=np.uint16)
    write_events(tmp_path / "e.npy", x=far)
    with pytest.raises(FixtureError, match=r"e\.npy: has values of x that are not whole numbers from 0 to 4095"):
        read_events(tmp_path / "e.npy")
