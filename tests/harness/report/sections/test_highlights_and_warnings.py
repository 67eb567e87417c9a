"""Sentences made of figures: what they claim follows from the run, and what does not follow is said, too."""

from __future__ import annotations

import msgspec
import pytest

from harness.figures.intervals import FEW_SAMPLES
from harness.records.lines import EndRecord, Header, ReferenceWorkRecord, RunRecord
from harness.report.blocks import plain
from harness.report.content import report_of
from harness.report.markdown import markdown
from harness.report.sections.highlights import caveats, headlines, highlights
from harness.report.sections.warnings import warnings
from tests.harness.made_runs import STARTED_AT, header, headline_run, stage_test, whole_pass


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
    run = run_of([1.0] * 12, [9.0] * 12)
    (told,) = map(plain, headlines(run))
    assert told == "egpt is 5.00x faster than videollava: 2000 ms vs. 10.00 s per sample; load is 50.0 % of its time"
    lines = list(map(plain, highlights(run)))
    by_stage = "load 9.00x, preprocess 1.00x, vision + LLM 1.00x"
    share = "load is 90.0 % of videollava's time and 100.0 % of the time saved."
    assert lines[0] == f"Over videollava by stage: {by_stage}; {share}"


def test_a_draft_that_is_slower_is_never_called_faster() -> None:
    (headline,) = map(plain, headlines(run_of([9.0] * 12, [1.0] * 12)))
    assert headline.startswith("egpt is 0.20x as fast as videollava: 10.00 s vs. 2000 ms per sample")


def test_a_clear_difference_of_enough_samples_has_no_caveat() -> None:
    run = headline_run()
    assert list(caveats(run)) == []
    slower = msgspec.structs.replace(run, header=header(draft="videollava", targets=("egpt",)))
    assert list(caveats(slower)) == []


def test_an_interval_with_1_in_it_supports_no_direction() -> None:
    draft, target = [1.0, 2.0] * 6, [2.0, 1.0] * 6
    lines = [plain(line) for line in caveats(run_of(draft, target))]
    assert [line.split(":")[0] for line in lines] == [
        "Whether egpt or videollava is faster in all",
        "Whether egpt or videollava is faster in load",
        "Whether egpt or videollava is faster in preprocess",
        "Whether egpt or videollava is faster in vision + LLM",
    ]


@pytest.mark.parametrize(("samples", "too_few"), [(FEW_SAMPLES - 1, True), (FEW_SAMPLES, False)])
def test_few_samples_support_nothing_general(samples: int, too_few: bool) -> None:
    words = warned(run_of([1.0] * samples, [9.0] * samples))
    told = f"Few samples ({samples}): 10 or more are needed to generalise to other clips."
    assert (told in words) is too_few


def test_of_several_models_the_one_with_the_fewest_samples_is_told_of() -> None:
    run = run_of([1.0] * FEW_SAMPLES, [9.0] * FEW_SAMPLES)
    assert "Few samples (7): " in warned(msgspec.structs.replace(run, passes=run.passes[:-3]))


def warned(run: RunRecord) -> str:
    return " ".join(plain(what) for what, _ in warnings(run))


def test_a_quiet_run_of_enough_samples_has_no_warnings() -> None:
    assert warned(run_of([1.0] * FEW_SAMPLES, [9.0] * FEW_SAMPLES)) == ""


def test_an_unfinished_run_is_to_be_resumed() -> None:
    run = msgspec.structs.replace(run_of([1.0] * FEW_SAMPLES, [9.0] * FEW_SAMPLES), end=None)
    (warning,) = warnings(run)
    assert warning == ("The run has not ended.", "Its finished measurements count; --resume measures the rest.")


SYNCHRONISED = tuple(
    whole_pass("egpt", sample, kind=kind, whole_s=seconds)
    for kind, seconds in (("whole", 5.0), ("unsynchronised", 4.0))
    for sample in ("s1", "s2")
)


def dirty(**more: str) -> Header:
    return header(environment={"git": {"dirty": True, **more}})


@pytest.mark.parametrize(
    ("run", "warning"),
    [
        (RunRecord(header()), "has not ended"),
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
            "The time of a fixed matrix product changed by +100.0 %",
        ),
        (
            RunRecord(
                header(),
                reference_work=(
                    ReferenceWorkRecord("start", (0.1,), (0.2,)),
                    ReferenceWorkRecord("end", (0.1,), (0.1,)),
                ),
            ),
            "The time of a fixed copy changed by -50.0 %",
        ),
        (RunRecord(header(), stages=(stage_test("egpt", "load", {"s1": [1.0, 2.0, 3.0, 9.0]}),)), "are noisy"),
        (
            RunRecord(header(device="cuda"), passes=SYNCHRONISED),
            "Synchronising between the stages adds +25.0 %",
        ),
        (RunRecord(dirty()), "The code differed from its commit"),
        (RunRecord(dirty(changes="sha256 1")), "The code differed from its commit"),
    ],
)
def test_each_warning_has_its_cause(run: RunRecord, warning: str) -> None:
    assert warning in warned(run)


def test_new_files_that_are_no_code_are_no_warning() -> None:
    assert "differed" not in warned(RunRecord(dirty(changes="")))


def test_a_gap_within_the_noise_of_the_passes_is_no_warning() -> None:
    """One sample takes more than twice as long, the other an eighth less."""
    passes = (whole_pass("egpt", "s1", whole_s=9.0), whole_pass("egpt", "s2", whole_s=3.5), *SYNCHRONISED[2:])
    run = RunRecord(header(device="cuda"), passes=passes)
    assert "Synchronising" not in warned(run)
    assert "Synchronising between the stages adds +56.2 %" in markdown(report_of(run, "x"))


@pytest.mark.parametrize(("without_s", "is_told"), [(5.3, False), (5.0, False), (4.8, False), (4.7, True)])
def test_a_little_waiting_between_the_stages_is_no_warning(without_s: float, is_told: bool) -> None:
    without = tuple(msgspec.structs.replace(each, whole_s=without_s) for each in SYNCHRONISED[2:])
    run = RunRecord(header(device="cuda"), passes=(*SYNCHRONISED[:2], *without))
    assert ("Synchronising" in warned(run)) is is_told


def test_on_a_cpu_nothing_is_waited_for_between_the_stages() -> None:
    """Both passes run the same code there: a difference is noise."""
    run = RunRecord(header(), passes=SYNCHRONISED)
    assert "Synchronising" not in warned(run)
    assert "Synchronising" not in markdown(report_of(run, "x"))
    assert "Synchronising" in markdown(report_of(RunRecord(header(device="cuda"), passes=SYNCHRONISED), "x"))
