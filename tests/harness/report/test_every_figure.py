"""Every figure of the report comes from the right model, engine, stage, sample and round.

In the run that is reported nothing equals anything else. What each table and sentence must hold is worked out here from
the raw records; then it is checked that page, Markdown and terminal show the report's tables cell by cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from statistics import fmean, median, quantiles
from typing import Any

import msgspec
import pytest
from harness.figures.replay import TokenPair, replay
from markdown_it import MarkdownIt

from harness.figures.intervals import mean_interval, ratio_interval
from harness.figures.speculation import SpeculationFigures, speculation_figures
from harness.records.lines import PassRecord, StageRecord
from harness.report.blocks import Figure, Report, Section, Sentences, Table, Text, parts, plain
from harness.report.content import report_of
from harness.report.formatting import change, fraction, hundredths, milliseconds, percent, times, with_unit
from harness.report.markdown import markdown
from harness.report.page import page
from harness.report.terminal import rendered
from harness.stages import STAGES
from tests.harness.report.distinct_run import (
    APART,
    ENGINES,
    GAMMA,
    MODELS,
    SAMPLES,
    STAGE_SAMPLES,
    TARGETS,
    distinct_run,
)
from tests.harness.report.reading import Page

Cell = str | float | tuple[float, float]
"""Words, the exact value of a figure, or the two ends of an interval."""
Grid = list[list[Cell]]
RUN = distinct_run()
ON_GPU = report_of(RUN, "source")
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
                mean_ends(map(total, passes(model, engine).values())),
                str(len(passes(model, engine))),
            ]
            for model, engine in EACH
        ]
    ]


def gated_load(target: str) -> tuple[float, float]:
    """Mean over the samples of each one's median: of the draft, and of the target by the legacy reader."""
    variant = "legacy reader" if target == "videollava" else ""

    def seconds(record: StageRecord) -> float:
        return fmean(
            median(value for value, owner in zip(record.round_s, record.round_samples, strict=True) if owner == sample)
            for sample in STAGE_SAMPLES
        )

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
    how = "legacy reader" if target == "videollava" else "stage test"
    rows.append([f"1 load ({how})", draft, theirs, theirs / draft, "", "", ""])
    return [rows]


def samples() -> list[Grid]:
    tokens: Grid = []
    apart: Grid = []
    for model, engine in EACH:
        counts = [len(one.token_ids) for one in passes(model, engine).values()]
        tokens.append([f"{model} {engine}", fmean(counts), min(counts), max(counts)])
        of_sample = total(passes(model, engine)[APART[model]])
        mean_s = fmean(map(total, passes(model, engine).values()))
        apart.append([f"{model} {engine}", APART[model], of_sample, of_sample / mean_s])
    return [tokens, apart]


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
            (record.work[sample], seconds, record.tokens.get(sample, 0) - 1)
            for seconds, sample in zip(record.round_s, record.round_samples, strict=True)
        ]
        least = [max(work.bytes / 1.3e9, work.operations / 2.9e12) for work, _, _ in done]
        moving, computing = (
            median(w.bytes / 1.3e9 for w, _, _ in done),
            median(w.operations / 2.9e12 for w, _, _ in done),
        )
        decoding = stage == "decode"
        rows.append(
            [
                label(stage, engine, variant),
                model,
                median(least),
                median(floor / seconds for floor, (_, seconds, _) in zip(least, done, strict=True)),
                "bandwidth" if moving >= computing else "compute",
                median(work.bytes / seconds for work, seconds, _ in done) / 1e9,
                median(work.operations / seconds for work, seconds, _ in done) / 1e12,
                median(1000 * floor / n for floor, (_, _, n) in zip(least, done, strict=True)) if decoding else "",
                median(n / seconds for _, seconds, n in done) if decoding else "",
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


def memory(device: str) -> list[Grid]:
    found, room = peaks(device), (24 if device == "cuda" else 64) << 30
    rows: Grid = [[stage, *(found[model, stage] for model in MODELS)] for stage in STAGES]
    of_all = [max(size for (owner, _), size in found.items() if owner == model) / room for model in MODELS]
    return [[*rows, [f"highest, % of {with_unit(room)}", *of_all]]]


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
    assert found.views is not None
    assert found.payoff is not None
    sees = {"own": "its pictures", "shuffled": "another sample's", "blind": "none"}
    return [
        [[sees[kind], found.acceptance[kind].value, ends(found.acceptance[kind])] for kind in sees],
        [
            ["accepted up to here", *found.views.survival],
            ["of those that came so far", *(each or 0.0 for each in found.views.conditional_at)],
        ],
        [["accepted of those looked at", *(each.accepted / each.looked_at for each in found.by_place)]],
        [["v, decoding steps", *(found.payoff.costs.v[m] for m in (1, 2, 4, 6, 8, 16, 32))]],
    ]


def agreement() -> list[Grid]:
    rows: Grid = []
    survival: Grid = []
    for target in TARGETS:
        found = replay(
            [TokenPair(mine.sample, mine.token_ids, theirs.token_ids) for mine, theirs in both(target, "eager")], GAMMA
        )
        assert found.shuffled_per_sample is not None
        assert found.shuffled_token_weighted is not None
        assert found.shuffled_prefix_mean is not None
        rows.append(
            [
                target,
                found.samples,
                f"{found.matched} of {found.compared}",
                found.per_sample,
                found.per_sample - found.shuffled_per_sample,
                found.token_weighted,
                fmean(found.prefixes),
                fmean(each == 0 for each in found.prefixes),
            ]
        )
        control = (found.shuffled_per_sample, found.shuffled_token_weighted, found.shuffled_prefix_mean)
        rows.append([f"{target}, shuffled", found.shuffled_pairings, "", control[0], "", *control[1:], ""])
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
    "stages": stages,
    **{f"beside.{t}.{e}": (lambda t=t, e=e: comparison(t, e)) for t, e in PAIRS},  # type: ignore[misc]
    "samples": samples,
    "floors": roofline,
    "memory": lambda: memory("cuda"),
    "stage-tests": stage_tests,
    "throughput": throughput,
    "ways": ways,
    **{f"drafting.{t}.{e}": (lambda t=t, e=e: drafting(t, e)) for t, e in PAIRS},  # type: ignore[misc]
    "agreement": agreement,
}


def of_cell(cell: Text) -> Cell:
    figures = [part.value for part in parts(cell) if isinstance(part, Figure)]
    if len(figures) == 2:
        return figures[0], figures[1]
    return figures[0] if figures else plain(cell)


def tables(section: Section) -> list[Grid]:
    return [
        [[of_cell(cell) for cell in row] for row in block.rows] for block in section.blocks if isinstance(block, Table)
    ]


def section(key: str, report: Report = ON_GPU) -> Section:
    (found,) = (each for each in report.sections if each.key == key)
    return found


@pytest.mark.parametrize("key", EXPECTED)
def test_every_cell_is_from_the_right_model_stage_and_sample(key: str) -> None:
    found, expected = tables(section(key)), EXPECTED[key]()
    assert [[row[:1] for row in grid] for grid in found] == [[row[:1] for row in grid] for grid in expected]
    for rows, wanted in zip(found, expected, strict=True):
        for row, values in zip(rows, wanted, strict=True):
            assert row == [pytest.approx(each, rel=1e-9) if not isinstance(each, str) else each for each in values]


def test_the_columns_name_what_stands_in_them() -> None:
    columns = {each.key: [list(t.columns) for t in each.blocks if isinstance(t, Table)] for each in ON_GPU.sections}
    assert columns["stages"] == [["model", *(f"{each} ms" for each in STAGES), "total ms", "95 % interval", "n"]]
    assert columns["memory"] == [["stage", *(f"{model} MiB" for model in MODELS)]]
    for target, engine in PAIRS:
        shares = [f"% of {target}'s time", "% of time saved"]
        wanted = [["stage", "egpt ms", f"{target} ms", "faster", "95 % interval", *shares]]
        assert columns[f"beside.{target}.{engine}"] == wanted
    assert columns["throughput"] == [["model", "samples/s", "samples/s, one after the other"]]
    assert columns["samples"][1] == ["model", "sample that stands apart", "ms", "of the mean"]


def test_no_section_with_figures_is_left_out_of_this_test() -> None:
    with_figures = {
        each.key
        for each in ON_GPU.sections
        for block in each.blocks
        if isinstance(block, Table)
        if any(isinstance(part, Figure) for row in block.rows for cell in row for part in parts(cell))
    }
    assert with_figures - {"warnings"} == set(EXPECTED)  # the warnings' sentences are below


def test_on_a_cpu_memory_is_the_host_s() -> None:
    assert tables(section("memory", report_of(distinct_run("cpu"), "source"))) == [
        [[pytest.approx(each) if not isinstance(each, str) else each for each in row] for row in memory("cpu")[0]]
    ]


def test_the_tiles() -> None:
    found = {each.label: [plain(each.figure), *map(plain, each.details)] for each in ON_GPU.tiles}

    def speedups(part: str, *more: str) -> list[str]:
        over = {(t, e): times(means(t, e, part)[1] / means(t, e, part)[0]) for t, e in PAIRS}
        low, high = map(times, ratio_ends("videollava", "eager", part))
        others = [f"{over[t, e]} over {t} {e}" for e in ENGINES for t in TARGETS][1:]
        return [over["videollava", "eager"], "over videollava eager", f"95 %: {low} to {high}", *more, *others]

    draft, theirs = gated_load("videollava")
    acceptance = pair("videollava", "eager").acceptance
    (model, stage), size = max(peaks("cuda").items(), key=lambda each: each[1])
    assert found == {
        "total speedup": speedups("total"),
        "stage 1, load": speedups("1 load", f"{times(theirs / draft)} by the legacy reader"),
        "stage 3, vision + LLM": speedups("3 vision + LLM"),
        "acceptance": [
            fraction(acceptance["own"].value),
            "for videollava, teacher-forced",
            f"control: {fraction(acceptance['shuffled'].value)}, seeing another sample's",
        ],
        "peak memory": [
            with_unit(size),
            f"{model}, {stage}; allocated on the GPU",
            f"{percent(size / (24 << 30))} % of 24.0 GiB",
        ],
    }


def headlines() -> list[str]:
    lines = []
    for engine in ENGINES:
        stage, share = largest("egpt", engine)
        for target in TARGETS:
            draft, theirs = means(target, engine, "total")
            lines.append(
                f"egpt {engine} is {times(theirs / draft)} faster than {target} {engine}: {milliseconds(draft)} vs. "
                f"{milliseconds(theirs)} ms per sample; {stage} is {percent(share)} % of egpt {engine}'s time"
            )
    return lines


def highlights() -> list[str]:
    lines = []
    for engine in ENGINES:
        for target in TARGETS:
            found = {part: means(target, engine, part) for part in PARTS}
            low, high = map(times, ratio_ends(target, engine, "total"))
            by_stage = ", ".join(f"{part[2:]} {times(b / a)}" for part, (a, b) in list(found.items())[:3])
            lines.append(
                f"egpt {engine} vs. {target} {engine} over {len(both(target, engine))} samples: 95 % interval {low} to "
                f"{high}; by stage {by_stage}."
            )
            draft, theirs = found.pop("total")
            part = max(found, key=lambda each: found[each][1])
            own, saved = found[part][1] / theirs, (found[part][1] - found[part][0]) / (theirs - draft)
            lines.append(
                f"{part[2:]} is {percent(own)} % of {target} {engine}'s time and {percent(saved)} % of the time saved."
            )
    shares = [(model, engine, *largest(model, engine)) for model, engine in EACH]
    listed = ", ".join(f"{stage} is {percent(share)} % of {m} {e}'s time" for m, e, stage, share in shares)
    return [
        *lines,
        f"Largest stages: {listed}.",
        "The tiny set's small models were measured: their times say nothing about the 7B models.",
    ]


def test_headlines_and_highlights() -> None:
    assert list(map(plain, ON_GPU.headlines)) == headlines()
    assert list(map(plain, ON_GPU.highlights)) == highlights()


def test_caveats_are_of_intervals_that_hold_1_and_of_targets_that_overlap() -> None:
    expected = []
    for engine in ENGINES:
        for target in TARGETS:
            for part, what in (("total", "in all"), *((part, f"in {part[2:]}") for part in list(PARTS)[:3])):
                low, high = ratio_ends(target, engine, part)
                if low <= 1 <= high:
                    expected.append(
                        f"Whether egpt {engine} or {target} {engine} is faster {what}: the 95 % interval of the "
                        f"speedup is {times(low)} to {times(high)}."
                    )
    targets = [(f"{m} {e}", mean_ends(map(total, passes(m, e).values()))) for m, e in EACH if m != "egpt"]
    for place, (one, mine) in enumerate(targets):
        for other, theirs in targets[place + 1 :]:
            if mine[0] <= theirs[1] and theirs[0] <= mine[1]:
                first, second = (" to ".join(map(milliseconds, each)) for each in (mine, theirs))
                expected.append(
                    f"Whether {one} or {other} is faster: their intervals overlap, {first} and {second} ms."
                )
    assert expected
    assert list(map(plain, ON_GPU.caveats)) == expected


def gap(model: str, engine: str) -> float:
    without, within = passes(model, engine, "unsynchronised"), passes(model, engine)
    return sum(within[each].whole_s for each in without) / sum(each.whole_s for each in without.values()) - 1


def test_sentences_about_synchronisation_and_tokens() -> None:
    found = sentences(section("stages"))
    assert found == [
        f"Synchronising between the stages adds {change(gap(m, e))} % to a sample of {m} {e}." for m, e in EACH
    ]
    for target, engine in PAIRS:
        draft, theirs = means(target, engine, "3 vision + LLM")
        tokens = [sum(len(each[side].token_ids) for each in both(target, engine)) for side in (0, 1)]
        fewer, whole = tokens[1] / tokens[0], theirs / draft
        words = ("fewer" if fewer >= 1 else "more", "faster" if whole / fewer >= 1 else "slower")
        of_tokens = math.log(fewer) / math.log(whole)
        assert sentences(section(f"beside.{target}.{engine}")) == [
            f"Stage 3: {times(whole)} = {times(fewer)} ({words[0]} tokens) × {times(whole / fewer)} ({words[1]} tokens)"
            f"; in logarithms, which add up, {percent(of_tokens)} % and {percent(1 - of_tokens)} % of it."
        ]


def test_warnings_name_the_worst_and_how_much() -> None:
    spreads = {}
    for model, stage, engine, variant in MEASURED:
        first, middle, third = quantiles(stage_test(model, stage, engine, variant).round_s, method="inclusive")
        spreads[model, stage, engine, variant] = (third - first) / 2 / middle
    worst = max(spreads, key=lambda each: spreads[each])
    noisy = sum(each > 0.1 for each in spreads.values())
    assert list(map(plain, ON_GPU.warnings)) == [
        "The time of a fixed matrix product changed by +20.0 % between start and end of the run.",
        "The time of a fixed copy changed by +23.3 % between start and end of the run.",
        f"The rounds of {noisy} stage tests are noisy, those of {worst[1]} of {worst[0]} by "
        f"±{percent(spreads[worst])} %.",
        *(
            f"Synchronising between the stages adds {change(gap(m, e))} % to {m} {e}."
            for m, e in EACH
            if gap(m, e) > 0.05
        ),
    ]


def sentences(found: Section) -> list[str]:
    return [plain(line) for block in found.blocks if isinstance(block, Sentences) for line in block.lines]


@pytest.mark.parametrize(("target", "engine"), PAIRS)
def test_sentences_about_a_pair(target: str, engine: str) -> None:
    found = pair(target, engine)
    requests = [each for each in RUN.speculations if (each.target, each.engine) == (target, engine)]
    cost = next(each for each in RUN.speculation_costs if (each.target, each.engine) == (target, engine))
    speedup = sum(each.alone_s for each in requests) / sum(each.pair_s for each in requests)
    first = sum(each.first_alone_s or 0 for each in requests) / sum(each.first_pair_s or 0 for each in requests)
    decoding = sum(each.alone_decode_s for each in requests) / sum(each.loop_s for each in requests)
    rounds = [one for each in requests for one in each.rounds]
    acceptance = {kind: fraction(each.value) for kind, each in found.acceptance.items()}
    added = (cost.pair_memory.device_allocated_bytes or 0) - (cost.alone_memory.device_allocated_bytes or 0)
    text = " ".join(sentences(section(f"drafting.{target}.{engine}")))
    for expected in (
        f"egpt drafting for {target} {engine}: {times(speedup)}, ",
        f"acceptance {acceptance['own']}, blind {acceptance['blind']}",
        f"A drafted token takes c = {fraction(cost.draft_step_s[0] / cost.step_s[0])} decoding steps of the target, "
        f"which take {milliseconds(cost.step_s[0])} ms each.",
        f"Decoding alone: measured {times(decoding)}, predicted ",
        f"Mean acceptance length {hundredths(sum(each.emitted for each in rounds) / len(rounds))} tokens per round",
        f"acceptance rate {fraction(sum(each.accepted for each in rounds) / sum(each.drafted for each in rounds))};",
        f"{percent(fmean(each.pair_s > each.alone_s for each in requests))} % of the requests became slower.",
        f"{sum(each.identical for each in requests)} of {len(requests)} answers are the target's own",
        f"Time to first token, target alone over pair: {times(first)} (95 %: ",
        f"the draft's weights, {with_unit(RUN.models[0].memory_bytes)}, and {with_unit(added)} more at the peak",
    ):
        assert expected in text
    assert found.payoff is not None
    assert found.payoff.best_gamma is not None
    assert f"Best gamma: {found.payoff.best_gamma[0]}, {times(found.payoff.best_gamma[1])}." in text
    assert found.lift is not None
    lift = " to ".join(fraction(each) for each in ends(found.lift))
    assert f"raises acceptance by {fraction(found.lift.value)} (95 %: {lift})" in text


def test_sentences_about_the_device_the_forecast_and_the_answers() -> None:
    assert sentences(section("floors")) == [
        "The device reads 1.1 GB/s, copies 1.3 GB/s, and computes 1.7 TFLOP/s in products of float32, 2.9 TFLOP/s in "
        "products of float16."
    ]
    forecasts = sentences(section("agreement"))
    for target, line in zip(TARGETS, forecasts, strict=True):
        draft, theirs = means(target, "eager", "total")
        assert f"forecast for {target} from this agreement" in line
        assert line.endswith(f"at gamma {GAMMA}, c = {fraction(draft / theirs)}.")
    answers = [
        (plain(who), answer) for block in section("answers").blocks for who, answer in getattr(block, "answers", ())
    ]
    records = [passes(model, "eager")[sample] for sample in SAMPLES[:4] for model in MODELS]
    assert answers == [
        (f"{each.model}, {len(each.token_ids)} tokens in {milliseconds(total(each))} ms", each.text) for each in records
    ]


# What the three renderers show of it.


@dataclass
class Tables(HTMLParser):
    """The tables of a page, cell by cell."""

    source: str
    grids: list[list[list[str]]] = field(default_factory=list)
    _open: bool = False

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.grids.append([])
        if tag == "tr":
            self.grids[-1].append([])
        if tag in {"td", "th"}:
            self.grids[-1][-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self._open:
            self.grids[-1][-1][-1] += data


def shown(report: Report, *, brief: bool) -> list[list[list[str]]]:
    return [
        [list(block.columns), *([plain(cell) for cell in row] for row in block.rows)]
        for each in report.sections
        if each.brief or not brief
        for block in each.blocks
        if isinstance(block, Table) and not (brief and block.folded)
    ]


def all_sentences(report: Report, *, brief: bool) -> list[str]:
    found = [plain(line) for line in (*report.headlines, *report.highlights, *report.caveats)]
    return found + [line for each in report.sections if each.brief or not brief for line in sentences(each)]


def test_the_page_shows_every_cell_and_sentence() -> None:
    found = page(ON_GPU)
    assert Tables(found).grids == shown(ON_GPU, brief=False)
    words = Page(found).words
    assert not [line for line in all_sentences(ON_GPU, brief=False) if line not in words]


def test_the_markdown_shows_every_cell_and_sentence() -> None:
    found = MarkdownIt("commonmark").enable("table").render(markdown(ON_GPU))
    tiles, *grids = Tables(found).grids
    assert [row[:2] for row in tiles[1:]] == [[each.label, plain(each.figure)] for each in ON_GPU.tiles]
    assert [row[2] for row in tiles[1:]] == ["; ".join(map(plain, each.details)) for each in ON_GPU.tiles]
    assert grids == shown(ON_GPU, brief=True)
    words = Page(found).words
    assert not [line for line in all_sentences(ON_GPU, brief=True) if line not in words]


def test_the_terminal_shows_every_cell_and_sentence() -> None:
    text = rendered(ON_GPU, width=1000, verbosity=1)
    lines = [line.split() for line in text.splitlines()]
    rows = [" ".join(row).split() for grid in shown(ON_GPU, brief=False) for row in grid]
    assert len(rows) > 100
    assert not [row for row in rows if row not in lines]
    assert not [line for line in all_sentences(ON_GPU, brief=False) if line not in text]


def test_the_terminal_s_columns_are_the_report_s() -> None:
    """Each cell ends, or begins, below its heading: a column that moved would not."""
    (grid,) = shown(Report("", "", [], [section("memory")]), brief=False)
    lines = rendered(Report("", "", [], [section("memory")]), width=1000, verbosity=1).splitlines()
    start = next(place for place, line in enumerate(lines) if line.split() == " ".join(grid[0]).split())
    end = 0
    for place, heading in enumerate(grid[0][1:], start=1):
        end = lines[start].index(heading, end) + len(heading)
        assert [lines[start + row][:end].split()[-1] for row in range(1, len(grid))] == [row[place] for row in grid[1:]]
