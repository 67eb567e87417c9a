"""A run in which nothing equals anything else: each model, engine, stage, sample and round has a value of its own."""

from __future__ import annotations

import hashlib
from typing import Any

from harness.records.lines import (
    EndRecord,
    GateRecord,
    MachineRecord,
    ModelRecord,
    PassRecord,
    ReferenceWorkRecord,
    RunRecord,
    SideBySideRecord,
    StageRecord,
    StageWork,
    VerdictRecord,
)
from harness.records.quantities import MemoryPeak
from harness.records.speculation import AgreementRecord, RoundLog, SpeculationCostRecord, SpeculationRecord
from harness.stages import STAGES
from tests.harness.made_runs import ENVIRONMENT, STARTED_AT, failed_pass, header, stage_test, whole_pass

MODELS, TARGETS, ENGINES = ("egpt", "videollava", "llava"), ("videollava", "llava"), ("eager", "graph")
SAMPLES = tuple(f"s{number}" for number in range(12))
STAGE_SAMPLES = SAMPLES[:4]
SLOWNESS = {"egpt": 1.0, "videollava": 3.1, "llava": 2.3}
APART = {"egpt": "s3", "videollava": "s5", "llava": "s7"}
GAMMA = 4
OBJECTS, REFERENCE = ("van", "bus", "horse"), "A van and two buses."


def distinct(*key: object) -> float:
    """Return a number between 0.5 and 1.5 that no other key has."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return 0.5 + int.from_bytes(digest[:6], "big") / 2**48


def some(most: int, *key: object) -> int:
    """Return a whole number from 1 to `most`."""
    return 1 + int((distinct(*key) - 0.5) * most)


def distinct_run(device: str = "cuda") -> RunRecord:
    """The run; s11 failed for llava, so that not all models have the same samples."""
    gpu = {"gpu": {"name": "a card", "memory_bytes": 24 << 30, "power_cap_w": 700.0}} if device == "cuda" else {}
    fields: dict[str, Any] = {
        "header": header(
            SAMPLES,
            REFERENCE,
            objects=OBJECTS,
            models=MODELS,
            targets=TARGETS,
            engines=ENGINES,
            device=device,
            environment=ENVIRONMENT | {"memory_bytes": 64 << 30} | gpu,
            options={"gamma": GAMMA, "loader_workers": 3},
        ),
        "models": tuple(
            ModelRecord(each, 9 * distinct("loaded", each), int(1e9 * distinct("weights", each)), {}) for each in MODELS
        ),
        "stages": (
            *(_stage(model, stage, engine) for model in MODELS for stage in STAGES for engine in _engines(stage)),
            _stage("videollava", "load", None, "legacy reader"),
        ),
        "passes": (
            *(_pass(model, engine, each) for model in MODELS for engine in ENGINES for each in SAMPLES),
            *(_other("unsynchronised", *key) for key in _keys(SAMPLES[:5])),
            *(_other("throughput", *key) for key in _keys(SAMPLES)),
        ),
        "side_by_side": tuple(_ways(number) for number in range(3)),
        "agreements": tuple(_agreement(*key) for key in _pairs()),
        "speculations": tuple(_request(*key) for key in _pairs()),
        "speculation_costs": tuple(_cost(target, engine) for target in TARGETS for engine in ENGINES),
        "verdicts": (VerdictRecord("eager.speedup.llava.total", "pass", "fast enough", "t", 3.0, 2.0),),
        "gates": tuple(_gate(metric) for metric in ("time.load.egpt", "time.load.llava", "acceptance.llava.eager")),
        "machine": MachineRecord(1.1e9, 1.3e9, {"float32": 1.7e12, "float16": 2.9e12}),
        "reference_work": (
            ReferenceWorkRecord("start", (0.1,), (0.3,)),
            ReferenceWorkRecord("end", (0.12,), (0.37,)),
        ),
        "end": EndRecord(STARTED_AT, 0, "no test failed"),
    }  # fmt: skip
    return RunRecord(**fields)


def _engines(stage: str) -> tuple[str | None, ...]:
    return (None,) if stage in {"load", "preprocess"} else ENGINES


def _keys(samples: tuple[str, ...]) -> list[tuple[str, str, str]]:
    return [(model, engine, sample) for model in MODELS for engine in ENGINES for sample in samples]


def _pairs() -> list[tuple[str, str, str]]:
    return [(target, engine, sample) for target in TARGETS for engine in ENGINES for sample in SAMPLES[:8]]


def _stage(model: str, stage: str, engine: str | None, variant: str = "") -> StageRecord:
    key = ("test", model, stage, engine, variant)
    seconds = {
        sample: [0.1 * SLOWNESS[model] * distinct(*key, sample, number) for number in range(3 + (stage == "decode"))]
        for sample in STAGE_SAMPLES
    }
    on_device = stage in {"vision", "prefill", "decode"}
    place = 2 * MODELS.index(model) + ENGINES.index(engine or "eager")
    wrong = {"vision": place, "prefill": place - 4, "decode": place}.get(stage, 0)
    work = {
        sample: StageWork(1e7 * distinct(*key, sample, "bytes"), 1e10 * distinct(*key, sample, "operations"), "float16")
        for sample in (STAGE_SAMPLES if on_device else ())
    }
    return stage_test(
        model,
        stage,
        seconds,
        engine=engine,
        variant=variant,
        cold_s={sample: 2 * distinct(*key, sample, "cold") for sample in STAGE_SAMPLES},
        tokens={sample: 4 + some(20, *key, sample, "tokens") for sample in STAGE_SAMPLES} if stage == "decode" else {},
        memory={
            sample: MemoryPeak(
                int(3e9 * distinct(*key, sample, "host")),
                int(2e10 * distinct(*key, sample, "device")),
                host_growth_bytes=int(4e8 * distinct(*key, sample, "growth")),
            )
            for sample in STAGE_SAMPLES
        },
        sources=("mp4 (fast)" if model == "videollava" and not variant else "png",) if stage == "load" else (),
        work=work,
        visual_tokens={s: some(500, *key, s, "visual") for s in STAGE_SAMPLES} if stage == "vision" else {},
        not_finite=STAGE_SAMPLES[: max(0, wrong)] if stage in {"vision", "prefill"} else (),
        not_repeated=STAGE_SAMPLES[:wrong] if stage == "decode" else (),
    )


def _pass(model: str, engine: str, sample: str) -> PassRecord:
    if (model, sample) == ("llava", "s11"):
        return failed_pass(model, sample, engine=engine)
    key = ("pass", model, engine, sample)
    apart = 6 if sample == APART[model] else 1
    seconds = tuple(
        apart * SLOWNESS[model] * share * distinct(*key, stage)
        for share, stage in zip((0.3, 0.02, 0.1, 0.2, 0.7), STAGES, strict=True)
    )
    number, named = int(sample[1:]), 2 * MODELS.index(model) + ENGINES.index(engine)
    own = key if number >= 2 + MODELS.index(model) else ("pass", model, "eager", sample)
    ids = tuple(some(7, sample, place) if place % 3 else some(7, *own, place) for place in range(20 + some(30, *own)))
    words = f"{model} by {engine} of {sample}" + (" and Vans, no horse" if number < 3 + named else "")
    stopped_by = "length" if number <= named else "eos"
    whole_s = sum(seconds) + 0.1 * distinct(*key, "between the stages")
    answer: dict[str, Any] = {"token_ids": ids, "text": words, "stopped_by": stopped_by}
    return whole_pass(model, sample, seconds, engine=engine, whole_s=whole_s, **answer)


def _other(kind: str, model: str, engine: str, sample: str) -> PassRecord:
    seconds = SLOWNESS[model] * distinct(kind, model, engine, sample)
    return whole_pass(model, sample, kind=kind, engine=engine, stage_s={}, whole_s=seconds, token_ids=(1,))


def _ways(number: int) -> SideBySideRecord:
    ours = tuple(distinct("way", number, each) for each in range(5 + number))
    theirs = tuple(2 * distinct("reference", number, each) for each in range(5 + number))
    return SideBySideRecord(f"t{number}", f"work {number}", f"way {number}", f"reference {number}", ours, theirs, {})


def _agreement(target: str, engine: str, sample: str) -> AgreementRecord:
    agrees = {
        kind: tuple(distinct(kind, target, engine, sample, place) < bound for place in range(20))
        for kind, bound in (("own", 1.2), ("shuffled", 1.0), ("blind", 0.8))
    }
    return AgreementRecord("t", sample, target, engine, agrees)


def _request(target: str, engine: str, sample: str) -> SpeculationRecord:
    key = ("request", target, engine, sample)
    accepted = [some(GAMMA + 1, *key, number) - 1 for number in range(6)]
    return SpeculationRecord(
        "t", sample, target, engine, GAMMA,
        rounds=tuple(RoundLog(GAMMA, each, each + 1, 0.1, 0.2) for each in accepted),
        token_ids=(1, 2, 3), identical=distinct(*key) > 0.8, alone_s=3 * distinct(*key, "alone"),
        alone_decode_s=2 * distinct(*key, "decode"), alone_steps=9, pair_s=2 * distinct(*key, "pair"),
        loop_s=distinct(*key, "loop"), first_alone_s=distinct(*key, "first"), first_pair_s=distinct(*key, "first pair"),
    )  # fmt: skip


def _cost(target: str, engine: str) -> SpeculationCostRecord:
    key = ("cost", target, engine)
    return SpeculationCostRecord(
        "t", "s0", target, engine, "float16", 70, 20,
        step_s=(0.01 * distinct(*key, "step"),), draft_step_s=(0.001 * distinct(*key, "draft"),),
        verify_s={m: (0.01 * distinct(*key, m) + 0.001 * m,) for m in range(1, 33)},
        alone_memory=MemoryPeak(int(3e9 * distinct(*key, "alone")), int(2e10 * distinct(*key, "alone"))),
        pair_memory=MemoryPeak(int(9e9 * distinct(*key, "pair")), int(6e10 * distinct(*key, "pair"))),
    )  # fmt: skip


def _gate(metric: str) -> GateRecord:
    found = {what: 0.01 * distinct(metric, what) for what in ("loss", "limit", "effect")}
    sessions = some(20, metric)
    return GateRecord(
        metric, "pass", f"{metric} is as it was", ("t",), loss=found["loss"], limit=found["limit"],
        minimum_detectable_effect=found["effect"], sessions=sessions,
    )  # fmt: skip
