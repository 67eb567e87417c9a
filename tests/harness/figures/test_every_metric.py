"""Every gated figure of a run in which nothing equals anything else, from its raw records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

import pytest

from harness.figures.metrics import session_metrics
from harness.records.lines import StageRecord
from tests.harness.report.distinct_run import TARGETS, distinct_run
from tests.harness.report.expected_figures import EACH, PAIRS, RUN, both, means, stage_test
from tests.harness.report.expected_quality import qualities


def of_rounds(record: StageRecord, *, per_token: bool = False) -> float:
    """Of each sample the faster half, an odd number's middle one counted, then the mean over the samples."""
    seconds: dict[str, list[float]] = {}
    for sample, one in zip(record.round_samples, record.round_s, strict=True):
        steps = record.tokens[sample] - 1 if per_token else 1
        seconds.setdefault(sample, []).append(math.log((1000 if per_token else 1) * one / steps))
    return fmean(fmean(sorted(each)[: math.ceil(len(each) / 2)]) for each in seconds.values())


def of_load(record: StageRecord) -> float:
    """The mean over the samples of the mean of each one's faster half, without logarithms."""
    seconds: dict[str, list[float]] = {}
    for sample, one in zip(record.round_samples, record.round_s, strict=True):
        seconds.setdefault(sample, []).append(one)
    return fmean(fmean(sorted(each)[: math.ceil(len(each) / 2)]) for each in seconds.values())


def expected(device: str) -> Iterator[tuple[str, float]]:
    for record in distinct_run(device).stages:
        name = ".".join(filter(None, (record.stage, record.model, record.engine, record.variant)))
        yield f"time.{name}", of_rounds(record)
        if record.stage == "decode":
            yield f"ms_per_token.{name.removeprefix('decode.')}", of_rounds(record, per_token=True)
        peaks = record.memory.values()
        sizes = [each.device_allocated_bytes if device == "cuda" else each.host_bytes for each in peaks]
        yield f"memory.{name}", math.log(max(size or 0 for size in sizes))
    for target, variant in zip(TARGETS, ("legacy reader", ""), strict=True):
        sides = of_load(stage_test(target, "load", None, variant)), of_load(stage_test("egpt", "load"))
        yield f"speedup.stage1.{target}", math.log(sides[0] / sides[1])
    for model, engine in EACH:
        for measure, value in qualities(model, engine).items():
            if measure.endswith("_tokens"):
                yield f"length.{measure}.{model}.{engine}", math.log(value)
            else:
                yield f"quality.{measure}.{model}.{engine}", value
    for target, engine in PAIRS:
        for what, part in (("stage3", "3 vision + LLM"), ("total", "total")):
            draft, theirs = means(target, engine, part)
            yield f"speedup.{what}.{target}.{engine}", math.log(theirs / draft)
        own = [each.agrees["own"] for each in RUN.agreements if (each.target, each.engine) == (target, engine)]
        yield f"acceptance.{target}.{engine}", sum(sum(each[1:]) for each in own) / sum(len(each) - 1 for each in own)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_every_value_is_that_of_the_records_under_its_name(device: str) -> None:
    found = {name: metric.value for name, metric in session_metrics(distinct_run(device)).items()}
    wanted = dict(expected(device))
    numbers = [value for name, value in wanted.items() if not name.startswith("quality.")]
    assert len(set(numbers)) == len(numbers), "no two figures are equal"
    assert found == pytest.approx(wanted)


def test_every_speedup_has_the_logarithms_of_its_two_sides_and_the_samples_of_both() -> None:
    found = session_metrics(RUN)
    for target, engine in PAIRS:
        draft, theirs = means(target, engine, "total")
        metric = found[f"speedup.total.{target}.{engine}"]
        assert metric.sides == pytest.approx((math.log(theirs), math.log(draft)))
        assert metric.rounds == len(both(target, engine))
