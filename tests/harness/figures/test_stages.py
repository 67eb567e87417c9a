from __future__ import annotations

import msgspec
import pytest

from harness.figures.agreement import Agreement
from harness.figures.stages import (
    LEGACY_READER,
    Comparison,
    Speedup,
    comparable_rounds,
    comparisons,
    paired,
    passes,
    peak_bytes,
    seconds_by_sample,
    stage1_speedup,
    stage_figures,
    synchronisation_overhead,
)
from harness.records.lines import PassRecord, RunRecord, StageRecord
from tests.harness.made_runs import failed_pass, header, headline_run, host_peak, stage_test, whole_pass


def run_of(*records: PassRecord | StageRecord, samples: tuple[str, ...] = ("s1", "s2"), **changes: object) -> RunRecord:
    return RunRecord(
        header=header(samples, **changes),
        stages=tuple(each for each in records if isinstance(each, StageRecord)),
        passes=tuple(each for each in records if isinstance(each, PassRecord)),
    )


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
        assert headline.acceptance_token_weighted == 1
        assert headline.theoretical_speedup == pytest.approx(6 / (5 * 1.851 / 9.463 + 1))
        (other,) = comparisons(msgspec.structs.replace(headline_run(), header=header(options={"gamma": 2})))
        assert other.theoretical_speedup == pytest.approx(3 / (2 * 1.851 / 9.463 + 1))


def test_speedup_is_a_ratio_of_means_and_no_mean_of_ratios() -> None:
    run = run_of(
        whole_pass("egpt", "s1", (1, 0, 0, 0, 0)),
        whole_pass("egpt", "s2", (3, 0, 0, 0, 1)),
        whole_pass("videollava", "s1", (9, 0, 0, 0, 0)),
        whole_pass("videollava", "s2", (3, 0, 0, 0, 1)),
    )
    (comparison,) = comparisons(run)
    assert comparison.stages[1].factor == 12 / 4
    assert comparison.total.factor == 13 / 5


def test_where_no_time_is_saved_nothing_has_a_share_of_it() -> None:
    (comparison,) = comparisons(run_of(whole_pass("egpt", seconds=(2, 1, 1, 1, 1)), whole_pass("videollava")))
    assert comparison.total.saved_s == -1
    assert comparison.share_of_time_saved(1) is None


def test_a_stage_that_the_draft_makes_slower_has_a_negative_share_of_the_time_saved() -> None:
    run = run_of(whole_pass("egpt", seconds=(2, 1, 1, 1, 1)), whole_pass("videollava", seconds=(1, 1, 1, 1, 4)))
    (comparison,) = comparisons(run)
    assert comparison.share_of_time_saved(1) == -0.5
    assert comparison.share_of_time_saved(3) == 1.5


def test_acceptance_is_a_mean_over_samples_and_a_share_of_all_tokens() -> None:
    run = run_of(
        whole_pass("egpt", "s1", token_ids=(1,)),
        whole_pass("videollava", "s1", token_ids=(1, 2)),
        whole_pass("egpt", "s2", token_ids=(1, 2, 3, 4)),
        whole_pass("videollava", "s2", token_ids=(9, 2, 9, 9, 9)),
    )
    (comparison,) = comparisons(run)
    assert comparison.agreements == {"s1": Agreement(1, 1), "s2": Agreement(1, 4)}
    assert comparison.acceptance_per_sample == (1 + 1 / 4) / 2
    assert comparison.acceptance_token_weighted == 2 / 5


@pytest.mark.parametrize(("draft", "target"), [((), (1, 2)), ((1, 2), ()), ((), ())])
def test_answers_without_a_token_have_no_token_split_and_still_a_speedup(
    draft: tuple[int, ...], target: tuple[int, ...]
) -> None:
    run = run_of(whole_pass("egpt", token_ids=draft), whole_pass("videollava", token_ids=target))
    (comparison,) = comparisons(run)
    assert (comparison.tokens_factor, comparison.pace_factor) == (None, None)
    assert comparison.stages[3].factor == 1
    assert comparison.acceptance_token_weighted == 0


def test_failed_passes_are_left_out() -> None:
    run = run_of(
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
    assert comparisons(run_of(*records)) == []


def test_without_a_draft_there_is_no_comparison() -> None:
    assert comparisons(run_of(whole_pass("egpt"), whole_pass("videollava"), draft=None)) == []


def test_passes_of_another_kind_or_engine_are_left_out() -> None:
    run = run_of(
        whole_pass("egpt", "s1"),
        whole_pass("egpt", "s2", kind="fixed"),
        whole_pass("egpt", "s3", engine="graph"),
        whole_pass("egpt", "s4", (), kind="unsynchronised"),
        whole_pass("llava", "s5"),
    )
    assert set(passes(run, "whole", "egpt", "eager")) == {"s1"}


def test_of_two_passes_of_one_sample_the_later_counts() -> None:
    run = run_of(whole_pass("egpt", text="first"), whole_pass("egpt", text="second"))
    assert passes(run, "whole", "egpt", "eager")["s1"].text == "second"


def test_engines_are_compared_each_with_itself() -> None:
    run = run_of(
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


DRAFT_LOAD = stage_test("egpt", "load", {"s1": [1, 3, 2], "s2": [4]})


def test_gated_stage_1_takes_mp4_by_the_legacy_reader_whatever_reader_is_in_use() -> None:
    in_use = stage_test("videollava", "load", {"s1": [0.1], "s2": [0.1]}, sources=("mp4 (fast)",))
    legacy = stage_test("videollava", "load", {"s1": [20], "s2": [28]}, variant=LEGACY_READER)
    gated = stage1_speedup(run_of(DRAFT_LOAD, in_use, legacy), "videollava")
    assert gated is not None
    assert (gated.draft_mean_s, gated.target_mean_s, gated.samples) == (3, 24, 2)
    assert gated.factor == 8


def test_gated_stage_1_of_mp4_is_not_there_before_the_legacy_reader_has_run() -> None:
    in_use = stage_test("videollava", "load", {"s1": [0.1]}, sources=("mp4 (fast)",))
    assert stage1_speedup(run_of(DRAFT_LOAD, in_use), "videollava") is None


def test_gated_stage_1_of_a_target_that_reads_no_mp4_takes_it_as_it_is() -> None:
    target = stage_test("llava", "load", {"s1": [4, 4, 40]}, sources=("png frames",))
    gated = stage1_speedup(run_of(DRAFT_LOAD, target), "llava")
    assert gated is not None
    assert (gated.factor, gated.samples) == (2, 1)


def test_gated_stage_1_needs_a_sample_that_both_have() -> None:
    elsewhere = stage_test("videollava", "load", {"s9": [20]}, variant=LEGACY_READER)
    assert stage1_speedup(run_of(DRAFT_LOAD, elsewhere), "videollava") is None
    assert stage1_speedup(run_of(elsewhere), "videollava") is None
    assert stage1_speedup(run_of(DRAFT_LOAD, elsewhere, draft=None), "videollava") is None


def test_a_samples_time_is_the_median_of_its_rounds() -> None:
    assert seconds_by_sample(run_of(DRAFT_LOAD), "egpt", "load", "") == {"s1": 2, "s2": 4}


def test_a_samples_time_is_that_of_the_engine_asked_for() -> None:
    run = run_of(
        stage_test("egpt", "decode", {"s1": [8]}, engine="eager"),
        stage_test("egpt", "decode", {"s1": [1]}, engine="graph"),
        DRAFT_LOAD,
    )
    assert seconds_by_sample(run, "egpt", "decode", "", engine="eager") == {"s1": 8}
    assert seconds_by_sample(run, "egpt", "decode", "", engine="graph") == {"s1": 1}
    assert seconds_by_sample(run, "egpt", "load", "", engine="graph") == {"s1": 2, "s2": 4}


def test_stage_figure_is_over_all_rounds_of_all_samples() -> None:
    record = stage_test(
        "egpt", "decode", {"s1": [1, 2], "s2": [6]}, cold_s={"s1": 9, "s2": 0.5}, tokens={"s1": 11, "s2": 21}
    )
    (figure,) = stage_figures(run_of(record))
    assert (figure.model, figure.stage, figure.engine, figure.variant) == ("egpt", "decode", "eager", "")
    assert (figure.seconds.n, figure.seconds.median) == (3, 2)
    assert figure.ms_per_token == 200  # the median of 100, 200 and 300


IN_TWO_STATES = stage_test(
    "egpt", "load", {"s1": [9, 1, 3], "s2": [8, 8]}, round_states=("cold", "hit", "hit", "hit", "cold")
)


def test_rounds_in_different_states_are_figures_of_their_own() -> None:
    cold, hit = stage_figures(run_of(IN_TWO_STATES))
    assert (cold.state, cold.is_most_common, cold.seconds.n, cold.seconds.median) == ("cold", False, 2, 8.5)
    assert (hit.state, hit.is_most_common, hit.seconds.n, hit.seconds.median) == ("hit", True, 3, 3)


def test_a_sample_s_median_is_over_rounds_in_the_state_of_most() -> None:
    assert comparable_rounds(IN_TWO_STATES) == [("s1", 1), ("s1", 3), ("s2", 8)]
    assert seconds_by_sample(run_of(IN_TWO_STATES), "egpt", "load", "") == {"s1": 2, "s2": 8}


def test_a_sample_without_a_round_in_that_state_is_left_out_of_the_gated_figure() -> None:
    draft = stage_test("egpt", "load", {"s1": [1, 1], "s2": [5]}, round_states=("warm", "warm", "cold"))
    target = stage_test("llava", "load", {"s1": [4], "s2": [40]}, round_states=("warm", "warm"))
    gated = stage1_speedup(run_of(draft, target), "llava")
    assert gated == Speedup(4, 1, 1)


@pytest.mark.parametrize(("state", "is_compared"), [("warm", True), ("cache hit", False), ("", False)])
def test_the_gated_figure_compares_files_that_were_found_in_the_same_state(state: str, is_compared: bool) -> None:
    draft = stage_test("egpt", "load", {"s1": [1, 1]}, round_states=("warm", "warm"))
    target = stage_test("llava", "load", {"s1": [4, 4]}, round_states=(state, state))
    assert (stage1_speedup(run_of(draft, target), "llava") is not None) is is_compared


@pytest.mark.parametrize(("target_states", "mixed"), [(("warm", "warm"), False), (("warm", "cold"), True)])
def test_a_comparison_says_whether_files_were_found_in_different_states(
    target_states: tuple[str, ...], mixed: bool
) -> None:
    drafts = [whole_pass("egpt", sample, state="hit") for sample in ("s1", "s2")]
    targets = [
        whole_pass("videollava", sample, state=state) for sample, state in zip(("s1", "s2"), target_states, strict=True)
    ]
    (comparison,) = comparisons(run_of(*drafts, *targets))
    assert comparison.load_is_mixed is mixed


def test_cold_figure_is_the_very_first_time_through_the_stage() -> None:
    (figure,) = stage_figures(run_of(stage_test("egpt", "load", {"s1": [1], "s2": [1]}, cold_s={"s1": 9, "s2": 0.5})))
    assert figure.cold_s == 9


def test_a_stage_without_tokens_has_no_pace() -> None:
    (figure,) = stage_figures(run_of(DRAFT_LOAD))
    assert figure.ms_per_token is None


def test_a_stage_in_which_every_sample_failed_is_no_figure() -> None:
    assert stage_figures(run_of(stage_test("egpt", "load", {}))) == []


def test_memory_of_a_stage_is_the_highest_over_samples_and_engines_but_not_variants() -> None:
    run = run_of(
        stage_test("egpt", "decode", {}, memory={"s1": host_peak(1), "s2": host_peak(3)}, engine="eager"),
        stage_test("egpt", "decode", {}, memory={"s1": host_peak(2)}, engine="graph"),
        stage_test("egpt", "decode", {}, memory={"s1": host_peak(9)}, variant="other"),
        stage_test("egpt", "load", {}),
    )
    assert peak_bytes(run) == {("egpt", "decode"): 3 << 20}


def test_synchronisation_gap_is_over_the_samples_that_went_both_ways() -> None:
    run = run_of(
        whole_pass("egpt", "s1", whole_s=11),
        whole_pass("egpt", "s2", whole_s=500),
        whole_pass("egpt", "s1", (), kind="unsynchronised", whole_s=10),
        whole_pass("egpt", "s3", (), kind="unsynchronised", whole_s=1),
    )
    assert synchronisation_overhead(run, "egpt", "eager") == pytest.approx(0.1)
    assert synchronisation_overhead(run, "videollava", "eager") is None
