"""From a DSEC-like recording to a report: `prepare --dsec`, and the suite on what it made."""

import json
import os
from contextlib import redirect_stdout
from io import StringIO

import pytest

from fixtures.__main__ import main
from fixtures.data.dataset import JSON_NAME

pytestmark = pytest.mark.slow
SCENE = "1:160x120:1"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A folder with one sequence, and the dataset folder that was made of it: clips of half a second."""
    folder = tmp_path_factory.mktemp("recorded")
    sequences, made = folder / "dsec", folder / "made"
    words = ["prepare", f"--dsec={sequences}", "--clip=500ms", f"--dataset_dir={made}", "--workers=1"]
    with redirect_stdout(StringIO()) as printed:
        assert main(["embedded", f"--embedded={SCENE}", f"--dsec={sequences}"]) == 0
        assert main(words) == 0
    assert "clip: 3 made, 0 there already, 0 failed" in printed.getvalue()
    return sequences, made


def test_a_recording_becomes_a_dataset_that_the_suite_measures_and_reports(suite, recorded):
    _, made = recorded
    result = suite.run(f"--dataset_dir={made}", "--model-set=tiny", "--report", "-k", "test_load or test_draw_events")
    assert result.returncode == 0, result.stdout
    run = suite.record()
    assert [sample.id for sample in run.header.samples] == [f"embedded_00_{number:06d}" for number in range(3)]
    assert {each.model for each in run.stages} == {"egpt", "videollava", "llava"}
    assert all(len(each.cold_s) == 3 and not each.failures for each in run.stages)
    report = (suite.output / "report.html").read_text(encoding="utf-8")
    assert all(name in report for name in ("egpt", "videollava", "llava", "load"))


def test_windows_of_the_recording_itself_are_a_raw_source(suite, recorded):
    sequences, made = recorded
    clips = json.loads((made / JSON_NAME).read_text(encoding="utf-8"))
    os.link(sequences / "embedded_00/events.h5", made / "event_npy/embedded_00/events.h5")
    for entry in clips:
        start, end = entry["window_us"]
        entry["event_data"] = f"embedded_00/events.h5#{start}-{end}"
    windows = made / "windows.json"
    windows.write_text(json.dumps(clips), encoding="utf-8")
    words = (f"--dataset_dir={made}", f"--dataset_json={windows}", "--model-set=tiny", "--models=egpt")
    result = suite.run(*words, "--no_event_image", "-k", "test_load or test_draw_events")
    assert result.returncode == 0, result.stdout
    (load,) = [each for each in suite.record().stages if each.model == "egpt"]
    assert all(source.startswith("raw events (dsec h5)") for source in load.sources)
    assert len(load.cold_s) == 3
    assert not load.failures
