"""The three models at both sizes: times and memory at 7B shapes, and the captions of the small models."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import cast

import pytest

from fixtures.model_sets.loading import ModelSettings, pipeline_loaders
from fixtures.model_sets.registry import MODELS
from fixtures.models.staged import StagedBase
from fixtures.system.devices import use_threads_for
from fixtures.training.evaluation import HELD_OUT_SEED, Captioning, check_captions
from fixtures.training.pictures import FULL
from fixtures.training.recipes import draw_pictures
from harness.figures.passes import comparisons
from harness.figures.stages import peak_bytes, stage_figures
from harness.records.journal import read_journal
from harness.records.lines import RunRecord
from harness.records.quantities import MIB
from tests import ROOT
from tests.goals.goal_table import GoalRow, GoalTable

HELD_OUT_SCENES = 200
CARD_GIB = 20


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """The rows of this topic, measured in pieces: the rows for 7B shapes need a GPU, the others do not."""
    import torch

    rows = GoalTable("models", "cuda" if torch.cuda.is_available() else "cpu", in_pieces=True)
    yield rows
    rows.write()


@pytest.mark.gpu(memory_gb=CARD_GIB)
def test_full_models_stage_by_stage(table: GoalTable, tmp_path: Path) -> None:
    """One run of the suite by the user's command; its wall time includes making the models."""
    start = time.perf_counter()
    run = _run_suite(tmp_path / "full", "--model-set", "full")
    table.add("pytest perf_tests --model-set full", time.perf_counter() - start, "s", "under 180 s", 1)
    table.rows.extend(_rows_of_stages(run))


def test_tiny_models_name_what_is_there(table: GoalTable) -> None:
    """Captions of held-out scenes name their objects; the control compares with the objects of the next scene."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        captionings = list(pool.map(_captions_of_held_out_scenes, MODELS))
    for key, found in zip(MODELS, captionings, strict=True):
        assert found.scenes == HELD_OUT_SCENES
        what = f"{key}: objects named of those present, held-out scenes"
        control = "the same, against another scene's objects"
        accuracy = GoalRow(
            what, 100 * found.own.accuracy, "%", "above 80 %", found.scenes, control, 100 * found.control.accuracy
        )
        table.rows.append(accuracy)
        table.add(f"{key}: tokens a caption", found.tokens, "tokens", "none", found.scenes)


def test_tiny_draft_agrees_with_the_targets(table: GoalTable, tmp_path: Path) -> None:
    """Position-wise agreement on the embedded dataset, from the suite's own whole pass."""
    run = _run_suite(tmp_path / "tiny", "-k", "test_whole_pipeline and not fixed")
    for comparison in comparisons(run):
        what = f"position-wise agreement of egpt and {comparison.target}, all tokens"
        row = GoalRow(what, comparison.agreement_token_weighted, "share", "above 0", comparison.total.samples)
        table.rows.append(row)


def _rows_of_stages(run: RunRecord) -> Iterator[GoalRow]:
    """Times by model, engine and stage, and the most memory of each model."""
    for figure in stage_figures(run):
        name = " ".join(filter(None, (figure.model, figure.engine, figure.stage, figure.variant)))
        yield GoalRow(name, 1000 * figure.seconds.median, "ms", "none", figure.seconds.n)
        if figure.median_ms_per_token is not None:
            yield GoalRow(f"{name}, a token", figure.median_ms_per_token, "ms", "none", figure.seconds.n)
    for model in run.header.models:
        peak = max(peak for (key, _), peak in peak_bytes(run).items() if key == model)
        yield GoalRow(f"{model} peak allocated", peak / MIB, "MiB", f"below {CARD_GIB * 1024} MiB", len(run.stages))


def _captions_of_held_out_scenes(key: str) -> Captioning:
    use_threads_for("tiny", "cpu")
    pipeline = cast("StagedBase", pipeline_loaders(ModelSettings(), [key])[key]())
    seeds = range(HELD_OUT_SEED, HELD_OUT_SEED + HELD_OUT_SCENES)
    return check_captions(pipeline, draw_pictures(pipeline, seeds, FULL, workers=os.cpu_count() or 1))


def _run_suite(output: Path, *arguments: str) -> RunRecord:
    command = [sys.executable, "-m", "pytest", "perf_tests", "--output-dir", str(output), "-q", *arguments]
    subprocess.run(command, check=True, cwd=ROOT, timeout=540)
    return read_journal(output / "journal.jsonl")
