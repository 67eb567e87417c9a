"""Stage 1 out of the cache: the same bits as without it, and a state that says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from fixtures import array_store, clip_files, egpt, frame_cache
from fixtures.clip_files import load_clip, mp4_clip
from fixtures.dataset import Dataset
from fixtures.embedded import EmbeddedSpec, ensure_embedded
from fixtures.errors import ChoiceError, SampleError
from fixtures.frame_cache import FrameCache, open_frame_cache
from fixtures.page_cache import COLD, WARM

MODES, TARGETS = ("frames", "pixels"), ("videollava", "llava")
HIT, FIRST_HIT, MISS = "cache hit", "cache hit, checksum verified", f"{WARM}, cache miss"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return ensure_embedded(EmbeddedSpec(2, 96, 64, 0.5), tmp_path_factory.mktemp("embedded"))


@pytest.fixture
def samples(dataset, tmp_path):
    """Of a copy that a test may damage."""
    return Dataset.open(shutil.copytree(dataset, tmp_path / "data")).samples


@pytest.fixture
def opened(tmp_path):
    """Open the cache of this test anew, as another process would."""
    return lambda mode, size=2**30: open_frame_cache(mode, tmp_path / "cache", size)


@pytest.fixture(autouse=True)
def warm(monkeypatch):
    """Whether the temporary folder's file system says what is in the page cache is not the question here."""
    for module in (clip_files, egpt):
        monkeypatch.setattr(module, "state_of", lambda files: WARM if list(files) else None)


def states(pipeline, sample, times):
    return [pipeline.load(sample).state for _ in range(times)]


@pytest.mark.parametrize("processor", ["torch", "pil"])
@pytest.mark.parametrize("key", TARGETS)
@pytest.mark.parametrize("mode", MODES)
def test_inputs_are_bit_equal_with_and_without_the_cache(load_tiny, samples, opened, *, mode, key, processor):
    plain = load_tiny(key, processor=processor)
    cached = load_tiny(key, processor=processor, frame_cache=opened(mode))
    for sample in samples:
        wanted = plain.preprocess(plain.load(sample))
        clips = [cached.load(sample) for _ in range(3)]
        assert [clip.state for clip in clips] == [MISS, HIT, HIT]
        assert len({clip.source for clip in (*clips, plain.load(sample))}) == 1
        for clip in clips:
            found = cached.preprocess(clip)
            assert torch.equal(found.pixel_values, wanted.pixel_values)
            assert torch.equal(found.input_ids, wanted.input_ids)


@pytest.mark.parametrize("key", [*TARGETS, "egpt"])
def test_without_a_cache_a_clip_says_that_its_files_are_in_the_page_cache(load_tiny, samples, key):
    assert states(load_tiny(key), samples[0], 2) == [WARM, WARM]


def test_raw_events_say_so_too(load_tiny, samples):
    assert states(load_tiny("egpt", use_event_image=False), samples[0], 1) == [WARM]


def test_entries_outlive_the_process(load_tiny, samples, opened):
    first, second = (load_tiny("videollava", frame_cache=opened("frames")) for _ in range(2))
    assert states(first, samples[0], 1) == [MISS]
    assert states(second, samples[0], 2) == [FIRST_HIT, HIT]


def test_a_hit_that_had_to_look_at_a_file_on_the_disk_is_told_apart(load_tiny, samples, opened, monkeypatch):
    pipeline = load_tiny("videollava", frame_cache=opened("frames"))
    pipeline.load(samples[0])
    monkeypatch.setattr(clip_files, "state_of", lambda _: COLD)
    assert states(pipeline, samples[0], 1) == ["cache hit, from disk"]


def test_the_page_cache_is_asked_before_the_key_is_made_of_the_files(load_tiny, samples, opened, monkeypatch):
    order = []
    for module, name in ((clip_files, "state_of"), (frame_cache, "content_key")):
        monkeypatch.setattr(module, name, lambda *_, name=name: order.append(name) or name)
    load_tiny("videollava", frame_cache=opened("frames")).load(samples[0])
    assert order == ["state_of", "content_key"]


def test_an_entry_that_is_not_in_memory_is_told_apart(load_tiny, samples, opened, monkeypatch):
    pipeline = load_tiny("videollava", frame_cache=opened("frames"))
    pipeline.load(samples[0])
    for answer, state in ((False, "cache hit, from disk"), (True, HIT), (None, HIT)):
        monkeypatch.setattr(array_store, "is_resident", lambda *_, answer=answer: answer)
        assert states(pipeline, samples[0], 1) == [state]


OTHER_WAYS = {
    "mode": ({"mode": "frames"}, {"mode": "pixels"}),
    "frames": ({}, {"max_frames": 4}),
    "reader": ({}, {"video_reader": "legacy"}),
    "processor": ({"mode": "pixels"}, {"mode": "pixels", "processor": "pil"}),
}


@pytest.mark.parametrize("what", OTHER_WAYS)
def test_what_was_made_another_way_is_not_served(load_tiny, samples, opened, what):
    for settings in OTHER_WAYS[what]:
        chosen = dict(settings)
        cache = opened(chosen.pop("mode", "frames"))
        assert states(load_tiny("videollava", frame_cache=cache, **chosen), samples[0], 1) == [MISS]


def test_what_another_version_of_the_readers_made_is_not_served(load_tiny, samples, opened, monkeypatch):
    pipeline = load_tiny("videollava", frame_cache=opened("frames"))
    pipeline.load(samples[0])
    clip_files._reader_version.cache_clear()
    monkeypatch.setattr(clip_files, "implementation_hash", lambda *_: "another text")
    assert states(pipeline, samples[0], 1) == [MISS]
    clip_files._reader_version.cache_clear()


def test_what_another_version_of_the_cache_wrote_is_not_served(load_tiny, samples, opened, monkeypatch):
    pipeline = load_tiny("videollava", frame_cache=opened("frames"))
    pipeline.load(samples[0])
    monkeypatch.setattr(frame_cache, "implementation_hash", lambda *_: "another text")
    assert states(pipeline, samples[0], 2) == [MISS, HIT]


def test_a_clip_that_was_replaced_is_read_anew(load_tiny, samples, opened):
    pipeline = load_tiny("videollava", frame_cache=opened("frames"))
    before = pipeline.load(samples[0])
    shutil.copy(samples[1].mp4, samples[0].mp4)
    after = pipeline.load(samples[0])
    assert after.state == MISS
    assert not np.array_equal(after.images[0], before.images[0])


def test_a_frame_that_was_added_to_a_folder_changes_which_are_taken(load_tiny, samples, opened):
    pipeline = load_tiny("llava", frame_cache=opened("frames"))
    pipeline.load(samples[0])
    last = max(samples[0].video_folder.glob("*.png"))
    shutil.copy2(last, last.with_name("z99999.png"))
    assert states(pipeline, samples[0], 1) == [MISS]


def test_a_reader_that_fell_back_still_says_so_out_of_the_cache(load_tiny, samples, opened, monkeypatch):
    fallen = replace(clip_files.read_mp4(samples[0], 8), fallback="other codec")
    monkeypatch.setattr(clip_files, "read_mp4", lambda *_, **__: fallen)
    pipeline = load_tiny("videollava", frame_cache=opened("frames"))
    for _ in range(2):
        assert pipeline.load(samples[0]).source == "mp4 (fast reader, plain decoding: other codec)"


@pytest.mark.parametrize("mode", MODES)
def test_a_corrupt_entry_is_detected_reported_and_made_anew(load_tiny, samples, opened, tmp_path, mode):
    load_tiny("videollava", frame_cache=opened(mode)).load(samples[0])
    (entry,) = (tmp_path / "cache").iterdir()
    content = bytearray(entry.read_bytes())
    content[-7] ^= 1
    entry.write_bytes(content)
    cache = opened(mode)
    pipeline, plain = load_tiny("videollava", frame_cache=cache), load_tiny("videollava")
    rebuilt = pipeline.load(samples[0])
    assert rebuilt.state == MISS
    assert torch.equal(pipeline.pixels(rebuilt), plain.pixels(plain.load(samples[0])))
    assert states(pipeline, samples[0], 2) == [HIT, HIT]
    (trouble,) = cache.troubles
    assert str(entry) in trouble


def test_without_permission_to_write_every_clip_is_read_and_that_is_said_once(load_tiny, samples, opened, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(array_store.tempfile, "mkstemp", refuse)
    cache = opened("frames")
    assert states(load_tiny("videollava", frame_cache=cache), samples[0], 3) == [MISS] * 3
    assert len(cache.troubles) == 1


def test_a_damaged_clip_is_blamed_on_its_sample_and_nothing_of_it_is_kept(load_tiny, samples, opened, tmp_path):
    samples[0].mp4.write_bytes(b"no clip at all")
    with pytest.raises(SampleError, match="field 'mp4_data'"):
        load_tiny("videollava", frame_cache=opened("frames")).load(samples[0])
    assert not list((tmp_path / "cache").iterdir())


def test_a_file_that_vanishes_is_left_to_its_reader_to_complain_about(samples, opened):
    clip = mp4_clip(samples[0], 8, "fast")
    samples[0].mp4.unlink()
    with pytest.raises(SampleError, match="does not exist"):
        opened("frames").load(clip, None)


def test_a_cache_too_small_for_one_clip_keeps_nothing_and_says_so(load_tiny, samples, opened):
    cache = opened("frames", 1000)
    assert states(load_tiny("videollava", frame_cache=cache), samples[0], 2) == [MISS, MISS]
    assert "Raise --cache-size" in cache.troubles[0]


def test_frames_out_of_the_cache_are_the_reader_s(samples, opened):
    clip = mp4_clip(samples[0], 8, "fast")
    first, second = (opened("frames").load(clip, None) for _ in range(2))
    for one, other in pairwise((load_clip(clip), first, second)):
        assert np.array_equal(one.images, other.images)


def test_an_unknown_cache_is_refused_and_off_makes_no_folder(tmp_path):
    with pytest.raises(ChoiceError, match="there is no frame cache 'maybe': choose among off, frames, pixels"):
        open_frame_cache("maybe", None, None)
    assert isinstance(open_frame_cache("off", tmp_path / "none", None), FrameCache)
    assert not (tmp_path / "none").exists()
