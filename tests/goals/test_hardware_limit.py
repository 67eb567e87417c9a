"""Stages 3 and 4 of the 7B shapes beside what the device could do: every engine, and the library's own generate().

Each test can be run by itself, as by ARGS="-k graph": the rows of the others stay.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, cast

import numpy as np
import pytest

from fixtures.model_sets.loading import ModelSettings, pipeline_loaders
from fixtures.models.staged import StagedBase
from fixtures.pipeline import ModelInputs, Prefilled, RawClip, VisionFeatures
from harness.figures.roofline import roofline_s
from harness.measuring import clock
from harness.measuring.device_peaks import measure_device_peaks
from harness.records.lines import MachineRecord, StageWork
from tests import ROOT
from tests.goals.goal_table import GoalRow, GoalTable

IMAGES = {"egpt": 5, "videollava": 8}
PROMPTS = {"egpt": 637, "videollava": 2076}
ANSWER = 102
ROUNDS = 10
# Stages' goals in milliseconds, and what they are said to take elsewhere; decoding by the token.
GOALS = {
    ("egpt", "vision"): 3.85,
    ("egpt", "prefill"): 13.8,
    ("egpt", "decode"): 3.6,
    ("videollava", "vision"): 2.7,
    ("videollava", "prefill"): 45.5,
    ("videollava", "decode"): 3.75,
    ("videollava", "decode", "graph-fast"): 3.6,
}
START = "import sys; from tests.goals.test_hardware_limit import start_s; print(*start_s(*sys.argv[1:]))"


@pytest.fixture(scope="module")
def table() -> Iterator[GoalTable]:
    """All rows of this topic; written when the last test is through."""
    rows = GoalTable("hardware_limit", "cuda", in_pieces=True)
    yield rows
    rows.write()


@pytest.fixture(scope="module")
def machine(table: GoalTable) -> MachineRecord:
    """What the device can do, measured in this run."""
    clock.use_device("cuda")
    rates = measure_device_peaks("cuda", ("float16", "bfloat16"))
    table.add("read bandwidth", rates.read_bytes_per_s / 1e12, "TB/s", "none", 1)
    table.add("copy bandwidth", rates.copy_bytes_per_s / 1e12, "TB/s", "none", 1)
    for dtype, rate in rates.operations_per_s.items():
        table.add(f"products of {dtype}", rate / 1e12, "TFLOP/s", "none", 1)
    return rates


@pytest.mark.gpu(memory_gb=24)
@pytest.mark.parametrize("key", ["videollava", "egpt"])
@pytest.mark.parametrize("engines", [("eager",), ("graph", "graph-fast"), ("static",)], ids="-".join)
def test_every_stage(engines: Sequence[str], key: str, table: GoalTable, machine: MachineRecord) -> None:
    """Medians of several rounds on one sample; the first time through an engine, which prepares it, apart."""
    pipeline = load(key, "full", "cuda")
    inputs = drawn_inputs(pipeline)
    for engine in engines:
        first_s, runner = timed(partial(started, pipeline, engine, inputs))
        if engine != "eager":
            goal = "3 s or less, warm" if engine == "graph" else "none"
            table.add(f"{key} {engine}: first sample, caches as found", first_s, "s", goal, 1)
        for row in stage_rows(runner, inputs, machine, engine):
            table.rows.append(row)
    if key == "videollava" and "graph" in engines:
        table.rows.extend(generate_rows(pipeline, inputs, table))


@pytest.mark.gpu(memory_gb=24)
def test_static_starts_from_a_warm_disk_cache(table: GoalTable) -> None:
    """In a fresh process, after the test above has filled torch's cache: from the loaded model to the first answer."""
    command = [sys.executable, "-c", START, "videollava", "full", "cuda"]
    found = subprocess.run(command, check=True, cwd=ROOT, timeout=300, capture_output=True, text=True)
    seconds, graphs = map(float, found.stdout.split()[-2:])
    table.add("videollava static: first sample, warm disk cache", seconds, "s", "none", 1)
    table.add("videollava static: graphs found in the disk cache", graphs, "graphs", "none", 1)


def load(key: str, model_set: str, device: str, **how: Any) -> StagedBase:
    """The pipeline of `key`, with a question that makes its prompt as long as the published one."""
    settings = ModelSettings(model_set=model_set, device=device, **how)
    pipeline = cast("StagedBase", pipeline_loaders(settings, [key])[key]())
    asked, images = pipeline.settings.query, IMAGES[key]
    missing = PROMPTS[key] - prompt_length(pipeline, images) if model_set == "full" else 0
    pipeline.settings = replace(pipeline.settings, query=asked + " a" * missing)
    return pipeline


def prompt_length(pipeline: StagedBase, images: int) -> int:
    """How many positions the prompt takes: EventGPT's one placeholder stands for all its visual tokens."""
    written = pipeline.prompt_ids(images).shape[1]
    return written + pipeline.visual_tokens() - 1 if pipeline.key == "egpt" else written


def drawn_inputs(pipeline: StagedBase) -> ModelInputs:
    """Pictures of noise: no stage of these looks at what is in them."""
    shape = (IMAGES[pipeline.key], 480, 640, 3)
    pictures = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    return pipeline.preprocess(RawClip(tuple(pictures), "drawn"))


def started(pipeline: StagedBase, engine: str, inputs: ModelInputs) -> StagedBase:
    """The pipeline by an engine that has been through all that it will be timed on."""
    runner = pipeline.with_engine(engine)
    runner.decode(runner.prefill(runner.encode_vision(inputs)), max_new_tokens=4, stop_at_eos=False)
    return runner


def start_s(key: str, model_set: str, device: str) -> tuple[float, int]:
    """Seconds from the loaded model to the first answer of `static`, and how many graphs torch's disk cache had."""
    clock.use_device(device)
    pipeline = load(key, model_set, device)
    inputs = drawn_inputs(pipeline)
    seconds, _ = timed(lambda: started(pipeline, "static", inputs))
    from torch._dynamo.utils import counters

    return seconds, int(counters["inductor"]["fxgraph_cache_hit"])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and what it gave."""
    start = clock.now()
    result = work()
    return clock.now() - start, result


def stage_rows(pipeline: StagedBase, inputs: ModelInputs, machine: MachineRecord, engine: str) -> Iterator[GoalRow]:
    """The three stages of one engine, each beside its floor, and all of them together."""
    features = pipeline.encode_vision(inputs)
    rounds = ROUNDS if engine != "eager" else 3
    vision_s = median([timed(lambda: pipeline.encode_vision(inputs))[0] for _ in range(rounds)])
    yield stage_row(
        pipeline, "vision", engine, vision_s, work_of(pipeline, "vision", inputs, features), machine, rounds
    )
    prefilled = pipeline.prefill(features)
    work = work_of(pipeline, "prefill", features, prefilled)
    del prefilled
    prefill_s = median([timed(lambda: pipeline.prefill(features))[0] for _ in range(rounds)])
    yield stage_row(pipeline, "prefill", engine, prefill_s, work, machine, rounds)
    decode_s, work = decoding(pipeline, features, rounds)
    yield stage_row(pipeline, "decode", engine, decode_s, work, machine, rounds)
    if pipeline.key == "videollava":
        goal = "480 ms or less" if engine != "eager" else "none"
        whole_s = vision_s + prefill_s + decode_s
        yield GoalRow(f"videollava {engine}: stages 3 and 4, {ANSWER} tokens", 1000 * whole_s, "ms", goal, rounds)


def decoding(pipeline: StagedBase, features: VisionFeatures, rounds: int) -> tuple[float, StageWork]:
    """Seconds of an answer of fixed length, and its least work."""
    seconds = []
    for _ in range(rounds):
        prefilled = pipeline.prefill(features)
        start = clock.now()
        answer = pipeline.decode(prefilled, max_new_tokens=ANSWER, stop_at_eos=False)
        seconds.append(clock.now() - start)
        work = work_of(pipeline, "decode", prefilled, answer)
        del prefilled  # or the next prompt would need a cache of its own
    return median(seconds), work


def stage_row(
    pipeline: StagedBase, stage: str, engine: str, seconds: float, work: StageWork, machine: MachineRecord, rounds: int
) -> GoalRow:
    """Milliseconds, of decoding by the token; the reference is the floor, and the ratio its share in the time."""
    steps = ANSWER - 1 if stage == "decode" else 1
    least_s = roofline_s(work, machine)
    goal = GOALS.get((pipeline.key, stage, engine), GOALS.get((pipeline.key, stage))) if engine != "eager" else None
    return GoalRow(
        f"{pipeline.key} {engine}: {stage}{', a token' if stage == 'decode' else ''}",
        1000 * seconds / steps,
        "ms",
        f"{goal:g} ms or less" if goal else "none",
        rounds,
        "the floor of this run; the ratio is its share",
        1000 * least_s / steps,
        least_s / seconds,
    )


def work_of(
    pipeline: StagedBase, stage: str, given: ModelInputs | VisionFeatures | Prefilled, output: Any
) -> StageWork:
    """The stage's least work as the harness takes it."""
    work = pipeline.work(stage, given, output)
    assert work is not None
    return StageWork(work.bytes, work.operations, work.dtype)


def generate_rows(pipeline: StagedBase, inputs: ModelInputs, table: GoalTable) -> Iterator[GoalRow]:
    """The library's own generate(): what a further token costs, and how many times faster the best engine is."""
    short, long = 8, 32

    def generate(tokens: int) -> float:
        given = {"input_ids": inputs.input_ids, "pixel_values_videos": inputs.pixel_values[None]}
        length = {"min_new_tokens": tokens, "max_new_tokens": tokens, "do_sample": False, "eos_token_id": None}
        return timed(lambda: pipeline.model.generate(**given, **length))[0]

    generate(short)
    rounds = 3
    per_token = [(generate(long) - generate(short)) / (long - short) for _ in range(rounds)]
    reference_ms = 1000 * median(per_token)
    yield GoalRow("videollava generate(): decode, a token", reference_ms, "ms", "none", rounds)
    best = min(
        (row for row in table.rows if row.what.endswith("decode, a token") and "videollava" in row.what), key=_ms
    )
    yield GoalRow(
        "the fastest engine beside generate(), a token", best.value, "ms", "at least 4.8 times faster", ROUNDS,
        f"generate(); the fastest is {best.what.partition(':')[0]}", reference_ms, reference_ms / best.value,
    )  # fmt: skip


def _ms(row: GoalRow) -> float:
    return row.value
