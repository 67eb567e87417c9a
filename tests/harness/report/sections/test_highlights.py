"""Sentences made of figures: what they claim follows from the run, and what does not follow is said, too."""

from __future__ import annotations

import pytest

from harness.figures.intervals import FEW_SAMPLES
from harness.records.lines import EndRecord, Header, ReferenceWorkRecord, RunRecord
from harness.report.blocks import Figure, Words
from harness.report.sections.highlights import story, unsupported
from harness.report.sections.warnings import doubts
from tests.harness.made_runs import STARTED_AT, header, headline_run, stage_test, whole_pass


def said(lines: list[Words]) -> list[str]:
    return ["".join(part.text if isinstance(part, Figure) else part for part in line) for line in lines]


def run_of(draft: list[float], target: list[float]) -> RunRecord:
    """Passes whose stage 1 takes what is given, and all else a second together."""
    ids = tuple(f"s{number}" for number in range(len(draft)))
    passes = tuple(
        whole_pass(model, sample, (value, 0.1, 0.2, 0.3, 0.4))
        for model, values in (("egpt", draft), ("videollava", target))
        for sample, value in zip(ids, values, strict=True)
    )
    return RunRecord(header(ids), passes=passes, end=EndRecord(STARTED_AT, 0, "it ended"))


def test_what_dominates_and_what_would_help_follow_from_the_times() -> None:
    lines = said(list(story(run_of([1.0] * 12, [9.0] * 12))))
    assert lines[0].startswith("egpt takes 2000 ms a sample where videollava takes 10000 ms: 5.00x faster in all")
    assert lines[1] == "load takes 90.0 % of videollava's own time and accounts for 100.0 % of the time that is saved."
    assert "for egpt load, -50.0 % of the total if it were free; for videollava load, -90.0 %" in lines[2]


def test_a_clear_difference_of_enough_samples_is_not_doubted() -> None:
    assert said(list(unsupported(headline_run()))) == []


def test_an_interval_with_1_in_it_supports_no_direction() -> None:
    draft, target = [1.0, 2.0] * 6, [2.0, 1.0] * 6
    lines = said(list(unsupported(run_of(draft, target))))
    assert [line.split(":")[0] for line in lines] == [
        "That egpt is faster or slower than videollava in all",
        "That egpt is faster or slower than videollava in load",
        "That egpt is faster or slower than videollava in preprocess",
        "That egpt is faster or slower than videollava in vision + LLM",
    ]


@pytest.mark.parametrize(("samples", "too_few"), [(FEW_SAMPLES - 1, True), (FEW_SAMPLES, False)])
def test_few_samples_support_nothing_general(samples: int, too_few: bool) -> None:
    lines = said(list(unsupported(run_of([1.0] * samples, [9.0] * samples))))
    assert any(f"there are {samples} of them" in line for line in lines) is too_few


def test_targets_whose_intervals_overlap_are_not_told_apart() -> None:
    ids = tuple(f"s{number}" for number in range(12))
    seconds = {"egpt": 1.0, "videollava": 5.0, "llava": 5.1}
    passes = tuple(
        whole_pass(model, sample, (value * (1 + number % 3), 0.1, 0.1, 0.1, 0.1))
        for model, value in seconds.items()
        for number, sample in enumerate(ids)
    )
    run = RunRecord(header(ids, models=tuple(seconds), targets=("videollava", "llava")), passes=passes)
    assert any(line.startswith("Whether videollava or llava is faster") for line in said(list(unsupported(run))))


def doubted(run: RunRecord) -> str:
    return " ".join(said([what for what, _ in doubts(run)]))


def test_a_quiet_run_of_enough_samples_has_no_doubts() -> None:
    assert doubted(run_of([1.0] * FEW_SAMPLES, [9.0] * FEW_SAMPLES)) == ""


def dirty() -> Header:
    return header(environment={"git": {"dirty": True}})


@pytest.mark.parametrize(
    ("run", "doubt"),
    [
        (RunRecord(header()), "has not come to its end"),
        (RunRecord(header(), reference_work=(ReferenceWorkRecord("end", (0.1,), (0.1,), ("too hot",)),)), "throttled"),
        (
            RunRecord(header(), reference_work=(ReferenceWorkRecord("start", (0.1,), (0.1,), None, 2),)),
            "2 other processes",
        ),
        (
            RunRecord(
                header(),
                reference_work=(
                    ReferenceWorkRecord("start", (0.1,), (0.1,)),
                    ReferenceWorkRecord("end", (0.2,), (0.1,)),
                ),
            ),
            "A fixed matrix product changed by +100.0 %",
        ),
        (RunRecord(header(), stages=(stage_test("egpt", "load", {"s1": [1.0, 2.0, 3.0, 9.0]}),)), "spread widely"),
        (
            RunRecord(header(), passes=(whole_pass("egpt"), whole_pass("egpt", kind="unsynchronised", whole_s=4.0))),
            "Waiting between the stages adds +25.0 %",
        ),
        (RunRecord(dirty()), "The code differed from its commit"),
        (RunRecord(header(), end=EndRecord(STARTED_AT, 0, "", ("use --rounds",))), "use --rounds"),
    ],
)
def test_each_doubt_has_its_cause(run: RunRecord, doubt: str) -> None:
    assert doubt in doubted(run)
