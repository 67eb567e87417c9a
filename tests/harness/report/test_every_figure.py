"""Every figure of the report comes from the right model, engine, stage, sample and round.

In the run that is reported nothing equals anything else: a figure from the wrong place is another figure.
"""

from __future__ import annotations

import math
from statistics import fmean, quantiles

import pytest

from harness.report.blocks import Figure, Section, Table, Text, parts, plain
from harness.report.content import report_of
from harness.report.formatting import change, fraction, hundredths, milliseconds, percent, times, with_unit
from harness.stages import STAGES
from tests.harness.report.distinct_run import (
    ENGINES,
    GAMMA,
    MODELS,
    SAMPLES,
    TARGETS,
    distinct_run,
)
from tests.harness.report.expected_figures import (
    EACH,
    EXPECTED,
    MEASURED,
    PAIRS,
    PARTS,
    RUN,
    Cell,
    Grid,
    both,
    ends,
    gated_load,
    largest,
    mean_ends,
    means,
    memory,
    pair,
    passes,
    peaks,
    ratio_ends,
    stage_test,
    total,
)
from tests.harness.report.reading import section, sentences

ON_GPU = report_of(RUN, "source")


def of_cell(cell: Text) -> Cell:
    figures = [part.value for part in parts(cell) if isinstance(part, Figure)]
    if len(figures) == 2:
        return figures[0], figures[1]
    return figures[0] if figures else plain(cell)


def tables(section: Section) -> list[Grid]:
    return [
        [[of_cell(cell) for cell in row] for row in block.rows] for block in section.blocks if isinstance(block, Table)
    ]


@pytest.mark.parametrize("key", EXPECTED)
def test_every_cell_is_from_the_right_model_stage_and_sample(key: str) -> None:
    found, expected = tables(section(ON_GPU, key)), EXPECTED[key]()
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
    assert tables(section(report_of(distinct_run("cpu"), "source"), "memory")) == [
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
    found = sentences(section(ON_GPU, "stages"))
    assert found == [
        f"Synchronising between the stages adds {change(gap(m, e))} % to a sample of {m} {e}." for m, e in EACH
    ]
    for target, engine in PAIRS:
        draft, theirs = means(target, engine, "3 vision + LLM")
        tokens = [sum(len(each[side].token_ids) for each in both(target, engine)) for side in (0, 1)]
        fewer, whole = tokens[1] / tokens[0], theirs / draft
        words = ("fewer" if fewer >= 1 else "more", "faster" if whole / fewer >= 1 else "slower")
        of_tokens = math.log(fewer) / math.log(whole)
        assert sentences(section(ON_GPU, f"beside.{target}.{engine}")) == [
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
    text = " ".join(sentences(section(ON_GPU, f"drafting.{target}.{engine}")))
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
    assert found.cost_model is not None
    assert found.cost_model.best_gamma is not None
    assert f"Best gamma: {found.cost_model.best_gamma[0]}, {times(found.cost_model.best_gamma[1])}." in text
    assert found.lift is not None
    lift = " to ".join(fraction(each) for each in ends(found.lift))
    assert f"raises acceptance by {fraction(found.lift.value)} (95 %: {lift})" in text


def test_sentences_about_the_device_the_forecast_and_the_answers() -> None:
    assert sentences(section(ON_GPU, "floors")) == [
        "The device reads 1.1 GB/s, copies 1.3 GB/s, and computes 1.7 TFLOP/s in products of float32, 2.9 TFLOP/s in "
        "products of float16."
    ]
    forecasts = sentences(section(ON_GPU, "agreement"))
    for target, line in zip(TARGETS, forecasts, strict=True):
        draft, theirs = means(target, "eager", "total")
        assert f"forecast for {target} from this agreement" in line
        assert line.endswith(f"at gamma {GAMMA}, c = {fraction(draft / theirs)}.")
    answers = [
        (plain(who), answer)
        for block in section(ON_GPU, "answers").blocks
        for who, answer in getattr(block, "answers", ())
    ]
    records = [passes(model, "eager")[sample] for sample in SAMPLES[:4] for model in MODELS]
    assert answers == [
        (f"{each.model}, {len(each.token_ids)} tokens in {milliseconds(total(each))} ms", each.text) for each in records
    ]
