"""Every figure of the report comes from the right model, engine, stage, sample and round.

In the run that is reported nothing equals anything else: a figure from the wrong place is another figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import fmean, median, quantiles

import msgspec
import pytest

from harness.figures.intervals import ratio_interval
from harness.records.lines import PassRecord
from harness.report.blocks import Figure, Section, Table, Text, parts, plain
from harness.report.content import report_of
from harness.report.formatting import change, duration, fraction, hundredths, milliseconds, percent, times, with_unit
from harness.stages import STAGES
from tests.harness.report import expected_figures
from tests.harness.report.distinct_run import (
    APART,
    ENGINES,
    MODELS,
    REFERENCE,
    SAMPLES,
    TARGETS,
    distinct_run,
)
from tests.harness.report.expected_figures import (
    EACH,
    MEASURED,
    PAIRS,
    PARTS,
    RUN,
    Cell,
    Grid,
    both,
    ends,
    growth,
    largest,
    means,
    pair,
    passes,
    peaks,
    ratio_ends,
    stage_test,
    total,
)
from tests.harness.report.expected_quality import qualities, quality
from tests.harness.report.reading import section, sentences

ON_GPU = report_of(RUN, "source")
EXPECTED = {**expected_figures.EXPECTED, "answers": quality}


def of_cell(cell: Text) -> Cell:
    figures = [part.value for part in parts(cell) if isinstance(part, Figure)]
    return tuple(figures) if len(figures) > 1 or " or more" in plain(cell) else figures[0] if figures else plain(cell)


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
    assert columns["latency"] == [["latency", "model", "mean", "p50", "p90", "p99", "n"]]
    assert columns["stages"] == [["model", *STAGES, "total", "n"]]
    assert section(ON_GPU, "stages").title == "Stages, mean ms per sample"
    assert columns["memory"] == [["stage", *(f"{model} MiB" for model in MODELS)]]
    for target, engine in PAIRS:
        shares = ["% of target's time", "% of time saved"]
        wanted = [["stage", f"egpt {engine} ms", f"{target} {engine} ms", "faster", "95 % interval", *shares]]
        assert columns[f"beside.{target}.{engine}"] == wanted
    measures = ["objects named", "ended", "finite", "repeated", "as eager", "answer tokens", "visual tokens"]
    assert columns["answers"] == [["model", *measures]]
    assert columns["throughput"] == [["model", "samples/s", "samples/s, one after the other"]]


def test_no_section_with_figures_is_left_out_of_this_test() -> None:
    with_figures = {
        each.key
        for each in ON_GPU.sections
        for block in each.blocks
        if isinstance(block, Table)
        if any(isinstance(part, Figure) for row in block.rows for cell in row for part in parts(cell))
    }
    assert with_figures == set(EXPECTED)


def test_on_a_cpu_memory_is_how_far_the_process_grew_and_no_tile() -> None:
    report = report_of(distinct_run("cpu"), "source")
    assert tables(section(report, "memory")) == growth()
    assert "peak memory" not in [each.label for each in report.tiles]


def test_the_tiles() -> None:
    found = {each.label: [plain(each.figure), *map(plain, each.details)] for each in ON_GPU.tiles}

    def speedups(part: str) -> list[str]:
        over = {(t, e): times(means(t, e, part)[1] / means(t, e, part)[0]) for t, e in PAIRS}
        low, high = map(times, ratio_ends("videollava", "eager", part))
        others = [f"{over[t, e]} over {t} {e}" for e in ENGINES for t in TARGETS][1:]
        return [over["videollava", "eager"], "over videollava eager", f"95 %: {low} to {high}", *others]

    def models(measure: str, value: Callable[[PassRecord], float]) -> list[str]:
        shown = {(m, e): duration(fmean(map(value, passes(m, e).values()))) for m, e in EACH}
        whose = {(m, e): f"{m} {e} ({len(passes(m, e))} samples)" for m, e in EACH}
        first, *others = shown
        return [shown[first], f"{whose[first]}, {measure}", *(f"{shown[each]} {whose[each]}" for each in others)]

    found_pair = pair("videollava", "eager")
    acceptance, speedup = found_pair.acceptance, found_pair.speedup
    assert speedup is not None
    pays = "pays" if speedup.low > 1 else "does not pay" if speedup.high < 1 else "no clear gain or loss"
    (model, stage), size = max(peaks("cuda").items(), key=lambda each: each[1])
    assert found == {
        "total speedup": speedups("total"),
        "time per sample": models("mean", total),
        "time to first token": models("mean", lambda one: total(one) - one.stage_s["decode"]),
        "speculative decoding": [
            times(speedup.value),
            "drafting for videollava eager",
            f"{pays}; acceptance {fraction(acceptance['own'].value)}",
            f"blind {fraction(acceptance['blind'].value)}",
        ],
        "peak memory": [
            with_unit(size),
            f"{model}, {stage}; allocated on the GPU",
            f"{percent(size / (24 << 30))} % of 24.0 GiB",
        ],
    }


def test_a_part_of_the_suite_has_tiles_of_the_stages_that_it_measured() -> None:
    loads = tuple(each for each in RUN.stages if each.stage in {"load", "vision"} and not each.variant)
    tiles = report_of(msgspec.structs.replace(RUN, stages=loads, passes=(), agreements=(), speculations=()), "x").tiles
    assert [each.label for each in tiles] == ["load", "vision", "peak memory"]
    medians = [duration(median(stage_test(model, "load").round_s)) for model in MODELS]
    rounds = len(stage_test("egpt", "load").round_s)
    assert [plain(tiles[0].figure), *map(plain, tiles[0].details)] == [
        medians[0], f"egpt, median of {rounds} rounds", f"{medians[1]} videollava", f"{medians[2]} llava",
    ]  # fmt: skip


def headlines() -> list[str]:
    lines = []
    for engine in ENGINES:
        stage, share = largest("egpt", engine)
        for target in TARGETS:
            draft, theirs = means(target, engine, "total")
            digits = milliseconds if max(draft, theirs) < 10 else duration
            lines.append(
                f"egpt {engine} is {times(theirs / draft)} faster than {target} {engine}: {digits(draft)} vs. "
                f"{duration(theirs)} per sample; {stage} is {percent(share)} % of its time"
            )
    return lines


def pair_lines() -> list[str]:
    lines = []
    for engine in ENGINES:
        for target in TARGETS:
            found = pair(target, engine)
            assert found.speedup is not None
            assert found.lift is not None
            low, high = ends(found.speedup)
            pays = "pays" if low > 1 else "does not pay" if high < 1 else "no clear gain or loss"
            own, blind = (fraction(found.acceptance[kind].value) for kind in ("own", "blind"))
            lines.append(
                f"egpt drafting for {target} {engine}: {times(found.speedup.value)}, {pays}; acceptance {own}, "
                f"blind {blind}, lift {fraction(found.lift.value)}"
            )
    return lines


def highlights() -> list[str]:
    lines = []
    for engine in ENGINES:
        for target in TARGETS:
            found = {part: means(target, engine, part) for part in PARTS}
            by_stage = ", ".join(f"{part[2:]} {times(b / a)}" for part, (a, b) in list(found.items())[:3])
            draft, theirs = found.pop("total")
            part = max(found, key=lambda each: found[each][1])
            own, saved = found[part][1] / theirs, (found[part][1] - found[part][0]) / (theirs - draft)
            lines.append(
                f"Over {target} {engine} by stage: {by_stage}; {part[2:]} is {percent(own)} % of {target} {engine}'s "
                f"time and {percent(saved)} % of the time saved."
            )
    return [
        *lines,
        "The tiny set's small models were measured: their times say nothing about the 7B models.",
    ]


def test_headlines_and_highlights() -> None:
    assert list(map(plain, ON_GPU.headlines)) == headlines() + pair_lines()
    assert list(map(plain, ON_GPU.highlights)) == highlights()


def test_caveats_are_of_intervals_that_hold_1() -> None:
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
    assert expected
    assert list(map(plain, ON_GPU.caveats)) == expected


def gap(model: str, engine: str) -> tuple[float, float, float]:
    without, within = passes(model, engine, "unsynchronised"), passes(model, engine)
    found = ratio_interval([within[each].whole_s for each in without], [each.whole_s for each in without.values()])
    assert found is not None
    return found.value - 1, found.low - 1, found.high - 1


def about_synchronisation(model: str, engine: str) -> str:
    value, low, high = map(change, gap(model, engine))
    return f"Synchronising between the stages adds {value} % (95 %: {low} to {high}) to a sample of {model} {engine}."


def test_sentences_about_synchronisation_and_tokens() -> None:
    found = sentences(section(ON_GPU, "stages"))
    assert found == [about_synchronisation(*each) for each in EACH]
    for target, engine in PAIRS:
        draft, theirs = means(target, engine, "3 vision + LLM")
        tokens = [sum(len(each[side].token_ids) for each in both(target, engine)) for side in (0, 1)]
        fewer, whole = tokens[1] / tokens[0], theirs / draft
        words = ("fewer" if fewer >= 1 else "more", "faster" if whole / fewer >= 1 else "slower")
        of_tokens, pace = math.log(fewer) / math.log(whole), whole / fewer
        in_logarithms = (
            f"; in logarithms, which add up, {percent(of_tokens)} % and {percent(1 - of_tokens)} % of the speedup"
        )
        assert sentences(section(ON_GPU, f"beside.{target}.{engine}")) == [
            f"Stage 3: {times(whole)} = {times(fewer)} ({words[0]} tokens) × {times(whole / fewer)} ({words[1]} tokens)"
            f"{in_logarithms if min(fewer, pace) > 1 else ''}.",
            *apart(("egpt", engine), (target, engine)),
        ]


def apart(*of: tuple[str, str]) -> list[str]:
    """What is said of the sample of each model that lies far outside the others."""
    lines = []
    for model, engine in of:
        seconds = {sample: total(one) for sample, one in passes(model, engine).items()}
        mine = seconds[APART[model]]
        how = f"{APART[model]} ({duration(mine)}, {times(mine / fmean(seconds.values()))} its mean)"
        lines.append(f"Outliers of {model} {engine}, which all means include: {how}.")
    return lines


def test_samples_that_lie_far_outside_are_named_beside_the_intervals_that_have_them_in() -> None:
    assert sentences(section(ON_GPU, "latency")) == apart(*EACH)


def test_warnings_name_the_worst_and_how_much() -> None:
    spreads = {}
    for model, stage, engine, variant in MEASURED:
        first, middle, third = quantiles(stage_test(model, stage, engine, variant).round_s, method="inclusive")
        spreads[model, stage, engine, variant] = (third - first) / 2 / middle
    worst = max(spreads, key=lambda each: spreads[each])
    noisy = sum(each > 0.1 for each in spreads.values())
    wrong = {
        measure: fraction(max(1 - qualities(*each)[measure] for each in EACH)) for measure in ("finite", "repeated")
    }
    assert [plain(what) for what, _ in ON_GPU.warnings] == [
        "The time of a fixed matrix product changed by +20.0 % between start and end of the run.",
        "The time of a fixed copy changed by +23.3 % between start and end of the run.",
        f"Numbers of 5 models or engines are not finite, those of llava graph in {wrong['finite']} of the samples.",
        "Timed answers of 5 models or engines differ from untimed ones, of llava eager in "
        f"{wrong['repeated']} of samples.",
        f"Rounds of {noisy} of {len(spreads)} stage tests are noisy, most of all {worst[1]} of {worst[0]}: "
        f"±{percent(spreads[worst])} %.",
        *(about_synchronisation(*each) for each in EACH if gap(*each)[1] > 0.05),
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
    added = (cost.pair_memory.device_allocated_bytes or 0) - (cost.alone_memory.device_allocated_bytes or 0)
    text = " ".join(sentences(section(ON_GPU, f"drafting.{target}.{engine}")))
    for expected in (
        f"Wall clock from files to answer, target alone over pair: {times(speedup)} (",
        f"A drafted token takes c = {fraction(cost.draft_step_s[0] / cost.step_s[0])} decoding steps of the target, "
        f"which take {milliseconds(cost.step_s[0])} ms each.",
        f"Decoding alone: measured {times(decoding)}, predicted ",
        f"Mean acceptance length {hundredths(sum(each.emitted for each in rounds) / len(rounds))} tokens per round",
        f"acceptance rate {fraction(sum(each.accepted for each in rounds) / sum(each.drafted for each in rounds))};",
        f"{percent(fmean(each.pair_s > each.alone_s for each in requests))} % of requests became slower.",
        f"{sum(each.identical for each in requests)} of {len(requests)} answers are the target's own",
        f"Time to first token, target alone over pair: {times(first)} (",
        f"Memory: {with_unit(RUN.models[0].memory_bytes)} for the draft's weights, and {with_unit(added)} more at the",
    ):
        assert expected in text
    assert found.cost_model is not None
    assert found.cost_model.best_gamma is not None
    assert f"Best gamma: {found.cost_model.best_gamma[0]}, {times(found.cost_model.best_gamma[1])}." in text
    assert found.lift is not None
    lift = " to ".join(fraction(each) for each in ends(found.lift))
    assert f"raises acceptance by {fraction(found.lift.value)} ({lift})" in text


def test_sentences_about_quality() -> None:
    *differences, summary = sentences(section(ON_GPU, "answers"))
    for model, sentence in zip(MODELS, differences, strict=True):
        first = SAMPLES[2 + MODELS.index(model)]
        one, other = (passes(model, engine)[first].token_ids for engine in ENGINES)
        token = next(place for place in range(99) if one[place : place + 1] != other[place : place + 1])
        assert sentence == f"{model} graph differs from eager from token {token + 1} of sample {first} on."
    shares = [f"{fraction(qualities(model, engine)['objects_named'])} ({model} {engine})" for model, engine in EACH]
    assert summary == f"Answers name {', '.join(shares)} of the objects shown."
    header = msgspec.structs.replace(RUN.header, objects=())
    nameless = report_of(msgspec.structs.replace(RUN, header=header), "source")
    shares = [f"{fraction(qualities(model, 'graph')['as_eager'])} ({model} graph)" for model in MODELS]
    *_, summary = sentences(section(nameless, "answers"))
    assert summary == f"Answers are those of eager in {', '.join(shares)} of the samples."


def test_sentences_about_the_device_and_the_answers() -> None:
    assert sentences(section(ON_GPU, "floors")) == [
        "The device reads 1.10 GB/s, copies 1.30 GB/s, and computes 1.70 TFLOP/s in products of float32, 2.90 TFLOP/s "
        "in products of float16."
    ]
    assert section(ON_GPU, "answers").lead == "The first 4 of 12 samples."
    planned = (*RUN.header.samples, msgspec.structs.replace(RUN.header.samples[0], id="s12"))
    longer = msgspec.structs.replace(RUN, header=msgspec.structs.replace(RUN.header, samples=planned))
    assert section(report_of(longer, "x"), "answers").lead == "The first 4 of 12 samples.", "one was not reached"
    answers = [
        (plain(who), answer)
        for block in section(ON_GPU, "answers").blocks
        for who, answer in getattr(block, "answers", ())
    ]
    assert answers == [
        answer
        for sample in SAMPLES[:4]
        for answer in [
            ("the dataset's own", REFERENCE),
            *(
                (f"{each.model}, {len(each.token_ids)} tokens in {duration(total(each))}", each.text)
                for each in (passes(model, "eager")[sample] for model in MODELS)
            ),
        ]
    ]
