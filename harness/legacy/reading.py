"""A legacy result file as the record of a run, as far as such a file goes: old results get the figures of new ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import ResultFileError
from harness.figures.stages import MIB
from harness.legacy.writing import read_legacy
from harness.records.lines import FORMAT_VERSION, Failure, Header, PassRecord, PlannedSample, RunRecord, StageRecord
from harness.records.quantities import MemoryPeak
from harness.stages import LEGACY_STAGES, UNDIVIDED

DRAFT = "egpt"
# The models of the old script, in the order in which they are shown; others come behind them.
OLD_MODELS = (DRAFT, "videollava", "llava")
_TIME_OF_STAGE_1 = re.compile(r"(.+)_stage1_time")
NOT_RECORDED = "not recorded"
"""What such a file does not tell: machine, device, engine."""
NO_TIME = "1970-01-01T00:00:00+00:00"
INFERENCE = "inference"
"""The highest peak of all stages."""


def run_of_legacy_file(path: Path, gamma: int = 5) -> RunRecord:
    """Return the run that a legacy result file tells of.

    Raises ResultFileError where the file cannot be read, or no sample of it has the times of all three stages.
    """
    records = read_legacy(path)
    keys = dict.fromkeys(match[1] for record in records for match in map(_TIME_OF_STAGE_1.fullmatch, record) if match)
    named = sorted(keys, key=lambda model: OLD_MODELS.index(model) if model in OLD_MODELS else len(OLD_MODELS))
    models = [model for model in named if any(_has_times(record, model) for record in records)]
    if not models:
        raise ResultFileError(
            f"{path}: no sample has the times of all three stages of a model, as egpt_stage1_time, egpt_stage2_time "
            "and egpt_stage3_time; name the run's journal.jsonl or run.json, if there is one"
        )
    passes = [found for model in models for record in records if (found := _pass(record, model))]
    return RunRecord(
        header=_header(path, records, models, gamma),
        passes=tuple(passes),
        stages=tuple(_memory(records[0], models)),
    )


def _has_times(record: dict[str, Any], model: str) -> bool:
    return all(f"{model}_stage{number}_time" in record for number in LEGACY_STAGES)


def _header(path: Path, records: Sequence[dict[str, Any]], models: Sequence[str], gamma: int) -> Header:
    return Header(
        format_version=FORMAT_VERSION,
        started_at=str(records[0].get("benchmark_datetime") or NO_TIME),
        environment={},
        options={"gamma": gamma},
        model_set=NOT_RECORDED,
        device=NOT_RECORDED,
        engines=(NOT_RECORDED,),
        models=tuple(models),
        draft=DRAFT if DRAFT in models else None,
        targets=tuple(model for model in models if model != DRAFT),
        dataset=str(path),
        limits={},
        samples=tuple(_planned(record) for record in records),
    )


def _planned(record: dict[str, Any]) -> PlannedSample:
    text = {name: str(record[name]) for name in ("split", "query", "event_data", "video_data") if record.get(name)}
    return PlannedSample(
        id=record["id"],
        split=text.get("split", ""),
        query=text.get("query", ""),
        event_data=text.get("event_data"),
        video_data=text.get("video_data"),
    )


def _pass(record: dict[str, Any], model: str) -> PassRecord | None:
    """One sample's pass; None where the file knows nothing of it."""
    error = record.get(f"{model}_error")
    if not _has_times(record, model) and error is None:
        return None
    ids = record.get(f"{model}_token_ids") or ()
    stage_s = _stage_s(record, model) if error is None else {}
    return PassRecord(
        sample=record["id"],
        model=model,
        engine=NOT_RECORDED,
        kind="whole",
        stage_s=stage_s,
        whole_s=sum(stage_s.values()),
        source=str(record.get(f"{model}_source", "")),
        text=str(record.get(model, "")),
        token_ids=tuple(each for each in ids if isinstance(each, int)),
        stopped_by="",
        finished_at=str(record.get("benchmark_datetime", "")),
        failure=None if error is None else Failure(record["id"], "", "", str(error)),
    )


def _stage_s(record: dict[str, Any], model: str) -> dict[str, float]:
    parts = {stage: record.get(f"{model}_{stage}_time") for stage in LEGACY_STAGES[3]}
    seconds = {
        "load": float(record[f"{model}_stage1_time"]),
        "preprocess": float(record[f"{model}_stage2_time"]),
    }
    if None in parts.values():
        return seconds | {UNDIVIDED: float(record[f"{model}_stage3_time"])}
    return seconds | {stage: float(part) for stage, part in parts.items() if part is not None}


def _memory(record: dict[str, Any], models: Sequence[str]) -> Iterator[StageRecord]:
    """Peaks of the first record, the only one that has them; it does not say of which kind of memory."""
    for model in models:
        for stage in ("load", "preprocess", "vision", "prefill", "decode", "inference"):
            mebibytes = record.get(
                f"{model}_memory_inference_mb" if stage == "inference" else f"{model}_{stage}_memory_mb"
            )
            if mebibytes is not None:
                peak = MemoryPeak(host_bytes=int(mebibytes * MIB))
                yield StageRecord(
                    test="",
                    model=model,
                    engine=None,
                    stage=stage,
                    variant="",
                    cold_s={},
                    round_samples=(),
                    round_s=(),
                    tokens={},
                    sources=(),
                    memory={record["id"]: peak},
                    failures=(),
                )
