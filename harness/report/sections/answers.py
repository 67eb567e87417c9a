"""Quality and agreement of the models' answers, and answers to a few samples with their pictures."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.figures.agreement import Replay, TokenPair, common_prefix, replay
from harness.figures.passes import paired, pass_s, passes
from harness.figures.quality import COUNTS, LIMITED, REFERENCE_ENGINE, quality
from harness.records.lines import PassRecord, PlannedSample, RunRecord
from harness.report.blocks import Answers, Section, Sentences, Table, Text, cell, ends, figure, filled, joined, text
from harness.report.formatting import duration, fraction, significant, whole
from harness.report.naming import label
from harness.report.pictures import pictures_of

SAMPLES = 4
# Measures that are 1 in a sound run, with the sentence for a lower value.
SOUND = {
    "finite": "Numbers of {count} models or engines are not finite, those of {who} in {share} of the samples.",
    "repeated": "Timed answers of {count} models or engines differ from untimed ones, of {who} in {share} of samples.",
}
SUMMARIES = {
    "objects_named": "Answers name {shares} of the objects shown.",
    "as_eager": "Answers are those of eager in {shares} of the samples.",
}


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield agreement, quality and the first answers; of the set full, with random weights, the quality only."""
    yield from _agreement(run)
    written = {model: passes(run, "whole", model, run.header.engines[0]) for model in run.header.models}
    known = [each for each in run.header.samples if any(each.id in records for records in written.values())]
    shown = known[:SAMPLES] if run.header.model_set != "full" else []
    blocks = [
        *filled(_quality(run), Sentences([*_differences(run)]), Sentences([*_summary(run)], in_summary=True)),
        *(_answers(run, sample, written) for sample in shown),
    ]
    if blocks:
        lead = f"The first {len(shown)} of {len(known)} samples." if shown else ""
        yield Section("answers", "Answers and their quality", blocks, lead)


def _agreement(run: RunRecord) -> Iterator[Section]:
    header, engine = run.header, run.header.engines[0]
    if not header.draft or header.model_set == "full":
        return
    draft = passes(run, "whole", header.draft, engine)
    questions = {each.id: each.query for each in header.samples}
    found: dict[str, list[TokenPair]] = {}
    for target in header.targets:
        pairs = [
            TokenPair(mine.sample, mine.token_ids, theirs.token_ids, questions.get(mine.sample, ""))
            for mine, theirs in paired(draft, passes(run, "whole", target, engine))
            if mine.token_ids and theirs.token_ids
        ]
        if pairs:
            found[label(run, target)] = pairs
    if found:
        yield agreement(found, int(header.options.get("gamma", 5)))


def _answers(run: RunRecord, sample: PlannedSample, written: dict[str, dict[str, PassRecord]]) -> Answers:
    found: list[tuple[Text, str]] = [("the dataset's own", sample.reference)] if sample.reference else []
    for each in (by_sample[sample.id] for by_sample in written.values() if sample.id in by_sample):
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


def agreement(pairs: Mapping[str, Sequence[TokenPair]], gamma: int) -> Section:
    """Return the section on agreement of independently written answers, with shuffled pairs as a control."""
    found = {target: replay(each, gamma) for target, each in pairs.items()}
    survival: list[list[Text]] = [
        [target, *(figure(fraction, value, "prefix", target, str(k)) for k, value in enumerate(each.survival, start=1))]
        for target, each in found.items()
    ]
    columns = ("target", "pairs", "positions", "mean of samples", "95 % interval", "all tokens")
    blocks = [
        Table(columns, [row for target, each in found.items() for row in _agreement_rows(target, each)]),
        Table(("share whose first tokens all agree", *(str(k) for k in range(1, gamma + 1))), survival),
    ]
    lead = (
        "Two answers that were written independently, compared position by position: not the acceptance rate of "
        "speculative decoding. Shuffled pairs are answers to the same question about different samples: agreement "
        "there needs no picture."
    )
    return Section("agreement", "Agreement of the answers", blocks, lead, brief=True)


def _agreement_rows(target: str, found: Replay) -> Iterator[list[Text]]:
    for who, positions, what, shares in (
        (target, f"{found.matched} of {found.compared}", "per_sample", found.own),
        (f"{target}, shuffled", "", "shuffled", found.shuffled),
    ):
        if shares is not None:
            yield [
                who,
                figure(whole, shares.pairs, "agreement", what, "pairs", target),
                positions,
                figure(fraction, shares.per_sample, "agreement", what, target),
                ends(shares.interval, fraction, "agreement", what, target),
                figure(fraction, shares.token_weighted, "agreement", what, "all_tokens", target),
            ]


def _quality(run: RunRecord) -> Table:
    """Return a table of the measures of every model and engine."""
    found = {(each.model, each.engine, each.measure): each.value for each in quality(run)}
    # No empty columns for measures that most datasets, or a single engine, lack.
    shown = [measure for measure in LIMITED if any(key[2] == measure for key in found)]
    rows = [
        [
            label(run, *names),
            *(
                cell(significant if each in COUNTS else fraction, found.get((*names, each)), "quality", each, *names)
                for each in shown
            ),
        ]
        for names in dict.fromkeys(key[:2] for key in found)
    ]
    return Table(("model", *(measure.replace("_", " ") for measure in shown)), rows)


def unsound(run: RunRecord) -> Iterator[Text]:
    """Yield a sentence for each measure of SOUND that is below 1, naming the worst model."""
    for measure, template in SOUND.items():
        found = [each for each in quality(run) if each.measure == measure and each.value < 1]
        if found:
            worst = min(found, key=lambda each: each.value)
            share = figure(fraction, 1 - worst.value, "unsound", measure, worst.model, worst.engine)
            who = label(run, worst.model, worst.engine)
            yield text(template, count=figure(whole, len(found), "unsound", measure), who=who, share=share)


def _summary(run: RunRecord) -> Iterator[Text]:
    """Yield one sentence on the objects that answers name, or else on answers equal to the reference engine's."""
    found = quality(run)
    for measure, template in SUMMARIES.items():
        shares = [
            text(
                "{share} ({who})",
                who=label(run, each.model, each.engine),
                share=figure(fraction, each.value, "quality", each.measure, each.model, each.engine),
            )
            for each in found
            if each.measure == measure
        ]
        if shares:
            yield text(template, shares=joined(shares, ", "))
            return


def _differences(run: RunRecord) -> Iterator[Text]:
    """Yield, for each other engine, the first difference of its answers from the reference engine's."""
    for model in run.header.models:
        reference = passes(run, "whole", model, REFERENCE_ENGINE)
        for engine in run.header.engines:
            both = paired(passes(run, "whole", model, engine), reference)
            different = [(mine, theirs) for mine, theirs in both if mine.token_ids != theirs.token_ids]
            if different:
                mine, theirs = different[0]
                token = 1 + common_prefix(theirs.token_ids, mine.token_ids)
                yield text(
                    "{who} differs from {reference} from token {token} of sample {sample} on.",
                    who=label(run, model, engine),
                    reference=REFERENCE_ENGINE,
                    token=figure(whole, token, "first_difference", model, engine),
                    sample=mine.sample,
                )
