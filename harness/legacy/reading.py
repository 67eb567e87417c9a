"""Legacy result files, of ours and of the old script: their records, and the run that they tell of.

Old results get the figures of new ones, as far as such a file goes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from harness.errors import ResultFileError
from harness.records.json_files import read_json
from harness.records.lines import FORMAT_VERSION, Failure, Header, PassRecord, PlannedSample, RunRecord, StageRecord
from harness.records.quantities import MIB, MemoryPeak, Seconds
from harness.stages import LEGACY_STAGES, STAGES, UNDIVIDED

DRAFT = "egpt"
# The models of the old script, in the order in which they are shown; others come behind them.
OLD_MODELS = (DRAFT, "videollava", "llava")
_TIME_OF_STAGE_1 = re.compile(r"(.+)_stage1_time")
NOT_RECORDED = "not recorded"
"""What such a file does not tell: machine, device, engine."""
NO_TIME = "1970-01-01T00:00:00+00:00"
INFERENCE = "inference"
"""In the place of a stage: the highest peak of all stages."""
# What old files call a model: some its text alone, some its times as well.
OLD_KEYS = {"llava-1.5-7b-hf": "llava"}
_NUMERIC = re.compile(r".*_(time|mb|rate)$")

Mebibytes = Annotated[float, msgspec.Meta(ge=0, le=2**30)]
Record = dict[str, Any]


def read_legacy(path: Path) -> list[Record]:
    """Return the records of a result file, of ours or of the old script, with old names put right.

    Raises ResultFileError naming the file, the record and the field.
    """
    records = read_json(path, list[dict[str, Any]], "a legacy result file, a JSON list of records")
    for number, record in enumerate(records):
        if not isinstance(record.get("id"), str):
            raise ResultFileError(
                f"{path}: record {number} has no 'id' that is a text; every record of a result has one"
            )
        for name, value in record.items():
            if _NUMERIC.match(name) and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ResultFileError(
                    f"{path}: record {number} ({record['id']!r}): {name!r} must be a number, not {value!r}"
                )
    return [{_present_name(name): value for name, value in record.items()} for record in records]


def run_of_legacy_file(path: Path, gamma: int = 5) -> RunRecord:
    """Return the run that a legacy result file tells of.

    Raises ResultFileError where the file cannot be read, where no sample of it has the times of all three stages, and
    where a time or a size is out of bounds.
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
    try:
        header = Header(
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
    except ValueError as error:  # what a header refuses to hold
        raise ResultFileError(f"{path}: {error}; name a run's folder or a result file") from error
    passes = [found for model in models for record in records if (found := _pass(path, record, model))]
    return RunRecord(header=header, passes=tuple(passes), stages=tuple(_memory(path, records[0], models)))


def _present_name(name: str) -> str:
    for old, key in OLD_KEYS.items():
        if name == old or name.startswith(f"{old}_"):
            return key + name.removeprefix(old)
    return name


def _has_times(record: Record, model: str) -> bool:
    return all(f"{model}_stage{number}_time" in record for number in LEGACY_STAGES)


def _planned(record: Record) -> PlannedSample:
    text = {name: str(record[name]) for name in ("split", "query", "event_data", "video_data") if record.get(name)}
    return PlannedSample(
        id=record["id"],
        split=text.get("split", ""),
        query=text.get("query", ""),
        event_data=text.get("event_data"),
        video_data=text.get("video_data"),
    )


def _pass(path: Path, record: Record, model: str) -> PassRecord | None:
    """Return one sample's pass; None where the file knows nothing of it."""
    error = record.get(f"{model}_error")
    if not _has_times(record, model) and error is None:
        return None
    ids = record.get(f"{model}_token_ids") or ()
    stage_s = _stage_s(path, record, model) if error is None else {}
    return PassRecord(
        sample=record["id"],
        model=model,
        engine=NOT_RECORDED,
        kind="whole",
        stage_s=stage_s,
        whole_s=sum(stage_s.values()),
        source=str(record.get(f"{model}_source", "")),
        text=str(record.get(model, "")),
        token_ids=tuple(token for token in ids if isinstance(token, int)),
        stopped_by="",
        finished_at=str(record.get("benchmark_datetime", "")),
        failure=None if error is None else Failure(record["id"], "", "", str(error)),
    )


def _stage_s(path: Path, record: Record, model: str) -> dict[str, float]:
    keys = {"load": f"{model}_stage1_time", "preprocess": f"{model}_stage2_time"}
    parts = {stage: f"{model}_{stage}_time" for stage in LEGACY_STAGES[3]}
    has_parts = all(record.get(key) is not None for key in parts.values())
    keys |= parts if has_parts else {UNDIVIDED: f"{model}_stage3_time"}
    return {stage: _checked(path, record, key, Seconds) for stage, key in keys.items()}


def _memory(path: Path, record: Record, models: Sequence[str]) -> Iterator[StageRecord]:
    """Yield the peaks of the first record, the only one that has them; it does not say of which kind of memory."""
    for model in models:
        for stage in (*STAGES, INFERENCE):
            key = f"{model}_memory_inference_mb" if stage == INFERENCE else f"{model}_{stage}_memory_mb"
            if key in record:
                peak = MemoryPeak(host_bytes=int(_checked(path, record, key, Mebibytes) * MIB))
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


def _checked(path: Path, record: Record, key: str, kind: Any) -> float:
    """Return a number that a record has, within the bounds of its kind."""
    # Constructors of records check nothing: only what comes through msgspec's conversion is within bounds.
    try:
        number: float = msgspec.convert(record[key], kind)
    except msgspec.ValidationError as error:
        raise ResultFileError(f"{path}: sample {record['id']!r}: {key!r} is {record[key]!r:.40}: {error}") from error
    return number
