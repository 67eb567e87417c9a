"""Quality of answers and features, shown with the times: a stage that does less work is faster, but wrong. Pure.

docs/figures.md defines the measures.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, median
from textwrap import shorten

import msgspec

from harness.figures.passes import passes
from harness.records.lines import PassRecord, RunRecord, StageRecord

LIMITED = ("objects_named", "ended", "finite", "repeated", "as_eager", "answer_tokens", "visual_tokens")
COUNTS = ("answer_tokens", "visual_tokens")
REFERENCE_ENGINE = "eager"
MAX_CAPTION = 160

MAX_CHANGE = 0.02
"""Largest relative root mean square difference of features that count as equal: half precision changes them by less."""


class BaselineOutputs(msgspec.Struct, frozen=True):
    """Outputs of a baseline: answers by (model, engine, sample), features by (model, engine, stage, sample)."""

    answers: Mapping[tuple[str, str, str], PassRecord] = {}
    probes: Mapping[tuple[str, str, str, str], tuple[float, ...]] = {}


NO_OUTPUTS = BaselineOutputs()
"""Outputs where there is no baseline."""


class Quality(msgspec.Struct, frozen=True):
    """One measure of one model by one engine, with its number of samples and the tests that measured it."""

    model: str
    engine: str
    measure: str
    value: float
    samples: int
    tests: tuple[str, ...]


def quality(run: RunRecord, baseline: BaselineOutputs = NO_OUTPUTS) -> list[Quality]:
    """Return all measures of a run; `as_before` and `same_features` compare its outputs with the baseline's."""
    found: list[Quality] = []
    for model in run.header.models:
        for engine in run.header.engines:
            answered = passes(run, "whole", model, engine)
            reference = passes(run, "whole", model, REFERENCE_ENGINE) if engine != REFERENCE_ENGINE else {}
            values = dict(_of_answers(run, answered))
            values["as_eager"] = _shares(reference, answered)
            known = {sample: each for (*place, sample), each in baseline.answers.items() if place == [model, engine]}
            values["as_before"] = _shares(known, answered)
            found += _measures(model, engine, values, dict.fromkeys(each.test for each in answered.values()))
            stages = [each for each in run.stages if (each.model, each.engine, each.variant) == (model, engine, "")]
            tests = dict.fromkeys(each.test for each in stages)
            values = _of_stages(stages)
            values["same_features"] = [
                float(math.dist(now, then) <= MAX_CHANGE * math.hypot(*then)) if len(now) == len(then) else 0.0
                for record in stages
                for sample, now in record.probes.items()
                if (then := baseline.probes.get((model, engine, record.stage, sample)))
            ]
            # Sampled answers differ, and in half precision a near tie may be decided differently each time.
            dtype = next((each.facts.get("dtype", "float32") for each in run.models if each.model == model), "float32")
            if run.header.options.get("temperature") or dtype != "float32":
                values.pop("repeated", None)
            found += _measures(model, engine, values, tests)
    return found


def baseline_outputs(sessions: Sequence[RunRecord]) -> BaselineOutputs:
    """Return the outputs of a baseline: the most frequent answers, and the medians of features."""
    answers: dict[tuple[str, str, str], list[PassRecord]] = defaultdict(list)
    probes: dict[tuple[str, str, str, str], list[tuple[float, ...]]] = defaultdict(list)
    for session in sessions:
        for each in session.passes:
            if each.kind == "whole" and each.failure is None:
                answers[each.model, each.engine, each.sample].append(each)
        for record in session.stages:
            for sample, some in record.probes.items():
                probes[record.model, record.engine or "", record.stage, sample].append(some)
    return BaselineOutputs(
        answers={place: _most_frequent(those) for place, those in answers.items()},
        probes={place: tuple(map(median, zip(*some, strict=False))) for place, some in probes.items()},
    )


def _most_frequent(answers: Sequence[PassRecord]) -> PassRecord:
    ((ids, _),) = Counter(each.token_ids for each in answers).most_common(1)
    return next(each for each in answers if each.token_ids == ids)


def changed_answer(run: RunRecord, known: BaselineOutputs, model: str, engine: str) -> str:
    """Return a sentence with the first answer that differs from the baseline's, and the latter; "" without any."""
    for sample, each in passes(run, "whole", model, engine).items():
        then = known.answers.get((model, engine, sample))
        if then is not None and then.token_ids != each.token_ids:
            texts = [shorten(text, MAX_CAPTION, placeholder=" …") for text in (each.text, then.text)]
            return f"sample {sample} now: {texts[0]!r}, in the baseline: {texts[1]!r}"
    return ""


def _of_answers(run: RunRecord, answered: Mapping[str, PassRecord]) -> Iterator[tuple[str, list[float]]]:
    """Yield the measures that need no other answers: name, and a value per sample or object."""
    yield "answer_tokens", [float(len(each.token_ids)) for each in answered.values()]
    yield "ended", [float(each.stopped_by == "eos") for each in answered.values()]
    words = {name: re.compile(rf"\b{re.escape(name)}(?:s|es)?\b", re.IGNORECASE) for name in run.header.objects}
    pairs = [
        (word.search(answered[sample.id].text), word.search(sample.reference or ""))
        for sample in run.header.samples
        if sample.id in answered
        for word in words.values()
    ]
    yield "objects_named", [float(bool(named)) for named, present in pairs if present]


def _of_stages(records: Sequence[StageRecord]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = defaultdict(list)
    were_examined = any(record.visual_tokens for record in records)
    for record in records:
        if record.stage == "vision":
            values["visual_tokens"] += map(float, record.visual_tokens.values())
        if record.stage in {"vision", "prefill"} and were_examined:
            values["finite"] += [float(sample not in record.not_finite) for sample in record.cold_s]
        if record.stage == "decode" and record.round_s:
            values["repeated"] += [float(sample not in record.not_repeated) for sample in record.cold_s]
    return values


def _shares(known: Mapping[str, PassRecord], answered: Mapping[str, PassRecord]) -> list[float]:
    return [float(known[sample].token_ids == each.token_ids) for sample, each in answered.items() if sample in known]


def _measures(model: str, engine: str, values: Mapping[str, list[float]], tests: Iterable[str]) -> Iterator[Quality]:
    for measure, each in values.items():
        if each:
            yield Quality(model, engine, measure, fmean(each), len(each), tuple(filter(None, tests)))
