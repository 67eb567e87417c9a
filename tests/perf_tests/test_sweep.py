"""`python -m harness sweep` with the suite itself: windows of a clip, of which one is longer than it."""

import os

import pytest

from tests import ROOT
from tests.forked import run_python

pytestmark = pytest.mark.slow


def test_windows_of_a_clip_are_swept_and_the_one_that_it_lacks_is_named(tmp_path):
    words = (
        str(ROOT / "perf_tests"),
        f"-c{ROOT / 'pytest.ini'}",
        "--models=egpt",
        "--no_event_image",
        "--embedded=1:96x64:0.5",
    )
    quick = (
        "--rounds=2",
        "--max_new_tokens=4",
        "--fixed_tokens=4",
        "--no_report",
        "-k",
        "load or vision or throughput",
    )
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    done = run_python(["harness", "sweep", "event_window", "50ms,400ms,3s", "--", *words, *quick], tmp_path, variables)
    assert done.returncode == 1, done.stderr
    assert "s of events, less than the window of 3 s" in done.stdout
    (folder,) = (tmp_path / "results").glob("sweep_*")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "| 50ms | EventGPT |" in text
    assert "| 400ms | EventGPT |" in text
    assert "| 3s | EventGPT |" not in text
    assert "answers/s" in text
