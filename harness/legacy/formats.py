"""Result files of the old scripts, in every form of docs/results.md, as records with one way to find each value."""

import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import msgspec

from harness.errors import JSON_ERRORS, ResultFileError
from harness.records.folder import read_json
from harness.records.quantities import counted
from harness.stages import UNDIVIDED

DRAFT = "egpt"
# The models of the old scripts in the order in which they are shown, and how files spell them.
SPELLINGS = {
    DRAFT: (DRAFT, "eventgpt"),
    "videollava": ("videollava", "video_llava"),
    "llava": ("llava", "llava-1.5-7b-hf"),
}
# Ends of keys behind the model's name: with an underscore as we write them, with a point in a model's own object.
_SUFFIXES = {
    "load": ("_stage1_time", ".stage1_time"),
    "preprocess": ("_stage2_time", ".stage2_time"),
    UNDIVIDED: ("_stage3_time",),
    "vision": ("_vision_time", ".stage3_time"),
    "prefill": ("_prefill_time", ".stage4_time"),
    "decode": ("_decode_time", ".stage5_time"),
    "total": ("_time", ".total_time"),
    "token ids": ("_token_ids", ".output_tokens"),
    "text": ("", ".output_text"),
    "error": ("_error", ".error"),
    "source": ("_source",),
    "model memory": ("_memory_model_mb", "_model_mb"),
    "inference memory": ("_memory_inference_mb", ".gpu_memory_mb.peak"),
    **{f"{stage} memory": (f"_{stage}_memory_mb",) for stage in ("load", "preprocess", "vision", "prefill", "decode")},
}
_DERIVED = ("_tokens", "_acceptance_", "_spec_")  # keys that are not read, since other values give them
_IDS = ("id", "sample_id", "sample_idx")
_ABOUT_A_SAMPLE = {*_IDS, "split", "query", "benchmark_datetime", "event_data", "video_data", "vl_tokens"}
_ABOUT_A_FILE = {"timestamp", "datetime", "dataset_name", "config", "gpu_memory", "statistics", "results", "errors"}
MAX_NAMED = 8  # keys or samples that one sentence names

Record = dict[str, Any]


class Found(NamedTuple):
    """A value of a record, and its key in the file."""

    key: str
    value: Any


class OldFile(NamedTuple):
    """The samples of a result file: nested fields have keys `object.field`, and ids are unique texts."""

    records: list[Record]
    about: Record  # the fields beside the samples
    models: tuple[str, ...]
    date: str | None
    notes: list[str]  # sentences on oddities


def read_any_json(path: Path, advice: str = "name a result file") -> Any:
    """Return any JSON file's content, with NaN and infinities as texts; raise ResultFileError naming the file."""
    try:
        return read_json(path, object, "JSON", advice=advice)
    except ResultFileError as error:
        try:
            # Deviations from JSON by Python and Windows: NaN, and byte-order marks of UTF-8 and UTF-16.
            lenient = json.loads(path.read_bytes(), parse_constant=str, parse_float=_number)
            return msgspec.json.decode(json.dumps(lenient))
        except (*JSON_ERRORS, ValueError, OSError):
            raise error from error.__cause__


def old_file(path: Path, content: Any) -> OldFile:
    """Return the samples of a file's content; raise ResultFileError where there are none."""
    about: Record = content if isinstance(content, dict) else {}
    samples = about.get("results") if isinstance(content, dict) else content
    if not isinstance(samples, list) or not all(isinstance(each, dict) for each in samples):
        raise ResultFileError(
            f"{path}: is not a legacy result file: it must hold a list of records, or an object with such a list under "
            "'results'; name a run's folder or a result file"
        )
    listed = about.get("errors")
    errors = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    if not samples:
        raise ResultFileError(f"{path}: {_why_empty(content, errors)}")
    records = [_flat(each) for each in samples] + [_failed(each) for each in errors]
    notes = list(_name_samples(records))
    models = _models({key for record in records for key in record})
    known = {key for model in {*SPELLINGS, *models} for what in _SUFFIXES for key in _keys(model, what)}
    derived = tuple(model + suffix for model in {*SPELLINGS, *models} for suffix in _DERIVED)
    unknown = Counter(key for record in records for key in {*record} - known - _ABOUT_A_SAMPLE)
    unknown.update({*about} - _ABOUT_A_FILE)
    names = [key for key in unknown if not key.startswith(derived)]
    if names:
        count = max(unknown[name] for name in names)
        notes.append(f"Not understood and left out: {some(sorted(names))} ({counted(count, 'record')}).")
    if isinstance(about.get("config"), dict) and about["config"]:
        notes.append(f"The file's settings: {some([f'{key} {value}' for key, value in about['config'].items()])}.")
    if alone := _totals_alone(records, models):
        notes.append(f"Totals are recorded, and no stages: mean {alone}.")
    dates = [str(each) for each in (about.get("datetime"), *(one.get("benchmark_datetime") for one in records)) if each]
    date = next(filter(_is_iso, dates), None)
    if date is None:
        notes.append(f"The date is not recorded{f': {dates[0]!r:.40} is no date' if dates else ''}.")
    return OldFile(records, about, models, date, notes)


def find(record: Record, model: str, what: str) -> Found | None:
    """Return a model's value for a key of _SUFFIXES (a stage, "total", "token ids", …); None where it has none."""
    for key in _keys(model, what):
        if key in record:
            return Found(key, record[key])
    return None


def _totals_alone(records: list[Record], models: Sequence[str]) -> str:
    """Return the models' mean recorded totals as text, where no record has a stage; else an empty text."""
    if any(find(record, model, "load") for record in records for model in models):
        return ""
    means = []
    for model in models:
        found = [find(record, model, "total") for record in records]
        known = [each.value for each in found if each and type(each.value) in {int, float} and 0 <= each.value <= 1e9]
        means += [f"{model} {fmean(known):.4g} s of {counted(len(known), 'sample')}"] if known else []
    return ", ".join(means)


def _keys(model: str, what: str) -> Iterator[str]:
    for spelling in SPELLINGS.get(model, (model,)):
        yield from (spelling + suffix for suffix in _SUFFIXES[what])


def _number(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _why_empty(content: Any, errors: list[Record]) -> str:
    if isinstance(content, list):
        return "the list is empty: it holds no record of a sample"
    if not errors:
        return "'results' is empty, and there are no 'errors': it holds no sample"
    name = str(next((errors[0][key] for key in _IDS if key in errors[0]), 0))
    why = next((each for key, each in errors[0].items() if key.endswith("error") and each), "without a reason")
    return f"'results' is empty: 'errors' has all samples ({len(errors)}), the first, {name!r:.80}, with {why!r:.200}"


def _flat(record: Record, before: str = "", depth: int = 3) -> Record:
    found: Record = {}
    for key, value in record.items():
        inside = isinstance(value, dict) and depth > 1
        found |= _flat(value, f"{before}{key}.", depth - 1) if inside else {before + key: value}
    if "egpt_tokens" in found and "vl_tokens" in found:
        found = {"egpt_token_ids": found.pop("egpt_tokens"), "videollava_token_ids": found.pop("vl_tokens")} | found
    return found


def _failed(error: Record) -> Record:
    """Return an entry under `errors` as the record of a failed sample."""
    either = error.get("error")
    sides = {"eventgpt.error": error.get("egpt_error", either), "videollava.error": error.get("vl_error", either)}
    ids = {key: error[key] for key in _IDS if key in error}
    return ids | {key: why for key, why in sides.items() if why is not None}


def _name_samples(records: list[Record]) -> Iterator[str]:
    """Give each record a unique text as `id`; yield sentences on missing and equal ids."""
    nameless, count, used = 0, Counter[str](), set[str]()
    for place, record in enumerate(records):
        known = [record.get(key) for key in _IDS]
        names = [str(each) for each in known if isinstance(each, str | int | float) and not isinstance(each, bool)]
        nameless += not names
        name = names[0] if names else f"record {place}"
        count[name] += 1
        numbered = (name if number == 1 else f"{name} ({number})" for number in itertools.count(count[name]))
        record["id"] = next(each for each in numbered if each not in used)
        used.add(record["id"])
    if nameless:
        yield f"Records without an id are named by their place: {nameless}."
    twice = [f"{name!r:.60} ({number} records)" for name, number in count.items() if number > 1]
    if twice:
        yield f"Equal ids, told apart by a number behind them: {some(twice)}."


def _models(keys: set[str]) -> tuple[str, ...]:
    """Return the models with times, token ids or errors, those of the old scripts first."""
    ends = (*_SUFFIXES["load"], *_SUFFIXES["token ids"])
    named = {key.removesuffix(end) for key in keys for end in ends if key.endswith(end)} - {""}
    spelled = {name: model for model, names in SPELLINGS.items() for name in names}
    found = {spelled.get(name, name) for name in named}
    found |= {model for model in SPELLINGS for what in ("error", "total") if not keys.isdisjoint(_keys(model, what))}
    order = list(SPELLINGS)
    return tuple(sorted(found, key=lambda model: (order.index(model) if model in order else len(order), model)))


def _is_iso(date: str) -> bool:
    try:
        datetime.fromisoformat(date)
    except ValueError:
        return False
    return True


def some(names: list[str]) -> str:
    """Return the first names of a list as text, and the number of further ones."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(f"{name:.160}" for name in names[:MAX_NAMED]) + more
