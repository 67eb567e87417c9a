"""Stage 1 of EventGPT from raw events, versus the authors' published loop, and versus stored event images."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.data.events import PICTURES, draw_event_images, load_events
from fixtures.data.media import as_sample_error, event_file, event_image_files
from fixtures.errors import SampleError
from fixtures.pipeline import Sample
from fixtures.selection import Selection
from fixtures.video.frames import read_image
from harness.measuring.rounds import Interleaved
from harness.session.recorder import Recorder
from harness.session.session import Session
from perf_tests.literal_drawing import draw_one_by_one

Drawn = Sequence[NDArray[np.uint8]]


@pytest.fixture
def samples_with_events(selection: Selection, stage_samples: Sequence[Sample]) -> Sequence[Sample]:
    """Return the samples of stage tests; skip where no model uses events, or the dataset lacks them."""
    if not selection.reading("events"):
        pytest.skip("no selected model looks at events")
    _skip_without(event_file, stage_samples)
    return stage_samples


@pytest.mark.stage("events")
@pytest.mark.usefixtures("plan")
def test_draw_events(samples_with_events: Sequence[Sample], session: Session, recorder: Recorder) -> None:
    """Draw five pictures of the same events, vectorised and event by event, without reading the file."""

    def prepare(sample: Sample) -> Interleaved:
        events = load_events(sample)
        same = _same(draw_event_images(events), draw_one_by_one(events, PICTURES))
        return Interleaved(
            f"{PICTURES} pictures of {len(events)} events",
            ("vectorised", lambda: draw_event_images(events)),
            ("one by one", lambda: draw_one_by_one(events, PICTURES)),
            complaint="" if same else f"the events of {sample.id} give other pictures than drawn one by one",
        )

    pairs = session.options.rounds or 2  # the loop takes a good part of a second, a hundred times as long
    recorder.measure_side_by_side(samples_with_events, prepare, pairs=pairs)


@pytest.mark.stage("events")
@pytest.mark.usefixtures("plan")
def test_load_raw_events(samples_with_events: Sequence[Sample], session: Session, recorder: Recorder) -> None:
    """Draw pictures from raw events, as `--no_event_image` does, versus loading the stored event images."""
    _skip_without(event_image_files, samples_with_events)

    def prepare(sample: Sample) -> Interleaved:
        complaint, stored = "", _stored(sample)
        if not _same(stored, _drawn(sample, len(stored))):
            complaint = (
                f"the event images of {sample.id} differ from pictures drawn from its events, so --no_event_image "
                "shows the model other pictures; `python -m fixtures prepare --event-images` makes missing ones"
            )
        if complaint and session.options.dataset_dir is not None:  # a user's images may be made otherwise
            session.advice.append(complaint)
            complaint = ""
        return Interleaved(
            f"{len(stored)} event images from files",
            ("raw events", lambda: _drawn(sample, len(stored))),
            ("event images (png)", lambda: _stored(sample)),
            complaint=complaint,
        )

    recorder.measure_side_by_side(samples_with_events, prepare)


def _skip_without(find: Callable[[Sample], object], samples: Sequence[Sample]) -> None:
    """Skip with the reason where the first sample lacks an optional file; a damaged file is not missing."""
    try:
        find(samples[0])
    except SampleError as error:
        pytest.skip(str(error))


def _drawn(sample: Sample, count: int) -> Drawn:
    return draw_event_images(load_events(sample, at_least=count), count)


def _stored(sample: Sample) -> Drawn:
    with as_sample_error(sample, "event_image"):
        return [read_image(path) for path in event_image_files(sample)]


def _same(pictures: Drawn, others: Drawn) -> bool:
    return len(pictures) == len(others) and all(map(np.array_equal, pictures, others))
