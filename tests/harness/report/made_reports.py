"""Runs with something for every section, and result files as the old script wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from harness.figures.passes import legacy_stage_s, pass_s
from harness.records.lines import (
    EngineRecord,
    GateRecord,
    MachineRecord,
    OutcomeRecord,
    ReferenceWorkRecord,
    RunRecord,
    StageWork,
    VerdictRecord,
)
from tests.harness.made_runs import STARTED_AT, full_run, header, headline_run, side_by_side, whole_pass


def everything_run(**changes: Any) -> RunRecord:
    """A run that has something of everything that a run can have."""
    fields: dict[str, Any] = {
        "side_by_side": (side_by_side((0.1, 0.2), (0.3, 0.4)),),
        "machine": MachineRecord(1e9, 2e9, {"float32": 1e12}),
        "engines": (EngineRecord("egpt", "eager", {"kernels": "none"}),),
        "stages": tuple(
            msgspec.structs.replace(each, work={sample: StageWork(1e8, 1e10, "float32") for sample in ("s1", "s2")})
            if each.stage in {"vision", "prefill", "decode"}
            else each
            for each in full_run().stages
        ),
        "reference_work": (
            ReferenceWorkRecord("start", (0.1,), (0.2,), ("thermal slowdown",), 1),
            ReferenceWorkRecord("end", (0.2,), (0.2,)),
        ),
        "outcomes": (OutcomeRecord("test_read[torchcodec]", "skipped", "it is not installed"),),
        "gates": (
            GateRecord(
                "time.decode.egpt.eager",
                "regressed",
                "decode got slower",
                ("t",),
                -1.0,
                -1.1,
                0.1,
                0.05,
                0.04,
                0.07,
                10,
            ),
            GateRecord("acceptance.videollava.eager", "pass", "as it was", ("t",), 0.5, 0.5, 0.0, 0.02, 0.02, 0.03, 10),
            GateRecord("time.load.egpt", "not run", "deselected"),
        ),
        "passes": (
            *full_run().passes,
            *(whole_pass(model, "s1", kind="throughput", stage_s={}) for model in ("egpt", "videollava")),
        ),
        "verdicts": (VerdictRecord("eager.speedup.videollava.total", "broken", "total speedup was 1x", "t", 1.0, 2.0),),
    }
    return full_run(**fields | changes)


def old_records() -> list[dict[str, Any]]:
    """The published means as the old script wrote them: three stages, no parts of the third, no number of tokens."""
    run = headline_run()
    by_model = {model: {each.sample: each for each in run.passes if each.model == model} for model in run.header.models}
    records = []
    for sample in run.header.samples:
        record: dict[str, Any] = {
            "id": sample.id,
            "split": sample.split,
            "query": sample.query,
            "benchmark_datetime": STARTED_AT,
            "event_data": sample.event_data,
            "video_data": sample.video_data,
        }
        for model, passes in by_model.items():
            one = passes[sample.id]
            record |= {model: one.text, f"{model}_time": pass_s(one), f"{model}_token_ids": list(one.token_ids)}
            record |= {f"{model}_stage{number}_time": legacy_stage_s(one, number) for number in (1, 2, 3)}
        records.append(record)
    records[0] |= {"egpt_memory_inference_mb": 14000.0, "videollava_memory_inference_mb": 15000.0}
    return records


def old_file(folder: Path, records: list[dict[str, Any]] | None = None, name: str = "old_results_n10.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(old_records() if records is None else records))
    return path


def long_run(samples: int) -> RunRecord:
    """Three models on many samples with long answers."""
    ids = tuple(f"interlaken_00_{number:06}" for number in range(samples))
    models = {"egpt": 1.0, "videollava": 5.0, "llava": 3.0}
    passes = tuple(
        whole_pass(
            model,
            sample,
            tuple(factor * share * (1 + number % 17 / 10) for share in (0.3, 0.02, 0.1, 0.2, 0.7)),
            text="The scene shows a road with a car. " * 12,
            token_ids=tuple((7 * number + place * place) % 991 for place in range(40 + number % 60)),
        )
        for model, factor in models.items()
        for number, sample in enumerate(ids)
    )
    names = tuple(models)
    return full_run(header=header(ids, models=names, targets=names[1:]), passes=passes)
