"""4-bit and 8-bit weights against 16-bit: times, memory peaks and rooflines at 7B shapes, and quality of answers."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from statistics import median
from typing import Any, cast

import pytest
import torch

from fixtures.data.dataset import Dataset
from fixtures.model_sets.loading import ModelSettings, pipeline_loaders
from fixtures.model_sets.registry import MODELS
from fixtures.models.staged import StagedBase
from fixtures.models.work import DecoderShape
from fixtures.scenes.embedded import EmbeddedSpec, ensure_embedded
from fixtures.speculation.pair import SpeculativePair
from fixtures.system.devices import use_threads_for
from fixtures.training.evaluation import HELD_OUT_SEED, Captioning, check_captions
from fixtures.training.pictures import FULL
from fixtures.training.recipes import draw_pictures
from fixtures.weights.quantization import QUANTISATIONS
from harness.figures.roofline import roofline_s
from harness.measuring import clock
from harness.measuring.device_peaks import measure_device_peaks
from harness.measuring.rounds import seconds_in_turn
from harness.records.lines import StageWork
from tests.goals.goal_table import GoalRow, GoalTable
from tests.goals.test_hardware_limit import drawn_inputs, load, work_of

PAIR = ("egpt", "videollava")
TOKENS = 17  # sixteen decoding steps
TURNS = 3
HELD_OUT_SCENES = 100
GIB = 1024**3
# The matrices of one layer (query, key, value, output; gate, up; down), the same in all three models.
MATRICES = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008)]


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """The rows of this topic, measured in pieces: the quality of answers needs no GPU."""
    rows = GoalTable("quantized", "cuda" if torch.cuda.is_available() else "cpu", in_pieces=True)
    yield rows
    rows.write()


@pytest.mark.gpu(memory_gb=40)
@pytest.mark.parametrize("key", PAIR)
def test_every_stage_side_by_side(key: str, table: GoalTable) -> None:
    """The same model three times in memory, its stages measured in turn, each with its roofline."""
    side_by_side(key, table, "full", "cuda")


@pytest.mark.gpu(memory_gb=24)
def test_pair_of_two_models_in_four_bits(table: GoalTable) -> None:
    """The memory peak of loading both models and answering one sample by the pair."""
    peak = pair_peak_bytes("full", "cuda")
    table.add("egpt and videollava in nf4, one request by the pair: peak", peak / GIB, "GiB", "under 16 GiB", 1)
    assert peak < 16 * GIB


def test_objects_named_in_four_bits(table: GoalTable) -> None:
    """The trained models caption held-out scenes in float32 and in NF4."""
    found = objects_named(HELD_OUT_SCENES)
    for key in MODELS:
        whole, packed = (100 * found[key, quantise].own.accuracy for quantise in ("none", "nf4"))
        what = f"{key} in nf4: objects named of those present, held-out scenes"
        goal = "within 2 points of float32"
        table.rows.append(GoalRow(what, packed, "%", goal, HELD_OUT_SCENES, "the same in float32", whole))
        assert packed > whole - 2


def side_by_side(key: str, table: GoalTable, model_set: str, device: str) -> None:
    """Add rows with times, rooflines, bytes and peaks of one model by each quantisation, measured in one run."""
    gc.collect()
    clock.use_device(device)
    machine = measure_device_peaks(device, ("bfloat16", "int8"))
    dtypes = {"none": "bfloat16"}
    models = {
        quantise: load(key, model_set, device, quantise=quantise, dtype=dtypes.get(quantise))
        for quantise in QUANTISATIONS
    }
    inputs = {quantise: drawn_inputs(each) for quantise, each in models.items()}
    features = {quantise: each.encode_vision(inputs[quantise]) for quantise, each in models.items()}
    least: dict[str, StageWork] = {}
    ways: list[tuple[str, Callable[[], object]]] = []
    for quantise, each in models.items():
        given = inputs[quantise], features[quantise]
        prefilled = each.prefill(given[1])
        least[f"{quantise} vision"] = work_of(each, "vision", *given)
        least[f"{quantise} prefill"] = work_of(each, "prefill", given[1], prefilled)
        answer = each.decode(prefilled, max_new_tokens=TOKENS, stop_at_eos=False)
        least[f"{quantise} decode"] = work_of(each, "decode", prefilled, answer)
        ways += [(f"{quantise} vision", partial(each.encode_vision, given[0]))]
        ways += [(f"{quantise} prefill", partial(each.prefill, given[1]))]
        ways += [(f"{quantise} prefill and decode", partial(decoded, each, given[1]))]
    seconds = {name: median(each) for name, each in seconds_in_turn(ways, TURNS).items()}
    for quantise, each in models.items():
        seconds[f"{quantise} decode"] = seconds[f"{quantise} prefill and decode"] - seconds[f"{quantise} prefill"]
        for stage in ("vision", "prefill", "decode"):
            name, steps = f"{quantise} {stage}", TOKENS - 1 if stage == "decode" else 1
            floor_s = roofline_s(least[name], machine)
            what = f"{key} {quantise.replace('none', 'bf16')}: {stage}{', a token' if steps > 1 else ''}"
            about = "the floor of this run; the ratio is its share"
            times = 1000 * seconds[name] / steps, 1000 * floor_s / steps, floor_s / seconds[name]
            table.add(what, times[0], "ms", "none", TURNS, about, times[1], times[2])
        name = f"{key} {quantise.replace('none', 'bf16')}"
        table.add(f"{name}: weights", each.facts().parameter_bytes / GIB, "GiB", "none", 1)
        if device != "cpu":
            peak = own_peak_bytes(each, inputs[quantise])
            table.add(f"{name}: peak, other models left out", peak / GIB, "GiB", "none", 1)
    decoder = DecoderShape.of(models["nf4"].language.body, models["nf4"].language.head)
    counted = sum(map(counted_bytes, MATRICES)) if model_set == "full" else 0
    if counted:
        width, vocabulary = decoder.width, decoder.vocabulary
        by_hand = 32 * counted + 2 * (vocabulary * width + 65 * width)
        table.add(
            f"{key} nf4: bytes of a step's weights", decoder.weight_bytes, "bytes", "exact", 1, "by hand", by_hand
        )
        assert decoder.weight_bytes == by_hand


def counted_bytes(shape: tuple[int, int]) -> int:
    """Bytes of an NF4 matrix: half a byte per number, a byte per block of 64, a float32 per 256 blocks, one offset."""
    numbers = shape[0] * shape[1]
    blocks = -(-numbers // 64)
    return numbers // 2 + blocks + 4 * -(-blocks // 256) + 4


def decoded(pipeline: StagedBase, features: Any) -> None:
    """Run a prompt and an answer of fixed length."""
    pipeline.decode(pipeline.prefill(features), max_new_tokens=TOKENS, stop_at_eos=False)


def own_peak_bytes(pipeline: StagedBase, inputs: Any) -> int:
    """The memory peak of stages 3 and 4 and the model's weights, without other memory that was allocated before."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    decoded(pipeline, pipeline.encode_vision(inputs))
    return torch.cuda.max_memory_allocated() - before + pipeline.facts().parameter_bytes


def pair_peak_bytes(model_set: str, device: str) -> int:
    """The device's memory peak while both models are made in NF4 and the pair answers one request."""
    gc.collect()  # pipelines of earlier tests are in reference cycles
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    settings = ModelSettings(model_set=model_set, device=device, quantise="nf4")
    loaders = pipeline_loaders(settings, PAIR)
    draft, target = (cast("StagedBase", loaders[key]()) for key in PAIR)
    (sample,) = Dataset.open(ensure_embedded(EmbeddedSpec.parse("1:640x480:1")), None, None, 5).samples
    pair = SpeculativePair(draft, target, gamma=5, max_new_tokens=32, stop_at_eos=False)
    found = pair.generate_speculative(sample, clock.now)
    assert len(found.generation.token_ids) == 32
    return torch.cuda.max_memory_allocated() if device != "cpu" else 0


def objects_named(scenes: int) -> dict[tuple[str, str], Captioning]:
    """(model, quantisation) -> captioning of held-out scenes, on the CPU."""
    cases = [(key, quantise) for key in MODELS for quantise in ("none", "nf4")]
    with ProcessPoolExecutor(min(len(cases), os.cpu_count() or 1), mp_context=get_context("spawn")) as pool:
        return dict(zip(cases, pool.map(partial(_captions, scenes), cases), strict=True))


def _captions(scenes: int, case: tuple[str, str]) -> Captioning:
    key, quantise = case
    use_threads_for("tiny", "cpu")
    settings = ModelSettings(quantise=quantise)
    pipeline = cast("StagedBase", pipeline_loaders(settings, [key])[key]())
    return check_captions(pipeline, draw_pictures(pipeline, range(HELD_OUT_SEED, HELD_OUT_SEED + scenes), FULL))
