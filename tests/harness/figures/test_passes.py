"""Whole passes as figures: one model by itself, a target beside the draft, and what waiting between stages adds."""

from __future__ import annotations

import math

import msgspec
import pytest

from harness.figures.agreement import Agreement
from harness.figures.intervals import ratio_interval
from harness.figures.passes import (
    Comparison,
    comparisons,
    median_stage_share,
    paired,
    pass_figures,
    passes,
    synchronisation_overhead,
)
from harness.records.lines import RunRecord
from tests.harness.made_runs import failed_pass, full_run, header, headline_run, run_with, whole_pass


@pytest.fixture
def headline() -> Comparison:
    (comparison,) = comparisons(headline_run())
    return comparison


class TestOfThePublishedTable:
    def test_totals_are_the_sums_of_their_stages(self, headline: Comparison) -> None:
        assert headline.total.draft_mean_s == pytest.approx(1.851, abs=1e-9)
        assert headline.total.target_mean_s == pytest.approx(9.464, abs=1.1e-3)
        assert headline.total.samples == 10

    @pytest.mark.parametrize(
        ("stage", "draft_s", "target_s", "factor"),
        [(1, 0.851, 6.858, 8.1), (2, 0.023, 0.072, 3.1), (3, 0.977, 2.533, 2.6)],
    )
    def test_stages_have_their_means_and_speedups(
        self, headline: Comparison, stage: int, draft_s: float, target_s: float, factor: float
    ) -> None:
        speedup = headline.stages[stage]
        assert speedup.draft_mean_s == pytest.approx(draft_s, abs=1e-9)
        assert speedup.target_mean_s == pytest.approx(target_s, abs=1e-9)
        assert round(speedup.factor, 1) == factor

    def test_total_speedup(self, headline: Comparison) -> None:
        assert round(headline.total.factor, 1) == 5.1

    def test_shares_of_the_targets_own_time_and_of_the_time_saved_are_two_things(self, headline: Comparison) -> None:
        assert [round(100 * headline.share_of_target_time(stage), 1) for stage in (1, 3)] == [72.5, 26.8]
        saved = [headline.share_of_time_saved(stage) for stage in (1, 2, 3)]
        assert [round(100 * share, 1) for share in saved if share is not None] == [78.9, 0.6, 20.4]

    def test_both_kinds_of_share_add_up_to_one(self, headline: Comparison) -> None:
        assert sum(headline.share_of_target_time(stage) for stage in (1, 2, 3)) == pytest.approx(1)
        assert sum(headline.share_of_time_saved(stage) or 0 for stage in (1, 2, 3)) == pytest.approx(1)

    def test_speedup_of_stage_3_is_fewer_tokens_times_faster_tokens(self, headline: Comparison) -> None:
        assert headline.tokens_factor == pytest.approx(102.4 / 45.5)
        assert headline.pace_factor is not None
        assert [round(headline.tokens_factor or 0, 2), round(headline.pace_factor, 2)] == [2.25, 1.15]
        assert (headline.tokens_factor or 0) * headline.pace_factor == pytest.approx(headline.stages[3].factor)

    def test_cost_ratio_is_draft_over_target(self, headline: Comparison) -> None:
        assert headline.cost_ratio == pytest.approx(1.851 / 9.463)

    def test_theoretical_speedup_takes_gamma_from_the_options(self, headline: Comparison) -> None:
        assert headline.agreement_token_weighted == 1
        assert headline.theoretical_speedup == pytest.approx(6 / (5 * 1.851 / 9.463 + 1))
        (other,) = comparisons(msgspec.structs.replace(headline_run(), header=header(options={"gamma": 2})))
        assert other.theoretical_speedup == pytest.approx(3 / (2 * 1.851 / 9.463 + 1))


def test_speedup_is_a_ratio_of_means_and_no_mean_of_ratios() -> None:
    run = run_with(
        whole_pass("egpt", "s1", (1, 0, 0, 0, 0)),
        whole_pass("egpt", "s2", (3, 0, 0, 0, 1)),
        whole_pass("videollava", "s1", (9, 0, 0, 0, 0)),
        whole_pass("videollava", "s2", (3, 0, 0, 0, 1)),
    )
    (comparison,) = comparisons(run)
    assert comparison.stages[1].factor == 12 / 4
    assert comparison.total.factor == 13 / 5


def test_where_no_time_is_saved_nothing_has_a_share_of_it() -> None:
    (comparison,) = comparisons(run_with(whole_pass("egpt", seconds=(2, 1, 1, 1, 1)), whole_pass("videollava")))
    assert comparison.total.saved_s == -1
    assert comparison.share_of_time_saved(1) is None


def test_a_stage_that_the_draft_makes_slower_has_a_negative_share_of_the_time_saved() -> None:
    run = run_with(whole_pass("egpt", seconds=(2, 1, 1, 1, 1)), whole_pass("videollava", seconds=(1, 1, 1, 1, 4)))
    (comparison,) = comparisons(run)
    assert comparison.share_of_time_saved(1) == -0.5
    assert comparison.share_of_time_saved(3) == 1.5


def test_acceptance_is_a_mean_over_samples_and_a_share_of_all_tokens() -> None:
    run = run_with(
        whole_pass("egpt", "s1", token_ids=(1,)),
        whole_pass("videollava", "s1", token_ids=(1, 2)),
        whole_pass("egpt", "s2", token_ids=(1, 2, 3, 4)),
        whole_pass("videollava", "s2", token_ids=(9, 2, 9, 9, 9)),
    )
    (comparison,) = comparisons(run)
    assert comparison.agreements == {"s1": Agreement(1, 1), "s2": Agreement(1, 4)}
    assert comparison.agreement_per_sample == (1 + 1 / 4) / 2
    assert comparison.agreement_token_weighted == 2 / 5


@pytest.mark.parametrize(("draft", "target"), [((), (1, 2)), ((1, 2), ()), ((), ())])
def test_answers_without_a_token_have_no_token_split_and_still_a_speedup(
    draft: tuple[int, ...], target: tuple[int, ...]
) -> None:
    run = run_with(whole_pass("egpt", token_ids=draft), whole_pass("videollava", token_ids=target))
    (comparison,) = comparisons(run)
    assert (comparison.tokens_factor, comparison.pace_factor) == (None, None)
    assert comparison.stages[3].factor == 1
    assert comparison.agreement_token_weighted == 0


def test_failed_passes_are_left_out() -> None:
    run = run_with(
        whole_pass("egpt", "s1"),
        failed_pass("egpt", "s2"),
        whole_pass("videollava", "s1", (2, 2, 2, 2, 2)),
        whole_pass("videollava", "s2", (100, 100, 100, 100, 100)),
    )
    (comparison,) = comparisons(run)
    assert (comparison.total.samples, comparison.total.factor) == (1, 2)
    assert set(passes(run, "whole", "egpt", "eager")) == {"s1"}


def test_samples_that_only_one_model_has_are_left_out() -> None:
    draft = {sample: whole_pass("egpt", sample) for sample in ("s1", "s2")}
    target = {sample: whole_pass("videollava", sample) for sample in ("s2", "s3")}
    assert paired(draft, target) == [(draft["s2"], target["s2"])]


@pytest.mark.parametrize("missing", ["egpt", "videollava"])
def test_without_one_of_the_two_there_is_no_comparison(missing: str) -> None:
    records = [whole_pass(model) for model in ("egpt", "videollava") if model != missing]
    assert comparisons(run_with(*records)) == []


def test_without_a_draft_there_is_no_comparison() -> None:
    assert comparisons(run_with(whole_pass("egpt"), whole_pass("videollava"), draft=None)) == []


def test_passes_of_another_kind_or_engine_are_left_out() -> None:
    run = run_with(
        whole_pass("egpt", "s1"),
        whole_pass("egpt", "s2", kind="fixed"),
        whole_pass("egpt", "s3", engine="graph"),
        whole_pass("egpt", "s4", (), kind="unsynchronised"),
        whole_pass("llava", "s5"),
    )
    assert set(passes(run, "whole", "egpt", "eager")) == {"s1"}


def test_of_two_passes_of_one_sample_the_later_counts() -> None:
    run = run_with(whole_pass("egpt", text="first"), whole_pass("egpt", text="second"))
    assert passes(run, "whole", "egpt", "eager")["s1"].text == "second"


def test_engines_are_compared_each_with_itself() -> None:
    run = run_with(
        *(
            whole_pass(model, engine=engine, seconds=(factor, 0, 0, 0, factor))
            for model, engine, factor in [
                ("egpt", "eager", 1),
                ("videollava", "eager", 3),
                ("egpt", "graph", 1),
                ("videollava", "graph", 5),
            ]
        ),
        engines=("eager", "graph"),
    )
    assert [(each.engine, each.total.factor) for each in comparisons(run)] == [("eager", 3), ("graph", 5)]


@pytest.mark.parametrize(("target_states", "mixed"), [(("warm", "warm"), False), (("warm", "cold"), True)])
def test_a_comparison_says_whether_files_were_found_in_different_states(
    target_states: tuple[str, ...], mixed: bool
) -> None:
    drafts = [whole_pass("egpt", sample, state="hit") for sample in ("s1", "s2")]
    targets = [
        whole_pass("videollava", sample, state=state) for sample, state in zip(("s1", "s2"), target_states, strict=True)
    ]
    (comparison,) = comparisons(run_with(*drafts, *targets))
    assert comparison.load_is_mixed is mixed


def test_synchronisation_gap_is_over_the_samples_that_went_both_ways() -> None:
    run = run_with(
        whole_pass("egpt", "s1", whole_s=11),
        whole_pass("egpt", "s2", whole_s=500),
        whole_pass("egpt", "s1", (), kind="unsynchronised", whole_s=10),
        whole_pass("egpt", "s3", (), kind="unsynchronised", whole_s=1),
    )
    found = synchronisation_overhead(run, "egpt", "eager")
    assert found is not None
    assert (found.samples, found.value) == (1, pytest.approx(0.1))
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert synchronisation_overhead(run, "videollava", "eager") is None


def test_work_between_the_stages_is_told_by_most_passes() -> None:
    """Another process may hold up one pass; work of the passes themselves is in all of them."""

    def share(*whole_s: float) -> float:
        return median_stage_share(
            whole_pass("egpt", f"s{at}", (1, 2, 3, 4, 5), whole_s=s) for at, s in enumerate(whole_s)
        )

    assert share(15.0, 20.0, 15.0) == 1
    assert share(15.0, 20.0, 18.75) == pytest.approx(0.8)
    assert share(18.75, 20.0, 18.75, 25.0) == pytest.approx((0.75 + 0.8) / 2)


def test_synchronisation_gap_has_the_interval_of_its_ratio() -> None:
    run = run_with(
        whole_pass("egpt", "s0", whole_s=12),
        whole_pass("egpt", "s1", whole_s=11),
        whole_pass("egpt", "s2", whole_s=13),
        whole_pass("egpt", "s0", (), kind="unsynchronised", whole_s=9),
        whole_pass("egpt", "s1", (), kind="unsynchronised", whole_s=10),
        whole_pass("egpt", "s2", (), kind="unsynchronised", whole_s=11),
    )
    found, ratio = synchronisation_overhead(run, "egpt", "eager"), ratio_interval((12, 11, 13), (9, 10, 11))
    assert found is not None
    assert ratio is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.2, ratio.low - 1, ratio.high - 1))


def test_equal_ratios_leave_no_doubt() -> None:
    (comparison,) = comparisons(headline_run())
    for speedup in (comparison.total, *comparison.stages.values()):
        found = speedup.interval
        assert found is not None
        assert [found.low, found.value, found.high] == pytest.approx([speedup.factor] * 3)


def test_figures_of_whole_passes_are_of_those_that_came_through() -> None:
    egpt, videollava, _ = pass_figures(full_run())
    assert (egpt.model, len(egpt.records)) == ("egpt", 2)
    assert egpt.mean_s("decode") == pytest.approx(0.7)
    assert videollava.mean_total_s == pytest.approx(5 * 1.32)
    assert sum(map(videollava.share, videollava.stages)) == pytest.approx(1)
    assert egpt.mean_tokens == 3


def test_a_file_without_tokens_has_no_mean_of_them() -> None:
    (figure,) = pass_figures(RunRecord(header(), passes=(whole_pass("egpt", token_ids=()),)))
    assert figure.mean_tokens is None
