"""Every figure that a limit can bound, of a run in which nothing equals anything else, from its raw records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean, median

import pytest

from harness.figures.student import t_quantile
from harness.gates.limits import measured
from harness.records.lines import StageRecord
from harness.stages import STAGES
from tests.harness.report.distinct_run import ENGINES, MODELS, TARGETS, distinct_run
from tests.harness.report.expected_figures import EACH, MIB, PAIRS, RUN, means, passes, stage_test, total
from tests.harness.report.expected_quality import qualities


def load_s(record: StageRecord) -> float:
    """The mean over the samples of each one's median."""
    samples = dict.fromkeys(record.round_samples)
    rounds = list(zip(record.round_samples, record.round_s, strict=True))
    return fmean(median(seconds for name, seconds in rounds if name == sample) for sample in samples)


def lower_end_of_lift(target: str, engine: str) -> float:
    pairs = [each.agrees for each in RUN.agreements if (each.target, each.engine) == (target, engine)]
    parts = [sum(each["own"][1:]) - sum(each["shuffled"][1:]) for each in pairs]
    wholes = [len(each["own"]) - 1 for each in pairs]
    n, lift = len(parts), sum(parts) / sum(wholes)
    squares = sum((part - lift * whole) ** 2 for part, whole in zip(parts, wholes, strict=True))
    return lift - t_quantile(0.975, n - 1) * math.sqrt(n / (n - 1) * squares) / sum(wholes)


def expected(device: str) -> Iterator[tuple[str, float]]:
    kind = "device_memory_mib" if device == "cuda" else "host_memory_mib"
    for engine in ENGINES:
        for model in MODELS:
            for stage in STAGES:
                own_engine = None if stage in {"load", "preprocess"} else engine
                record = stage_test(model, stage, own_engine)
                yield f"{engine}.median_ms.{model}.{stage}", 1000 * median(record.round_s)
                known = [each for each in RUN.stages if (each.model, each.stage, each.variant) == (model, stage, "")]
                peaks = [peak for each in known for peak in each.memory.values()]
                sizes = [each.device_allocated_bytes if device == "cuda" else each.host_bytes for each in peaks]
                yield f"{engine}.{kind}.{model}.{stage}", max(size or 0 for size in sizes) / MIB
        for target, variant in zip(TARGETS, ("legacy reader", ""), strict=True):
            sides = load_s(stage_test(target, "load", None, variant)), load_s(stage_test("egpt", "load"))
            yield f"{engine}.speedup.{target}.stage1", sides[0] / sides[1]
    for model, engine in EACH:
        whole = list(passes(model, engine).values())
        decode = [each.stage_s["decode"] for each in whole]
        yield f"{engine}.total_ms.{model}", 1000 * median(map(total, whole))
        yield f"{engine}.ttft_ms.{model}", 1000 * median(total(o) - s for o, s in zip(whole, decode, strict=True))
        steps = [(s, len(o.token_ids) - 1) for o, s in zip(whole, decode, strict=True)]
        yield from ((f"{engine}.quality.{model}.{name}", value) for name, value in qualities(model, engine).items())
        yield f"{engine}.ms_per_token.{model}", 1000 * median(s / n for s, n in steps if n > 0)
    for target, engine in PAIRS:
        for what, part in (("stage3", "3 vision + LLM"), ("total", "total")):
            draft, theirs = means(target, engine, part)
            yield f"{engine}.speedup.{target}.{what}", theirs / draft
        own = [each.agrees["own"] for each in RUN.agreements if (each.target, each.engine) == (target, engine)]
        accepted = sum(sum(each[1:]) for each in own) / sum(len(each) - 1 for each in own)
        yield f"{engine}.acceptance.{target}", accepted
        yield f"{engine}.vision_lift.{target}", lower_end_of_lift(target, engine)


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_every_figure_is_that_of_the_records_under_its_name(device: str) -> None:
    found = {name: figure.value for name, figure in measured(distinct_run(device)).items()}
    assert found == pytest.approx(dict(expected(device)))
