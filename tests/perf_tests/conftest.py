"""The real suite on a dataset of two small samples, run by pytest in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures.scenes.embedded import EmbeddedSpec, ensure_embedded
from harness.records.journal import read_journal
from tests import ROOT
from tests.forked import CHARTS, PYTEST, run_python

SMALL = "2:160x120:1"
PLUGINS = ("-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider")
SHORT_READINGS = ("-p", "tests.perf_tests.short_readings")
# Of others alone: a test may bring fixtures and a harness of its own.
LIBRARIES = (
    *(*PYTEST, *CHARTS, "torch", "av", "safetensors.torch", "tokenizers.implementations", "msgspec", "psutil"),
    *(f"transformers.models.{name}" for name in ("clip.modeling_clip", "llama.modeling_llama")),
    *(f"transformers.models.{name}.modeling_{name}" for name in ("auto", "llava", "video_llava")),
    *(f"transformers.models.auto.{name}_auto" for name in ("image_processing", "tokenization")),
)
# And of this project, but what pytest itself imports and rewrites.
ROOMS = (
    *LIBRARIES,
    *(
        "harness.session.recorder",
        "harness.report.files",
        "harness.report.terminal",
        "fixtures.selection",
        "fixtures.speculation.pair",
    ),
    *(f"fixtures.models.{name}" for name in ("egpt", "llava", "videollava", "eventgpt")),
    *(f"fixtures.model_sets.{name}" for name in ("tiny", "pretrained")),
)
# Short answers and one round: what is looked at is what comes out, not how long it took.
QUICK = ("--embedded", SMALL, "--rounds=1", "--max_new_tokens=12", "--fixed-tokens=4", "--no_report")


def run_with_libraries(words, folder, imported=LIBRARIES, **environment):
    """Run `python -m` with these words, where torch and transformers are imported already."""
    variables = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environment
    return run_python(words, folder, variables, imported)


@dataclass(frozen=True)
class Suite:
    """Runs `pytest perf_tests` and reads what it wrote into `output`."""

    cache: Path
    output: Path
    limits: Path  # none: the project's own are for samples of full size and answers of natural length

    def run(self, *arguments):
        quick = (*QUICK, f"--limits={self.limits}", f"--output-dir={self.output}")
        words = ("pytest", "perf_tests", *PLUGINS, *SHORT_READINGS, *quick, *arguments)
        return run_with_libraries(words, ROOT, ROOMS, XDG_CACHE_HOME=str(self.cache))

    def record(self):
        return read_journal(self.output / "journal.jsonl")

    def json(self, name):
        return json.loads((self.output / name).read_text(encoding="utf-8"))

    def legacy(self):
        (path,) = self.output.glob("EventGPT_Instruction_Subset_results_n*.json")
        return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A cache folder with the small dataset in it."""
    root = tmp_path_factory.mktemp("cache")
    ensure_embedded(EmbeddedSpec.parse(SMALL), root / "event-vlm-perf")
    return root


@pytest.fixture(scope="session")
def no_limits(tmp_path_factory):
    path = tmp_path_factory.mktemp("limits") / "none.toml"
    path.touch()
    return path


@pytest.fixture
def suite(cache, tmp_path, no_limits):
    return Suite(cache, tmp_path / "out", no_limits)


@pytest.fixture
def dataset_folder(cache, tmp_path):
    """A copy of the small dataset that a test may damage."""
    (made,) = (cache / "event-vlm-perf").glob("embedded-*")
    return Path(shutil.copytree(made, tmp_path / "dataset"))
