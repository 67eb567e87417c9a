"""`prepare --cache`: what it keeps is what a run finds, and nothing counts as kept that is not there."""

from __future__ import annotations

import shutil

import pytest
import torch

from fixtures import clip_files
from fixtures.__main__ import main
from fixtures.dataset import Dataset
from fixtures.embedded import EmbeddedSpec, ensure_embedded
from fixtures.errors import CheckpointError, ChoiceError
from fixtures.frame_cache import open_frame_cache
from fixtures.page_cache import WARM
from fixtures.preparation_cache import TARGETS, CacheWish, _opened
from fixtures.preparation_command import Wishes, prepare

HIT = "cache hit, checksum verified"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return ensure_embedded(EmbeddedSpec(2, 96, 64, 0.5), tmp_path_factory.mktemp("embedded"))


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "data")


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Each test is a process of its own, with the page cache known."""
    _opened.cache_clear()
    monkeypatch.setattr(clip_files, "state_of", lambda _: WARM)


def wishes(folder, mode, **changes):
    cache = {"mode": mode, "folder": folder.parent / "cache", "model_set": "tiny", "models": TARGETS} | changes
    return Wishes(folder, workers=cache.pop("workers", 1), cache=CacheWish(**cache))


def states(wish):
    return {(each.job.sample.id, each.job.key): each.state for each in prepare(wish)}


@pytest.mark.parametrize("processor", ["torch", "pil"])
@pytest.mark.parametrize("mode", ["frames", "pixels"])
def test_a_run_with_the_same_options_finds_every_clip(load_tiny, tiny_folders, folder, mode, processor):
    prepare(wishes(folder, mode, processor=processor))
    cache = open_frame_cache(mode, folder.parent / "cache", None)
    for key in TARGETS:
        plain = load_tiny(key, processor=processor)
        cached = load_tiny(key, processor=processor, frame_cache=cache)
        for sample in Dataset.open(folder).samples:
            clip = cached.load(sample)
            assert clip.state == HIT
            assert torch.equal(cached.pixels(clip), plain.pixels(plain.load(sample)))


def test_what_is_there_is_left_alone_and_what_is_cut_short_is_made_again(folder):
    wish = wishes(folder, "frames")
    assert set(states(wish).values()) == {"made"}
    entries = sorted((folder.parent / "cache").iterdir())
    before = {path: path.stat().st_mtime_ns for path in entries}
    assert set(states(wish).values()) == {"there"}
    assert {path: path.stat().st_mtime_ns for path in entries} == before
    entries[0].write_bytes(entries[0].read_bytes()[:-1])
    assert sorted(states(wish).values()) == ["made", "there", "there", "there"]


def test_several_processes_fill_one_cache(folder):
    assert set(states(wishes(folder, "frames", workers=2)).values()) == {"made"}
    assert set(states(wishes(folder, "frames")).values()) == {"there"}


def test_clips_that_are_made_by_the_same_command_are_kept_too(folder):
    shutil.rmtree(folder / "mp4")
    wish = wishes(folder, "frames", models=("videollava",))
    outcomes = prepare(Wishes(folder, mp4=True, workers=1, cache=wish.cache))
    assert [(each.job.field, each.state) for each in outcomes] == [
        *[("mp4_data", "made")] * 2,
        *[("cache of frames, videollava", "made")] * 2,
    ]


def test_a_bad_clip_stops_no_other(folder):
    Dataset.open(folder).samples[0].mp4.write_bytes(b"no clip")
    outcomes = prepare(wishes(folder, "frames", models=("videollava",)))
    assert sorted(each.state for each in outcomes) == ["failed", "made"]
    (problem,) = (each.problem for each in outcomes if each.problem)
    assert "field 'mp4_data'" in problem


@pytest.mark.parametrize("limit", [1000, 8 * 96 * 64 * 3 + 5000])
def test_what_a_small_cache_could_not_keep_has_failed(folder, limit):
    """Of a cache for one clip, the second takes the first one's place."""
    outcomes = prepare(wishes(folder, "frames", models=("videollava",), limit_bytes=limit))
    kept = len(list((folder.parent / "cache").iterdir()))
    assert [each.state for each in outcomes].count("made") == kept == (0 if limit == 1000 else 1)
    assert all("Raise --cache-size" in each.problem for each in outcomes if each.state == "failed")


def test_a_cache_that_cannot_be_written_fails_with_its_folder(folder, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("fixtures.array_store.tempfile.mkstemp", refuse)
    outcomes = prepare(wishes(folder, "frames"))
    assert {each.state for each in outcomes} == {"failed"}
    assert f"{folder.parent / 'cache'}: cannot be written (Permission denied)" in outcomes[0].problem


def test_wishes_that_cannot_be_met_end_it_before_anything_is_read(folder, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(ChoiceError, match="cannot be used as a cache folder"):
        prepare(wishes(folder, "frames"))
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        prepare(wishes(folder, "pixels", model_set="checkpoint", checkpoints=(("videollava", str(tmp_path)),)))


def test_the_command_fills_the_cache_and_says_how_many(folder, capsys):
    options = ["--cache", "pixels", "--cache-dir", str(folder.parent / "cache"), "--cache_size=1GiB"]
    chosen = ["--models=videollava,llava", "--model-set=tiny", "--max_frames", "4", "--workers", "1"]
    assert main(["prepare", "--dataset_dir", str(folder), *options, *chosen]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cache of pixels, llava: 2 made, 0 there already, 0 failed",
        "cache of pixels, videollava: 2 made, 0 there already, 0 failed",
    ]
    assert set(states(wishes(folder, "pixels", max_frames=4)).values()) == {"there"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--cache=all", "invalid choice"),
        ("--cache-size=5", "takes a size"),
        ("--models=egpt", "takes videollava,llava"),
    ],
)
def test_a_wrong_option_is_a_usage_error(folder, wrong, said, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "--dataset_dir", str(folder), wrong])
    assert said in capsys.readouterr().err
