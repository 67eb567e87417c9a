"""Stage 1 of EventGPT from raw events and from event images, beside the loop that its authors published."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from fixtures.dataset import Sample
from fixtures.errors import SampleError
from fixtures.events import PICTURES, draw_event_images, load_events
from fixtures.frames import read_image
from fixtures.media import event_file, event_image_files
from fixtures.pipeline import RawClip, StagedPipeline
from fixtures.selection import Selection
from fixtures.staged import StagedBase
from harness.figures import LITERAL_LOOP, variant_ratios
from harness.recorder import Recorder
from harness.session import Session
from harness.stages import Length
from perf_tests.literal_drawing import draw_one_by_one

pytestmark = pytest.mark.models("egpt")

ANY_LENGTH = Length(1)
# The loop takes most of a second a sample, and takes as long for the next one.
LOOPED_SAMPLES = 1


@pytest.mark.stage("load")
def test_literal_loop(pipeline: StagedPipeline, stage_samples: Sequence[Sample], recorder: Recorder) -> None:
    """Events drawn one by one: the yardstick."""
    _need(event_file, stage_samples)

    def load(sample: Any) -> RawClip:
        return RawClip(draw_one_by_one(load_events(sample), PICTURES), "raw events (literal loop)")

    looped = stage_samples[:LOOPED_SAMPLES]
    recorder.measure_stage(pipeline, looped, length=ANY_LENGTH, variant=LITERAL_LOOP, replacement=load)


@pytest.mark.stage("load")
def test_raw_events(
    pipeline: StagedPipeline, stage_samples: Sequence[Sample], recorder: Recorder, session: Session
) -> None:
    """What `--no_event_image` does."""
    _need(event_file, stage_samples)
    load = _load_of(pipeline, use_event_image=False)
    recorder.measure_stage(pipeline, stage_samples, length=ANY_LENGTH, variant="raw events", replacement=load)
    _say_how_many_times_as_fast(recorder, session)


@pytest.mark.stage("load")
def test_event_images(
    pipeline: StagedPipeline, stage_samples: Sequence[Sample], recorder: Recorder, session: Session
) -> None:
    """What `--use_event_image` does."""
    _need(event_image_files, stage_samples)
    load = _load_of(pipeline, use_event_image=True)
    recorder.measure_stage(pipeline, stage_samples, length=ANY_LENGTH, variant="event images", replacement=load)
    _say_how_many_times_as_fast(recorder, session)


def test_all_ways_give_the_same_pixels(stage_samples: Sequence[Sample], selection: Selection, session: Session) -> None:
    """Otherwise their times would not compare. The event images of a user's own dataset may be of other making."""
    if selection.draft is None:
        pytest.skip("only the draft looks at events, and it takes no part")
    _need(event_file, stage_samples)
    for sample in stage_samples[:LOOPED_SAMPLES]:
        events = load_events(sample)
        assert _same(draw_event_images(events), draw_one_by_one(events, PICTURES))
    _need(event_image_files, stage_samples)
    others = [
        sample.id for sample in stage_samples if not _same(_stored(sample), draw_event_images(load_events(sample)))
    ]
    if others:
        complaint = (
            f"the event images of {', '.join(others)} are not what is drawn of their events, so that --no_event_image "
            "shows the model other pictures; `python -m fixtures prepare --event-images` makes them where they lack"
        )
        assert session.options.dataset_dir is not None, complaint
        session.advice.append(complaint)


def _load_of(pipeline: StagedPipeline, *, use_event_image: bool) -> Callable[[Sample], RawClip]:
    """The model's own stage 1, under another setting than the run's."""
    other = copy.copy(cast("StagedBase", pipeline))
    other.settings = replace(other.settings, use_event_image=use_event_image)
    return other.load


def _stored(sample: Sample) -> tuple[Any, ...]:
    return tuple(read_image(path) for path in event_image_files(sample))


def _same(pictures: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(pictures) == len(others) and all(map(np.array_equal, pictures, others))


def _need(find: Callable[[Sample], object], samples: Sequence[Sample]) -> None:
    """Skip, in words, where the dataset lacks what the models of this run need not have."""
    try:
        for sample in samples:
            find(sample)
    except SampleError as error:
        pytest.skip(str(error))


def _say_how_many_times_as_fast(recorder: Recorder, session: Session) -> None:
    if session.run is not None:
        found = variant_ratios(session.run.read())
        ratios = {ratio.variant: ratio.factor for ratio in found if ratio.yardstick == LITERAL_LOOP}
        recorder.benchmark.extra_info["times_as_fast_as_the_literal_loop"] = ratios
