"""Writes the old script's result file for its readers; docs/results.md has the keys, which are only ever added."""

from collections import defaultdict
from datetime import datetime
from pathlib import Path

from harness.figures.agreement import Agreement
from harness.figures.passes import comparisons, legacy_stage_s, pass_s, passes
from harness.figures.stages import peak_bytes, seconds_by_sample
from harness.legacy.formats import DRAFT, Record
from harness.records.folder import shortened
from harness.records.lines import Failure, RunRecord
from harness.records.quantities import MIB
from harness.records.speculation import SpeculationRecord
from harness.stages import LEGACY_STAGES, STAGES


def legacy_records(run: RunRecord) -> list[Record]:
    """Return a record for every planned sample with any result, in the dataset's order."""
    per_model = {model: _answers(run, model) for model in run.header.models}
    of_pairs = _pair_keys(run)
    records = []
    for sample in run.header.samples:
        record: Record = {name: getattr(sample, name) for name in ("id", "split", "query")}
        record["benchmark_datetime"] = run.header.started_at
        known = {model: answers[sample.id] for model, answers in per_model.items() if sample.id in answers}
        for model, keys in known.items():
            # Media fields come before their model's keys, as in the old script's files.
            record |= {"event_data": sample.event_data} if model == DRAFT else {"video_data": sample.video_data}
            record |= {f"{model}{suffix}": value for suffix, value in keys.items()}
        if known or sample.id in of_pairs:
            records.append(record | of_pairs.get(sample.id, {}))
    if not records:
        return []
    peaks = peak_bytes(run)
    for loaded in run.models:
        records[0][f"{loaded.model}_memory_model_mb"] = loaded.memory_bytes / MIB
        by_stage = {stage: peak for (key, stage), peak in peaks.items() if key == loaded.model}
        records[0] |= {f"{loaded.model}_{stage}_memory_mb": peak / MIB for stage, peak in by_stage.items()}
        if by_stage:
            records[0][f"{loaded.model}_memory_inference_mb"] = max(by_stage.values()) / MIB
    return records


def legacy_file_name(run: RunRecord, count: int) -> str:
    """Return the name that the old script would have chosen: dataset, number of samples, time of the start."""
    started = datetime.fromisoformat(run.header.started_at).strftime("%Y%m%d_%H%M%S")
    # The part before the number is the same for any number: by it a run finds its own files.
    return f"{shortened(Path(run.header.dataset).stem, 48)}_results_n{count}_{started}.json"


def _answers(run: RunRecord, model: str) -> dict[str, Record]:
    """Return one model's values by sample id and key suffix, from the whole pass, else from stage tests."""
    engine = run.header.engines[0]
    attempts = [each for each in run.passes if (each.kind, each.model, each.engine) == ("whole", model, engine)]
    if not attempts:
        return _stage_test_keys(run, model, engine)
    whole = passes(run, "whole", model, engine)
    failed = {each.sample: {"_error": _error(each.failure)} for each in attempts if each.failure}
    return failed | {
        sample: {
            "": record.text,
            "_time": pass_s(record),
            **{f"_stage{stage}_time": legacy_stage_s(record, stage) for stage in LEGACY_STAGES},
            **{f"_{stage}_time": record.stage_s[stage] for stage in LEGACY_STAGES[3] if stage in record.stage_s},
            "_tokens": len(record.token_ids),
            "_token_ids": list(record.token_ids),
            "_source": record.source,
        }
        for sample, record in whole.items()
    }


def _stage_test_keys(run: RunRecord, model: str, engine: str) -> dict[str, Record]:
    by_stage = {stage: seconds_by_sample(run, model, stage, engine=engine) for stage in STAGES}
    groups = {f"_stage{number}_time": stages for number, stages in LEGACY_STAGES.items()}
    groups |= {f"_{stage}_time": (stage,) for stage in LEGACY_STAGES[3]}
    found: dict[str, Record] = {}
    for sample in {sample: None for times in by_stage.values() for sample in times}:
        found[sample] = {
            key: sum(by_stage[stage][sample] for stage in stages)
            for key, stages in groups.items()
            if all(sample in by_stage[stage] for stage in stages)
        }
    for failure in (each for record in run.stages if record.model == model for each in record.failures):
        found.setdefault(failure.sample, {}).setdefault("_error", _error(failure))
    return found


def _error(failure: Failure) -> str:
    return f"{failure.type}: {failure.text}"


def _pair_keys(run: RunRecord) -> dict[str, Record]:
    """Return by sample the keys of agreement and speculative decoding, for the first engine."""
    engine = run.header.engines[0]
    found: dict[str, Record] = defaultdict(dict)
    for comparison in (each for each in comparisons(run) if each.engine == engine):
        for sample, agreement in comparison.agreements.items():
            found[sample] |= _acceptance(comparison.target, agreement)
    for record in (each for each in run.agreements if each.engine == engine):
        own = record.agrees["own"][1:]  # the first place is the target's own and never proposed
        found[record.sample] |= _acceptance(f"{record.target}_spec", Agreement(sum(own), len(own)))
    for request in (each for each in run.speculations if each.engine == engine):
        found[request.sample] |= _request_keys(request)
    return found


def _acceptance(prefix: str, agreement: Agreement) -> Record:
    return {f"{prefix}_acceptance_{name}": getattr(agreement, name) for name in ("rate", "matched", "compared")}


def _request_keys(record: SpeculationRecord) -> Record:
    counts = ("drafted", "accepted", "emitted")
    keys: Record = {
        "gamma": record.gamma,
        "rounds": len(record.rounds),
        **{name: sum(getattr(each, name) for each in record.rounds) for name in counts},
        "identical": record.identical,
        "time": record.pair_s,
        "alone_time": record.alone_s,
        "decode_time": record.loop_s,
        "alone_decode_time": record.alone_decode_s,
    }
    if record.first_pair_s is not None and record.first_alone_s is not None:
        keys |= {"first_token_time": record.first_pair_s, "alone_first_token_time": record.first_alone_s}
    return {f"{record.target}_spec_{key}": value for key, value in keys.items()}
