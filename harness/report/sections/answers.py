"""What the models said of a few samples, beside what they were shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from harness.figures.stages import passes
from harness.records.lines import PassRecord, PlannedSample, RunRecord
from harness.report.blocks import Answers, Section, Words, count, seconds, words
from harness.report.naming import label, name
from harness.report.pictures import pictures_of

SAMPLES = 4


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield the answers to the first samples, but for the set `full`, whose random weights have nothing to say."""
    engine = run.header.engines[0]
    written = {model: passes(run, "whole", model, engine) for model in run.header.models}
    known = [each for each in run.header.samples if any(each.id in records for records in written.values())]
    if known and run.header.model_set != "full":
        blocks = tuple(_answers(run, sample, written) for sample in known[:SAMPLES])
        yield Section("answers", "Answers", blocks, f"The first {len(blocks)} of {len(known)} samples.")


def _answers(run: RunRecord, sample: PlannedSample, written: dict[str, dict[str, PassRecord]]) -> Answers:
    said: list[tuple[Words, str]] = [(words("the dataset's own"), sample.reference)] if sample.reference else []
    said += [
        (_who(run, records[sample.id]), records[sample.id].text) for records in written.values() if sample.id in records
    ]
    folder = run.header.dataset_folder or str(Path(run.header.dataset).parent)
    return Answers(sample.id, sample.query, partial(pictures_of, sample, Path(folder)), tuple(said))


def _who(run: RunRecord, record: PassRecord) -> Words:
    place = name(record.model, record.engine, record.sample)
    return words(
        label(run, record.model),
        ", ",
        count(name("answer_tokens", place), len(record.token_ids)),
        " tokens in ",
        seconds(name("answer_s", place), sum(record.stage_s.values())),
        " ms",
    )
