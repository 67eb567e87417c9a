"""What each table of the report must hold in a run in which nothing equals anything else, from its raw records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median, quantiles
from typing import Any

import msgspec

from harness.figures.agreement import TokenPair, replay
from harness.figures.intervals import mean_interval, ratio_interval
from harness.figures.speculation import SpeculationFigures, speculation_figures
from harness.records.lines import PassRecord, StageRecord
from harness.report.formatting import with_unit
from harness.stages import STAGES
from tests.harness.report.distinct_run import (
    ENGINES,
    GAMMA,
    MODELS,
    SAMPLES,
    STAGE_SAMPLES,
    TARGETS,
    distinct_run,
)

Cell = str | float | tuple[float, ...]
"""Words, the exact value of a figure, or several."""
Grid = list[list[Cell]]
RUN = distinct_run()
MIB = 1024 * 1024


def passes(model: str, engine: str, kind: str = "whole") -> dict[str, PassRecord]:
    return {
        each.sample: each
        for each in RUN.passes
        if (each.kind, each.model, each.engine) == (kind, model, engine) and each.failure is None
    }


def stage_test(model: str, stage: str, engine: str | None = None, variant: str = "") -> StageRecord:
    wanted = (model, stage, engine, variant)
    (found,) = (each for each in RUN.stages if (each.model, each.stage, each.engine, each.variant) == wanted)
    return found


def total(one: PassRecord) -> float:
    return sum(one.stage_s[stage] for stage in STAGES)


PARTS: dict[str, Callable[[PassRecord], float]] = {
    "1 load": lambda one: one.stage_s["load"],
    "2 preprocess": lambda one: one.stage_s["preprocess"],
    "3 vision + LLM": lambda one: one.stage_s["vision"] + one.stage_s["prefill"] + one.stage_s["decode"],
    "total": total,
}
EACH = [(model, engine) for model in MODELS for engine in ENGINES]
PAIRS = [(target, engine) for target in TARGETS for engine in ENGINES]


def both(target: str, engine: str) -> list[tuple[PassRecord, PassRecord]]:
    """The passes of draft and target, of the samples that both have."""
    draft, theirs = passes("egpt", engine), passes(target, engine)
    return [(draft[sample], theirs[sample]) for sample in SAMPLES if sample in draft and sample in theirs]


def means(target: str, engine: str, part: str) -> tuple[float, float]:
    pairs = both(target, engine)
    return fmean(PARTS[part](mine) for mine, _ in pairs), fmean(PARTS[part](theirs) for _, theirs in pairs)


def mean_ends(values: Iterable[float]) -> tuple[float, float]:
    found = mean_interval(list(values))
    assert found is not None
    return found.low, found.high


def ratio_ends(target: str, engine: str, part: str) -> tuple[float, float]:
    pairs = both(target, engine)
    found = ratio_interval([PARTS[part](theirs) for _, theirs in pairs], [PARTS[part](mine) for mine, _ in pairs])
    assert found is not None
    return found.low, found.high


def largest(model: str, engine: str) -> tuple[str, float]:
    """The stage that takes most of a model's time, and its share."""
    sums = {stage: sum(one.stage_s[stage] for one in passes(model, engine).values()) for stage in STAGES}
    stage = max(sums, key=lambda each: sums[each])
    return stage, sums[stage] / sum(sums.values())


# What each section's tables must hold, worked out from the raw records.


def stages() -> list[Grid]:
    return [
        [
            [
                f"{model} {engine}",
                *(fmean(one.stage_s[stage] for one in passes(model, engine).values()) for stage in STAGES),
                fmean(map(total, passes(model, engine).values())),
                str(len(passes(model, engine))),
            ]
            for model, engine in EACH
        ]
    ]


def latency() -> list[Grid]:
    """Mean, p50 and p90 with their intervals; twelve samples leave p90 without an upper end, and have no p99."""
    measures: dict[str, Callable[[PassRecord], float]] = {
        "time to first token, ms": lambda one: total(one) - one.stage_s["decode"],
        "time per output token, ms": lambda one: one.stage_s["decode"] / (len(one.token_ids) - 1),
        "end to end, ms": total,
        "tokens/s": lambda one: len(one.token_ids) / total(one),
    }
    rows: Grid = []
    for what, value in measures.items():
        for model, engine in EACH:
            whole = [
                one for one in passes(model, engine).values() if len(one.token_ids) > (what.startswith("time per"))
            ]
            values = sorted(map(value, whole))
            found = quantiles(values, n=10, method="inclusive")
            (_, low, high), p90 = order_statistics(values, 0.5), order_statistics(values, 0.9)
            mean = (fmean(values), *mean_ends(values))
            row: list[Cell] = [what, f"{model} {engine}", mean, (found[4], low, high), (found[8], p90[1])]
            rows.append([*row, "not known", str(len(values))])
    return [rows]


def order_statistics(values: list[float], share: float) -> tuple[float, float, float]:
    """The sorted values between which a quantile lies with 95 %, by counting outcomes of n coins."""
    n = len(values)
    chance = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    low = max(k for k in range(n) if sum(chance[: k + 1]) < 0.025)
    above = [k for k in range(n) if sum(chance[k + 1 :]) <= 0.025]
    return share, values[low], values[min(above)] if above else math.inf


def gated_load(target: str) -> tuple[float, float]:
    """Mean over the samples of each one's median: of the draft, and of the target by the legacy reader."""
    draft, theirs = (fmean(each) for each in gated_loads(target))
    return draft, theirs


def gated_ends(target: str) -> tuple[float, float]:
    draft, theirs = gated_loads(target)
    found = ratio_interval(theirs, draft)
    assert found is not None
    return found.low, found.high


def gated_loads(target: str) -> tuple[list[float], list[float]]:
    variant = "legacy reader" if target == "videollava" else ""

    def seconds(record: StageRecord) -> list[float]:
        return [
            median(value for value, owner in zip(record.round_s, record.round_samples, strict=True) if owner == sample)
            for sample in STAGE_SAMPLES
        ]

    return seconds(stage_test("egpt", "load")), seconds(stage_test(target, "load", variant=variant))


def comparison(target: str, engine: str) -> list[Grid]:
    rows: Grid = []
    whole_draft, whole_target = means(target, engine, "total")
    for part in PARTS:
        draft, theirs = means(target, engine, part)
        shares: list[Cell] = [theirs / whole_target, (theirs - draft) / (whole_target - whole_draft)]
        shown = ["100", "100"] if part == "total" else shares
        rows.append([part, draft, theirs, theirs / draft, ratio_ends(target, engine, part), *shown])
    draft, theirs = gated_load(target)
    how = "old reader, gated" if target == "videollava" else "stage test, gated"
    rows.append([f"1 load ({how})", draft, theirs, theirs / draft, gated_ends(target), "", ""])
    return [rows]


MEASURED = [(each.model, each.stage, each.engine, each.variant) for each in RUN.stages]


def label(stage: str, engine: str | None, variant: str) -> str:
    return " ".join(filter(None, (stage, engine, f"({variant})" if variant else "")))


def stage_tests() -> list[Grid]:
    rows: Grid = []
    for model, stage, engine, variant in MEASURED:
        record = stage_test(model, stage, engine, variant)
        first, middle, third = quantiles(record.round_s, method="inclusive")
        rows.append(
            [
                label(stage, engine, variant),
                model,
                median(record.round_s),
                (third - first) / 2 / middle,
                record.cold_s["s0"],
                len(record.round_s),
                median(
                    1000 * seconds / (record.tokens[sample] - 1)
                    for seconds, sample in zip(record.round_s, record.round_samples, strict=True)
                )
                if stage == "decode"
                else "",
            ]
        )
    loaded: Grid = [[each.model, each.load_s, each.memory_bytes] for each in RUN.models]
    return [rows, loaded]


def roofline() -> list[Grid]:
    rows: Grid = []
    assert RUN.machine is not None
    for model, stage, engine, variant in MEASURED:
        record = stage_test(model, stage, engine, variant)
        if not record.work:
            continue
        done = [
            (record.work[sample], seconds) for seconds, sample in zip(record.round_s, record.round_samples, strict=True)
        ]
        least = [max(work.bytes / 1.3e9, work.operations / 2.9e12) for work, _ in done]
        moving, computing = (
            median(w.bytes / 1.3e9 for w, _ in done),
            median(w.operations / 2.9e12 for w, _ in done),
        )
        rows.append(
            [
                label(stage, engine, variant),
                model,
                median(least),
                median(floor / seconds for floor, (_, seconds) in zip(least, done, strict=True)),
                "bandwidth" if moving >= computing else "compute",
                median(work.bytes / seconds for work, seconds in done) / 1e9,
                median(work.operations / seconds for work, seconds in done) / 1e12,
            ]
        )
    return [rows]


def peaks(device: str) -> dict[tuple[str, str], int]:
    """The highest peak of a model's stage, over its samples and engines."""
    found: dict[tuple[str, str], int] = {}
    for record in RUN.stages:
        for peak in record.memory.values() if not record.variant else ():
            size = peak.device_allocated_bytes if device == "cuda" else peak.host_bytes
            assert size is not None
            found[record.model, record.stage] = max(size, found.get((record.model, record.stage), 0))
    return found


def memory() -> list[Grid]:
    found, room = peaks("cuda"), 24 << 30
    rows: Grid = [[stage, *(found[model, stage] for model in MODELS)] for stage in STAGES]
    of_all = [max(size for (owner, _), size in found.items() if owner == model) / room for model in MODELS]
    return [[*rows, [f"highest, % of {with_unit(room)}", *of_all]]]


def growth() -> list[Grid]:
    """On a CPU: how far the process grew in a stage, at the most of its samples and engines."""
    found: dict[tuple[str, str], int] = {}
    for record in RUN.stages:
        for peak in record.memory.values() if not record.variant else ():
            size = peak.host_growth_bytes
            assert size is not None
            found[record.model, record.stage] = max(size, found.get((record.model, record.stage), 0))
    return [[[stage, *(found[model, stage] for model in MODELS)] for stage in STAGES]]


def throughput() -> list[Grid]:
    def rate(model: str, engine: str, kind: str) -> float:
        records = [each for each in RUN.passes if (each.kind, each.model, each.engine) == (kind, model, engine)]
        through = [each.whole_s for each in records if each.failure is None]
        return len(through) / sum(through)

    return [[[f"{m} {e}", rate(m, e, "throughput"), rate(m, e, "whole")] for m, e in EACH]]


def ways() -> list[Grid]:
    return [
        [
            [
                each.what,
                each.way,
                each.reference,
                median(each.way_s),
                median(each.reference_s),
                median(theirs / ours for ours, theirs in zip(each.way_s, each.reference_s, strict=True)),
                str(len(each.way_s)),
            ]
            for each in RUN.side_by_side
        ]
    ]


def pair(target: str, engine: str) -> SpeculationFigures:
    """The figures of a run that has measured nothing but this pair."""

    def own(records: Sequence[Any]) -> Any:
        return tuple(each for each in records if (each.target, each.engine) == (target, engine))

    alone = msgspec.structs.replace(
        RUN,
        header=msgspec.structs.replace(RUN.header, targets=(target,), engines=(engine,)),
        agreements=own(RUN.agreements),
        speculations=own(RUN.speculations),
        speculation_costs=own(RUN.speculation_costs),
    )
    (found,) = speculation_figures(alone)
    return found


def ends(found: Any) -> tuple[float, float]:
    return found.low, found.high


def drafting(target: str, engine: str) -> list[Grid]:
    found = pair(target, engine)
    assert found.statistics is not None
    assert found.cost_model is not None
    sees = {"own": "its pictures", "shuffled": "another sample's", "blind": "none"}
    return [
        [[sees[kind], found.acceptance[kind].value, ends(found.acceptance[kind])] for kind in sees],
        [
            ["accepted up to here", *found.statistics.survival],
            ["accepted, if all before were", *(each or 0.0 for each in found.statistics.conditional_at)],
        ],
        [["v, decoding steps", *(found.cost_model.costs.v[m] for m in (1, 2, 4, 6, 8, 16, 32))]],
    ]


def agreement() -> list[Grid]:
    rows: Grid = []
    survival: Grid = []
    for target in TARGETS:
        found = replay(
            [TokenPair(mine.sample, mine.token_ids, theirs.token_ids) for mine, theirs in both(target, "eager")], GAMMA
        )
        assert found.shuffled is not None
        rows.append(
            [
                target,
                found.own.pairs,
                f"{found.matched} of {found.compared}",
                found.own.per_sample,
                ends(found.own.interval),
                found.own.token_weighted,
            ]
        )
        control = found.shuffled
        name, interval = f"{target}, shuffled", ends(control.interval)
        rows.append([name, control.pairs, "", control.per_sample, interval, control.token_weighted])
        survival.append([target, *found.survival])
    return [rows, survival]


def baseline() -> list[Grid]:
    def shown(metric: str, value: float | None) -> float:
        assert value is not None
        return value if metric.startswith("acceptance") else math.expm1(value)

    gates = sorted(RUN.gates, key=lambda each: -(each.loss or 0) / (each.limit or 1))
    return [
        [
            [
                each.metric,
                "pass",
                each.sentence,
                *(shown(each.metric, value) for value in (each.loss, each.limit, each.minimum_detectable_effect)),
                str(each.sessions),
            ]
            for each in gates
        ]
    ]


EXPECTED: dict[str, Callable[[], list[Grid]]] = {
    "baseline": baseline,
    "latency": latency,
    "stages": stages,
    **{f"beside.{t}.{e}": (lambda t=t, e=e: comparison(t, e)) for t, e in PAIRS},  # type: ignore[misc]
    "floors": roofline,
    "memory": memory,
    "stage-tests": stage_tests,
    "throughput": throughput,
    "ways": ways,
    **{f"drafting.{t}.{e}": (lambda t=t, e=e: drafting(t, e)) for t, e in PAIRS},  # type: ignore[misc]
    "agreement": agreement,
}
