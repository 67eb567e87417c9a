"""The models' answers to a few samples, beside what they were shown."""

from collections.abc import Iterator
from pathlib import Path

from harness.figures.passes import pass_s, passes
from harness.records.lines import PassRecord, PlannedSample, RunRecord
from harness.report.blocks import Answers, Section, Text, figure, text
from harness.report.formatting import duration, whole
from harness.report.naming import label
from harness.report.pictures import pictures_of
from harness.report.sections import quality

SAMPLES = 4


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield what answers are worth, and the first of them, but for the set `full`: random weights answer nothing."""
    engine = run.header.engines[0]
    written = {model: passes(run, "whole", model, engine) for model in run.header.models}
    known = [each for each in run.header.samples if any(each.id in records for records in written.values())]
    shown = known[:SAMPLES] if run.header.model_set != "full" else []
    blocks = [*quality.blocks(run), *(_answers(run, sample, written) for sample in shown)]
    if blocks:
        lead = f"The first {len(shown)} of {len(known)} samples." if shown else ""
        yield Section("answers", "Answers and their quality", blocks, lead)


def _answers(run: RunRecord, sample: PlannedSample, written: dict[str, dict[str, PassRecord]]) -> Answers:
    found: list[tuple[Text, str]] = [("the dataset's own", sample.reference)] if sample.reference else []
    records = [by_sample[sample.id] for by_sample in written.values() if sample.id in by_sample]
    for each in records:
        names = (each.model, each.engine, each.sample)
        who = text(
            "{model}, {tokens} tokens in {time}",
            model=label(run, each.model),
            tokens=figure(whole, len(each.token_ids), "answer_tokens", *names),
            time=figure(duration, pass_s(each), "answer_s", *names),
        )
        found.append((who, each.text))
    folder = run.header.dataset_folder or str(Path(run.header.dataset).parent)
    return Answers(sample.id, sample.query, lambda: pictures_of(sample, Path(folder)), found)
