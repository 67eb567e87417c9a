"""Stage 1 of EventGPT from raw events, beside the loop that its authors published and beside the event images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.dataset import Sample
from fixtures.errors import SampleError
from fixtures.events import PICTURES, EventStream, draw_event_images, load_events
from fixtures.frames import read_image
from fixtures.media import event_image_files
from fixtures.selection import Selection
from harness.recorder import Recorder
from harness.session import Session
from perf_tests.literal_drawing import draw_one_by_one

Drawn = Sequence[NDArray[np.uint8]]
Found = TypeVar("Found")

PAIRS_PER_ROUND = 4  # a pair takes some hundredths of a second, and a single sample is read


@pytest.fixture
def events(selection: Selection, stage_samples: Sequence[Sample]) -> EventStream:
    """Those of the first sample; skips, in words, where the run has no use for them or the dataset lacks them."""
    if "egpt" not in selection.models:
        pytest.skip("of the models, only egpt looks at events, and it was not selected")
    return _there(lambda: load_events(stage_samples[0]))


@pytest.mark.stage("events")
@pytest.mark.usefixtures("plan")
def test_draw_events(
    events: EventStream, stage_samples: Sequence[Sample], session: Session, recorder: Recorder
) -> None:
    """Reading not included: five pictures of the same events, all at once and one by one."""
    assert _same(draw_event_images(events), draw_one_by_one(events, PICTURES))
    recorder.measure_side_by_side(
        f"{PICTURES} pictures of {len(events)} events",
        ("vectorised", lambda: draw_event_images(events)),
        ("one by one", lambda: draw_one_by_one(events, PICTURES)),
        conditions={"sample": stage_samples[0].id},
        rounds=session.options.rounds,
    )


@pytest.mark.stage("events")
@pytest.mark.usefixtures("plan", "events")
def test_load_raw_events(stage_samples: Sequence[Sample], session: Session, recorder: Recorder) -> None:
    """What `--no_event_image` does, beside what is done by default."""
    sample = stage_samples[0]
    stored = _there(lambda: _stored(sample))
    if not _same(stored, draw_event_images(load_events(sample))):
        complaint = (
            f"the event images of {sample.id} are not what is drawn of its events, so that --no_event_image shows the "
            "model other pictures; `python -m fixtures prepare --event-images` makes them where they lack"
        )
        assert session.options.dataset_dir is not None, complaint  # a user's own may be of other making
        session.advice.append(complaint)
    recorder.measure_side_by_side(
        f"{PICTURES} event images from files",
        ("raw events", lambda: draw_event_images(load_events(sample))),
        ("event images (png)", lambda: _stored(sample)),
        conditions={"sample": sample.id},
        rounds=session.options.rounds * PAIRS_PER_ROUND,
    )


def _there(find: Callable[[], Found]) -> Found:
    """Skip, in words, where the dataset lacks what the models of this run need not have."""
    try:
        return find()
    except SampleError as error:
        pytest.skip(str(error))


def _stored(sample: Sample) -> Drawn:
    return [read_image(path) for path in event_image_files(sample)]


def _same(pictures: Drawn, others: Drawn) -> bool:
    return len(pictures) == len(others) and all(map(np.array_equal, pictures, others))
