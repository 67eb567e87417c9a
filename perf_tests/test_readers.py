"""Readers of MP4 files: each one versus the old script's, on the same clip, with the same pixels."""

from collections.abc import Sequence

import numpy as np
import pytest

from fixtures.data.media import mp4_file
from fixtures.pipeline import Sample
from fixtures.selection import Selection
from fixtures.video.frames import read_mp4
from fixtures.video.readers import READERS
from fixtures.video.readers.packets import slices_per_picture
from fixtures.video.readers.torchcodec import missing
from harness.measuring.rounds import Interleaved
from harness.session.recorder import Recorder
from harness.session.session import Session

REFERENCE = "legacy"


@pytest.mark.stage("readers")
@pytest.mark.usefixtures("plan")
@pytest.mark.parametrize("reader", [name for name in READERS if name != REFERENCE])
def test_read_mp4(
    reader: str, stage_samples: Sequence[Sample], selection: Selection, session: Session, recorder: Recorder
) -> None:
    """Read the first undamaged clip; fail where frames are not bit for bit those of the reference."""
    if not selection.reading("mp4"):
        pytest.skip("no selected model reads MP4 files")
    reason = missing() if reader == "torchcodec" else None
    if reason:
        pytest.skip(reason)
    count = session.options.max_frames

    def prepare(sample: Sample) -> Interleaved:
        batch, wanted = read_mp4(sample, count, reader=reader), read_mp4(sample, count, reader=REFERENCE)
        same = np.array_equal(batch.frames, wanted.frames)
        return Interleaved(
            f"{count} frames of an MP4, {batch.frames.shape[2]}x{batch.frames.shape[1]}",
            (batch.how, lambda: read_mp4(sample, count, reader=reader)),
            (wanted.how, lambda: read_mp4(sample, count, reader=REFERENCE)),
            {"slices a picture": str(slices_per_picture(mp4_file(sample)))},
            "" if same else f"{reader} gives other pixels than {REFERENCE}",
        )

    recorder.measure_side_by_side(stage_samples, prepare)
