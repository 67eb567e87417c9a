"""What answers are worth, beside which every time is read: a stage that does less is faster, and wrong. Pure.

objects_named   share of the objects of the references that the answers name, where the dataset says what objects are
ended           share of the answers that ended by themselves
finite          share of the samples whose features and logits were finite numbers, in every timed round
repeated        share of the samples whose timed answers were all those of the untimed first round
as_eager        share of the answers that are those of the engine `eager` in the same run
as_before       share of the answers that are those of the baseline's sessions
answer_tokens   mean number of tokens in an answer
visual_tokens   mean number of embeddings of a sample's images
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from statistics import fmean
from textwrap import shorten

import msgspec

from harness.figures.passes import passes
from harness.records.lines import PassRecord, RunRecord, StageRecord

LIMITED = ("objects_named", "ended", "finite", "repeated", "as_eager", "answer_tokens", "visual_tokens")
COUNTS = ("answer_tokens", "visual_tokens")
REFERENCE_ENGINE = "eager"
MAX_CAPTION = 160

AnswersBySample = Mapping[tuple[str, str, str], PassRecord]
"""Answers by model, engine and sample."""


class Quality(msgspec.Struct, frozen=True):
    """One measure of one model by one engine, over so many samples, out of these tests."""

    model: str
    engine: str
    measure: str
    value: float
    samples: int
    tests: tuple[str, ...]


def quality(run: RunRecord, before: AnswersBySample | None = None) -> list[Quality]:
    """Return all measures of a run; `before`: the baseline's answers, for `as_before`."""
    found: list[Quality] = []
    for model in run.header.models:
        for engine in run.header.engines:
            answered = passes(run, "whole", model, engine)
            reference = passes(run, "whole", model, REFERENCE_ENGINE) if engine != REFERENCE_ENGINE else {}
            values = dict(_of_answers(run, answered))
            values["as_eager"] = _shares(reference, answered)
            known = {sample: each for (*place, sample), each in (before or {}).items() if place == [model, engine]}
            values["as_before"] = _shares(known, answered)
            found += _measures(model, engine, values, dict.fromkeys(each.test for each in answered.values()))
            stages = [each for each in run.stages if (each.model, each.engine, each.variant) == (model, engine, "")]
            tests = dict.fromkeys(each.test for each in stages)
            values = _of_stages(stages)
            if run.header.options.get("temperature"):
                values.pop("repeated", None)  # drawn answers differ
            found += _measures(model, engine, values, tests)
    return found


def usual_answers(sessions: Iterable[RunRecord]) -> AnswersBySample:
    """Return the answer that most sessions have."""
    found: dict[tuple[str, str, str], list[PassRecord]] = defaultdict(list)
    for session in sessions:
        for each in session.passes:
            if each.kind == "whole" and each.failure is None:
                found[each.model, each.engine, each.sample].append(each)
    counted = {place: Counter(each.token_ids for each in answers) for place, answers in found.items()}
    return {
        place: next(each for each in answers if each.token_ids == counted[place].most_common(1)[0][0])
        for place, answers in found.items()
    }


def changed_answer(run: RunRecord, before: AnswersBySample, model: str, engine: str) -> str:
    """Return the first answer that differs from the baseline's, and that one, in words; "" where none does."""
    for sample, each in passes(run, "whole", model, engine).items():
        usual = before.get((model, engine, sample))
        if usual is not None and usual.token_ids != each.token_ids:
            now, then = (shorten(text, MAX_CAPTION, placeholder=" …") for text in (each.text, usual.text))
            return f"sample {sample} now: {now!r}, in the baseline: {then!r}"
    return ""


def first_difference(one: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    """Return the number of the first token, from 1, in which two answers differ; None for equal ones."""
    pairs = enumerate(zip_longest(one, other), start=1)
    return next((number for number, (left, right) in pairs if left != right), None)


def _of_answers(run: RunRecord, answered: Mapping[str, PassRecord]) -> Iterator[tuple[str, list[float]]]:
    """Yield what the answers say by themselves, a value per sample."""
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
