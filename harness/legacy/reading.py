"""Result files of the old scripts, and the legacy files of ours, as the record of a run.

Old results get the same figures as new ones, as far as the file has their data. A sample with impossible values becomes
a failure; other oddities are in the run's `notes`.
"""

from collections.abc import Iterator, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any

from harness.errors import ResultFileError
from harness.legacy.formats import DRAFT, Found, OldFile, Record, find, old_file, read_any_json, some
from harness.legacy.token_pairs import is_ids, pairs_of, short_answers, why_refused
from harness.records import lines
from harness.records.quantities import MIB, MemoryPeak
from harness.stages import LEGACY_STAGES, STAGES, UNDIVIDED

NOT_RECORDED = "not recorded"  # machine, device, engine, and often the date
NO_TIME = "1970-01-01T00:00:00+00:00"
INFERENCE = "inference"  # as a stage's name: the highest peak of all stages
BELOW_ZERO = "time below zero"  # type of the failure of a sample with a negative time
_SECONDS = (1e-12, 1e9)
_MAX_MIB = 2**30


def run_of_old_file(path: Path, gamma: int = 5, content: Any = None) -> lines.RunRecord | None:
    """Return an old result file as a run; None where it has answers and no times.

    `content`: the file's JSON, if already read. Raises ResultFileError where no sample has possible times.
    """
    file = old_file(path, read_any_json(path) if content is None else content)
    pairs, broken = pairs_of(file)
    refused = {target: why for target, found in pairs.items() if (why := why_refused(target, found))}
    unused = {*refused, *([DRAFT] if refused and len(refused) == len(pairs) else [])}
    found = [_pass(record, model, model not in unused) for model in file.models for record in file.records]
    passes = tuple(each for each in found if each)
    failures = [each.failure for each in passes if each.failure]
    if len(failures) == len(passes):
        if pairs and not failures:
            return None
        first = f" ({failures[0].sample!r:.80}: {failures[0].text:.200}, {len(failures)} so)" if failures else ""
        raise ResultFileError(
            f"{path}: no sample has the times of all three stages of a model, as egpt_stage1_time to egpt_stage3_time, "
            f"or of all five{first}; name the run's journal.jsonl or run.json, if there is one. {' '.join(file.notes)}"
        )
    models = tuple(dict.fromkeys(each.model for each in passes))
    notes = [*file.notes, *short_answers(file)]
    # Where the library merges the pictures inside prefill, the script timed an empty block: 0 s, or some microseconds.
    timed = [each for each in passes if each.stage_s.get("vision", 1.0) < each.stage_s.get("prefill", 1.0) / 1000]
    if timed:
        whose = ", ".join(dict.fromkeys(each.model for each in timed))
        notes.append(f"Vision is not timed by itself, prefill includes it: {whose}.")
    for target, why in refused.items():
        notes.append(f"No agreement with {target} is shown, its token ids are not used: {why}.")
    if broken:
        notes.append(f"Left out: {some(broken)}.")
    header = lines.Header(
        format_version=lines.FORMAT_VERSION,
        started_at=file.date or NO_TIME,
        environment={},
        options={"gamma": min(gamma, lines.MAX_DRAFTED)},
        model_set=NOT_RECORDED,
        device=NOT_RECORDED,
        engines=(NOT_RECORDED,),
        models=models,
        draft=DRAFT if DRAFT in models else None,
        targets=tuple(model for model in models if model != DRAFT),
        dataset=str(file.about.get("dataset_name") or path).replace("\0", ""),
        limits={},
        samples=tuple(map(_planned, file.records)),
    )
    of_file = file.about.get("gpu_memory")
    weighed = [{"id": "", **(of_file if isinstance(of_file, dict) else {})}, *file.records]
    weights = tuple(
        lines.ModelRecord(model, 0.0, max(sizes.values()), {})  # how long loading took is not recorded
        for model in models
        if (sizes := _sizes(weighed, model, "model memory", notes))
    )
    peaks = tuple(_peaks(file, models, notes))
    return lines.RunRecord(header=header, models=weights, passes=passes, stages=peaks, notes=tuple(notes))


def _planned(record: Record) -> lines.PlannedSample:
    names = ("split", "query", "event_data", "video_data")
    split, query, event_data, video_data = (str(record.get(name) or "") for name in names)
    return lines.PlannedSample(record["id"], split, query, event_data or None, video_data or None)


def _pass(record: Record, model: str, has_answer: bool) -> lines.PassRecord | None:
    """Return one sample's pass; None where the file has no times of it. `whole_s`: the recorded total, or 0."""
    error, total, seconds = find(record, model, "error"), find(record, model, "total"), _stage_times(record, model)
    ids, text, source = (find(record, model, what) for what in ("token ids", "text", "source"))
    known = [*seconds.items(), *([("total", total)] if total else [])]
    failure = None
    if error and error.value is not None:
        failure = lines.Failure(record["id"], "run", "error", str(error.value))
    elif not seconds:
        return None
    elif wrong := next(filter(None, starmap(_why_no_time, known)), ""):
        kind = BELOW_ZERO if any(_is_number(each.value) and each.value < 0 for _, each in known) else "left out"
        failure = lines.Failure(record["id"], "reading", kind, wrong)
    return lines.PassRecord(
        sample=record["id"],
        model=model,
        engine=NOT_RECORDED,
        kind="whole",
        stage_s={} if failure else {stage: float(each.value) for stage, each in seconds.items()},
        whole_s=float(total.value) if total and not failure else 0.0,
        source=str(source.value) if source else "",
        text=str(text.value) if text and text.value is not None else "",
        token_ids=tuple(ids.value) if has_answer and ids and is_ids(ids.value) else (),
        stopped_by="",
        finished_at=str(record.get("benchmark_datetime", "")),
        failure=failure,
    )


def _stage_times(record: Record, model: str) -> dict[str, Found]:
    """Return the recorded times of all stages; empty where the record has none."""
    found = {stage: find(record, model, stage) for stage in (*STAGES, UNDIVIDED)}
    parts = [found[stage] for stage in LEGACY_STAGES[3]]
    is_divided = all(part and part.value is not None for part in parts) or (any(parts) and not found[UNDIVIDED])
    stages = STAGES if is_divided else ("load", "preprocess", UNDIVIDED)
    if not any(found[stage] for stage in stages):
        return {}
    return {stage: found[stage] or Found(f"the time of {stage}", None) for stage in stages}


def _why_no_time(stage: str, found: Found) -> str:
    """Return why a value cannot be a stage's time; empty where it can."""
    value = found.value
    if not _is_number(value):
        return f"{found.key!r} is {'null' if value is None else f'{value!r:.40}'}, not a number of seconds"
    if _SECONDS[0] <= value <= _SECONDS[1] or (stage == "vision" and value == 0):  # prefill of some models includes it
        return ""
    return f"{found.key!r} is {value!r:.40}: a time is above 0 s, and below 10^9 s"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _peaks(file: OldFile, models: Sequence[str], notes: list[str]) -> Iterator[lines.StageRecord]:
    """Yield stage records with the highest peaks; the file does not tell the kind of memory."""
    for model in models:
        for stage in (*STAGES, INFERENCE):
            sizes = _sizes(file.records, model, f"{stage} memory", notes)
            if sizes:
                memory = {sample: MemoryPeak(host_bytes=size) for sample, size in sizes.items()}
                yield lines.StageRecord("", model, None, stage, "", {}, (), (), {}, (), memory, ())


def _sizes(records: Sequence[Record], model: str, what: str, notes: list[str]) -> dict[str, int]:
    """Return sizes in bytes by sample; add a note on values that cannot be sizes."""
    found = {record["id"]: size for record in records if (size := find(record, model, what))}
    sound = {key: each for key, each in found.items() if _is_number(each.value) and 0 <= each.value <= _MAX_MIB}
    wrong = [f"{each.key!r} is {each.value!r:.40}" for key, each in found.items() if key not in sound]
    if wrong:
        notes.append(f"No size in MiB, and left out: {some(wrong)}.")
    return {sample: int(each.value * MIB) for sample, each in sound.items()}
