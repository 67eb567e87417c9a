"""Every key of the legacy file of a run in which nothing equals anything else, from its raw records."""

from __future__ import annotations

from typing import Any

import pytest

from harness.legacy.writing import legacy_records
from harness.records.lines import PassRecord
from harness.stages import STAGES
from tests.harness.report.distinct_run import MODELS, SAMPLES, TARGETS
from tests.harness.report.expected_figures import MIB, PARTS, RUN, passes, total

ENGINE = "eager"


def of_pass(model: str, one: PassRecord) -> dict[str, Any]:
    parts = {f"{model}_{stage}_time": one.stage_s[stage] for stage in ("vision", "prefill", "decode")}
    return parts | {
        model: one.text,
        f"{model}_time": total(one),
        f"{model}_stage1_time": PARTS["1 load"](one),
        f"{model}_stage2_time": PARTS["2 preprocess"](one),
        f"{model}_stage3_time": PARTS["3 vision + LLM"](one),
        f"{model}_tokens": len(one.token_ids),
        f"{model}_token_ids": list(one.token_ids),
        f"{model}_source": one.source,
    }


def of_pair(target: str, sample: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    draft, theirs = passes("egpt", ENGINE).get(sample), passes(target, ENGINE).get(sample)
    if draft and theirs:
        both = list(zip(draft.token_ids, theirs.token_ids, strict=False))
        same = sum(mine == other for mine, other in both)
        found |= {f"{target}_acceptance_matched": same, f"{target}_acceptance_compared": len(both)}
        found |= {f"{target}_acceptance_rate": same / len(both)}
    key, prefix = (sample, target, ENGINE), f"{target}_spec_"
    for agreement in RUN.agreements:
        if (agreement.sample, agreement.target, agreement.engine) == key:
            own = agreement.agrees["own"][1:]
            found |= {f"{prefix}acceptance_matched": sum(own), f"{prefix}acceptance_compared": len(own)}
            found |= {f"{prefix}acceptance_rate": sum(own) / len(own)}
    for request in RUN.speculations:
        if (request.sample, request.target, request.engine) == key:
            names = ("drafted", "accepted", "emitted")
            found |= {f"{prefix}{name}": sum(getattr(each, name) for each in request.rounds) for name in names}
            found |= {f"{prefix}gamma": request.gamma, f"{prefix}rounds": len(request.rounds)}
            found |= {f"{prefix}identical": request.identical, f"{prefix}time": request.pair_s}
            found |= {f"{prefix}alone_time": request.alone_s, f"{prefix}decode_time": request.loop_s}
            found |= {f"{prefix}alone_decode_time": request.alone_decode_s}
            found |= {f"{prefix}first_token_time": request.first_pair_s}
            found |= {f"{prefix}alone_first_token_time": request.first_alone_s}
    return found


def memory() -> dict[str, float]:
    """The model's own bytes, each stage's highest peak on the device, of any engine, and the highest of all."""
    found = {f"{each.model}_memory_model_mb": each.memory_bytes / MIB for each in RUN.models}
    for model in MODELS:
        for stage in STAGES:
            known = [each for each in RUN.stages if (each.model, each.stage, each.variant) == (model, stage, "")]
            sizes = [peak.device_allocated_bytes or 0 for each in known for peak in each.memory.values()]
            found[f"{model}_{stage}_memory_mb"] = max(sizes) / MIB
        found[f"{model}_memory_inference_mb"] = max(found[f"{model}_{stage}_memory_mb"] for stage in STAGES)
    return found


def test_every_value_is_that_of_the_records_under_its_key() -> None:
    records = legacy_records(RUN)
    assert [each["id"] for each in records] == list(SAMPLES)
    for record in records:
        sample = record["id"]
        wanted: dict[str, Any] = memory() if sample == SAMPLES[0] else {}
        for model in MODELS:
            one = passes(model, ENGINE).get(sample)
            wanted |= of_pass(model, one) if one else {f"{model}_error": record[f"{model}_error"]}
        for target in TARGETS:
            wanted |= of_pair(target, sample)
        of_sample = {"id", "split", "query", "benchmark_datetime", "event_data", "video_data"}
        found = {key: value for key, value in record.items() if key not in of_sample}
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert found[key] == (pytest.approx(value) if isinstance(value, float) else value), key
