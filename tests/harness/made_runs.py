"""Runs made by hand, and drawn ones: what a run that measured would have written down."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from harness.records.lines import (
    FORMAT_VERSION,
    EndRecord,
    Failure,
    GateRecord,
    Header,
    ModelRecord,
    OutcomeRecord,
    PassRecord,
    PlannedSample,
    ReferenceWorkRecord,
    RunRecord,
    SideBySideRecord,
    StageRecord,
    VerdictRecord,
)
from harness.records.quantities import MemoryPeak
from harness.records.speculation import (
    AgreementRecord,
    DivergenceRecord,
    RoundLog,
    SpeculationCostRecord,
    SpeculationRecord,
)
from harness.stages import STAGES

QUERY = "What are the key elements in this scene?"
STARTED_AT = "2026-03-04T05:06:07+00:00"
ENVIRONMENT: dict[str, Any] = {
    "cpu": "a processor",
    "usable_cores": 2,
    "libraries": {"torch": "2.13.0", "transformers": "5.23.0"},
    "gpu": None,
}


def planned(sample: str, reference: str | None = None) -> PlannedSample:
    return PlannedSample(sample, "test", QUERY, f"{sample}/events.npy", f"{sample}/frames", reference)


def header(samples: tuple[str, ...] = ("s1",), reference: str | None = None, **changes: Any) -> Header:
    fields: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "started_at": STARTED_AT,
        "environment": ENVIRONMENT,
        "options": {"gamma": 5},
        "model_set": "tiny",
        "device": "cpu",
        "engines": ("eager",),
        "models": ("egpt", "videollava"),
        "draft": "egpt",
        "targets": ("videollava",),
        "dataset": "data/EventGPT_Instruction_Subset.json",
        "limits": {},
        "samples": tuple(planned(sample, reference) for sample in samples),
    }
    return Header(**fields | changes)


def whole_pass(
    model: str, sample: str = "s1", seconds: tuple[float, ...] = (1, 1, 1, 1, 1), **changes: Any
) -> PassRecord:
    """One successful pass; `seconds` by stage, in order."""
    fields: dict[str, Any] = {
        "sample": sample,
        "model": model,
        "engine": "eager",
        "kind": "whole",
        "stage_s": dict(zip(STAGES, map(float, seconds), strict=False)),
        "whole_s": float(sum(seconds)),
        "source": "mp4 (legacy reader)" if model == "videollava" else "event images",
        "text": f"{model} says",
        "token_ids": (1, 2, 3),
        "stopped_by": "eos",
        "finished_at": STARTED_AT,
    }
    return PassRecord(**fields | changes)


def failed_pass(model: str, sample: str, stage: str = "load", text: str = "no such file", **changes: Any) -> PassRecord:
    before = STAGES[: STAGES.index(stage)]
    failure = Failure(sample, stage, "SampleError", text)
    given: dict[str, Any] = {"stage_s": dict.fromkeys(before, 1.0), "failure": failure}
    return whole_pass(model, sample, **given | {"text": "", "token_ids": (), "stopped_by": ""} | changes)


def stage_test(model: str, stage: str, seconds: dict[str, list[float]], **changes: Any) -> StageRecord:
    """A stage test's record; `seconds` by sample, a value per timed round."""
    rounds = [(sample, value) for sample, values in seconds.items() for value in values]
    fields: dict[str, Any] = {
        "test": f"test_{stage}[{model}]",
        "model": model,
        "engine": "eager" if stage in {"prefill", "decode"} else None,
        "stage": stage,
        "variant": "",
        "cold_s": dict.fromkeys(seconds, 9.0),
        "round_samples": tuple(sample for sample, _ in rounds),
        "round_s": tuple(float(value) for _, value in rounds),
        "tokens": dict.fromkeys(seconds, 4) if stage == "decode" else {},
        "sources": (("mp4 (legacy reader)" if model == "videollava" else "event images"),) if stage == "load" else (),
        "memory": {},
        "failures": (),
    }
    return StageRecord(**fields | changes)


def side_by_side(way_s: tuple[float, ...], reference_s: tuple[float, ...]) -> SideBySideRecord:
    return SideBySideRecord("test_read[fast]", "8 frames", "fast", "legacy", way_s, reference_s, {"slices": "1"})


def log(*drafted_accepted: tuple[int, int]) -> tuple[RoundLog, ...]:
    """Rounds of a text that goes on behind them; 0.1 s for drafting, 0.2 s for verifying."""
    return tuple(RoundLog(drafted, accepted, accepted + 1, 0.1, 0.2) for drafted, accepted in drafted_accepted)


def agreement(sample: str, own: tuple[bool, ...], shuffled: tuple[bool, ...], **changes: Any) -> AgreementRecord:
    fields: dict[str, Any] = {
        "test": "test_speculative", "sample": sample, "target": "videollava", "engine": "eager",
        "agrees": {"own": own, "shuffled": shuffled},
    }  # fmt: skip
    return AgreementRecord(**fields | changes)


def request(sample: str, **changes: Any) -> SpeculationRecord:
    """10 s by the target alone, of which 9 for as many steps; 5 s by the pair, of which 3 in the loop."""
    fields: dict[str, Any] = {
        "test": "test_speculative", "sample": sample, "target": "videollava", "engine": "eager", "gamma": 4,
        "rounds": log((4, 3), (4, 4)), "token_ids": tuple(range(10)), "identical": True, "alone_s": 10.0,
        "alone_decode_s": 9.0, "alone_steps": 9, "pair_s": 5.0, "loop_s": 3.0, "first_alone_s": 1.0,
        "first_pair_s": 2.0,
    }  # fmt: skip
    return SpeculationRecord(**fields | changes)


def cost(*, step_s: float = 1.0, c: float = 0.25, v: float = 2.0, **changes: Any) -> SpeculationCostRecord:
    """A drafted token takes `c` steps, a pass over any number of tokens `v`."""
    fields: dict[str, Any] = {
        "test": "test_speculative", "sample": "s1", "target": "videollava", "engine": "eager", "dtype": "float32",
        "target_context": 70, "draft_context": 20, "step_s": (step_s, 9 * step_s, step_s),
        "draft_step_s": (c * step_s,), "verify_s": dict.fromkeys(range(1, 33), (v * step_s,)),
        "alone_memory": host_peak(100), "pair_memory": host_peak(110),
    }  # fmt: skip
    return SpeculationCostRecord(**fields | changes)


def host_peak(mebibytes: float) -> MemoryPeak:
    """A peak, a quarter of which the call itself added."""
    return MemoryPeak(host_bytes=int(mebibytes * 1024 * 1024), host_growth_bytes=int(mebibytes * 256 * 1024))


def loaded(model: str, mebibytes: float = 100) -> ModelRecord:
    return ModelRecord(model, 1.5, int(mebibytes * 1024 * 1024), {"dtype": "float32"})


def headline_run() -> RunRecord:
    """Ten samples whose means are those of the old script's published table."""
    samples = tuple(f"s{number}" for number in range(10))
    # Half of the samples are faster and half slower than the mean, which stays what it is.
    factors = [0.5, 1.5] * 5
    draft, target = (0.851, 0.023, 0.100, 0.077, 0.800), (6.858, 0.072, 0.200, 0.333, 2.000)
    tokens = {"egpt": [45, 46] * 5, "videollava": [102, 103, 102, 103, 102, 103, 102, 103, 102, 102]}
    passes = tuple(
        whole_pass(model, sample, tuple(factor * each for each in stages), token_ids=tuple(range(length)))
        for model, stages in (("egpt", draft), ("videollava", target))
        for sample, factor, length in zip(samples, factors, tokens[model], strict=True)
    )
    return RunRecord(header=header(samples), passes=passes)


def full_run(**changes: Any) -> RunRecord:
    """A run with something of everything: three models, stage tests, memory, a failure, verdicts and an end."""
    models = ("egpt", "videollava", "llava")
    slowness = {"egpt": 1.0, "videollava": 5.0, "llava": 3.0}
    stages = tuple(
        stage_test(
            model,
            stage,
            {sample: [0.1 * factor, 0.2 * factor, 0.15 * factor] for sample in ("s1", "s2")},
            memory={"s1": host_peak(100 * number), "s2": host_peak(101 * number)},
            sources=({"egpt": "event images", "videollava": "mp4 (fast)", "llava": "png"}[model],)
            if stage == "load"
            else (),
        )
        for model, factor in slowness.items()
        for number, stage in enumerate(STAGES, start=1)
    )
    legacy = stage_test("videollava", "load", {"s1": [1.0], "s2": [1.2]}, variant="legacy reader")
    passes = tuple(
        whole_pass(model, sample, tuple(factor * share for share in (0.3, 0.02, 0.1, 0.2, 0.7)))
        for model, factor in slowness.items()
        for sample in ("s1", "s2")
    )
    fields: dict[str, Any] = {
        "header": header(
            ("s1", "s2", "s3"), models=models, targets=models[1:], limits={"eager.speedup.llava.total": 2.0}
        ),
        "models": tuple(loaded(model, 100 * slowness[model]) for model in models),
        "stages": (*stages, legacy),
        "passes": (*passes, *(failed_pass(model, "s3") for model in models)),
        "agreements": tuple(
            agreement(sample, (True, True, True, False), (True, True, False, False), target=target)
            for target in models[1:]
            for sample in ("s1", "s2")
        ),
        "speculations": tuple(request(sample, target=target) for target in models[1:] for sample in ("s1", "s2")),
        "speculation_costs": tuple(cost(target=target) for target in models[1:]),
        "verdicts": (VerdictRecord("eager.speedup.llava.total", "pass", "it was fast", "test_w", 3.0, 2.0),),
        "end": EndRecord(STARTED_AT, 0, "no test failed", ("use --rounds",)),
    }
    return RunRecord(**fields | changes)


def run_with(*records: PassRecord | StageRecord, samples: tuple[str, ...] = ("s1", "s2"), **changes: Any) -> RunRecord:
    """A run of these stage tests and passes; `changes` are the header's."""
    return RunRecord(
        header=header(samples, **changes),
        stages=tuple(each for each in records if isinstance(each, StageRecord)),
        passes=tuple(each for each in records if isinstance(each, PassRecord)),
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text('abcä漢"\\\n ', min_size=1, max_size=5)
SECONDS = st.floats(1e-9, 1e6, allow_subnormal=False)
SIZES = st.none() | st.integers(0, 2**45)
PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS | st.lists(TEXTS, max_size=3)
FAILURES = st.builds(Failure, sample=NAMES, stage=st.sampled_from(STAGES), type=NAMES, text=TEXTS)
PEAKS = st.builds(MemoryPeak, host_bytes=SIZES, device_allocated_bytes=SIZES, device_reserved_bytes=SIZES)


DIVERGENCES = st.none() | st.builds(DivergenceRecord, st.integers(0, 500), SECONDS, SECONDS)


@st.composite
def stage_records(draw: st.DrawFn) -> StageRecord:
    rounds = draw(st.dictionaries(NAMES, st.lists(SECONDS, max_size=3), max_size=3))
    return stage_test(
        draw(NAMES),
        draw(st.sampled_from(STAGES)),
        rounds,
        engine=draw(st.none() | NAMES),
        variant=draw(TEXTS),
        memory=draw(st.dictionaries(NAMES, PEAKS, max_size=2)),
        failures=tuple(draw(st.lists(FAILURES, max_size=2))),
    )


def pass_records(
    samples: st.SearchStrategy[str] = NAMES, models: st.SearchStrategy[str] = NAMES
) -> st.SearchStrategy[PassRecord]:
    """Successful whole passes."""
    return st.builds(
        whole_pass,
        models,
        samples,
        st.tuples(*[SECONDS] * len(STAGES)),
        text=TEXTS,
        token_ids=st.lists(st.integers(0, 70_000), min_size=1, max_size=5).map(tuple),
        source=TEXTS,
    )


JOURNAL_LINES = st.one_of(
    st.builds(ModelRecord, NAMES, SECONDS, st.integers(0, 2**45), st.dictionaries(TEXTS, PLAIN, max_size=3)),
    stage_records(),
    pass_records(),
    st.builds(failed_pass, NAMES, NAMES, st.sampled_from(STAGES), TEXTS),
    st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=3).map(
        lambda pairs: side_by_side(tuple(way for way, _ in pairs), tuple(reference for _, reference in pairs))
    ),
    st.builds(
        ReferenceWorkRecord, st.sampled_from(["start", "end"]), st.just((0.1, 0.2)), st.just((0.3,)), st.none(), SIZES
    ),
    st.builds(ReferenceWorkRecord, st.just("during"), st.just((0.1,)), st.just(()), st.none(), st.none(), NAMES),
    st.builds(request, NAMES, target=NAMES, identical=st.booleans(), divergence=DIVERGENCES),
    st.builds(cost, step_s=st.floats(1e-3, 1e3), c=st.floats(1e-3, 1e3), v=st.floats(1e-3, 1e3), target=NAMES),
    st.builds(OutcomeRecord, NAMES, st.sampled_from(["failed", "skipped", "deselected"]), TEXTS),
    st.builds(GateRecord, NAMES, st.sampled_from(["pass", "flagged"]), TEXTS, st.just(("test",)), st.none() | SECONDS),
    st.builds(VerdictRecord, NAMES, st.sampled_from(["pass", "broken", "not run"]), TEXTS, TEXTS, SECONDS, SECONDS),
)
