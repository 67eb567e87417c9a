"""Stage tests as figures: times by state, tokens, memory, and the gated speedup of stage 1."""

from __future__ import annotations

import pytest

from harness.figures.stages import (
    LEGACY_READER,
    Speedup,
    comparable_rounds,
    peak_bytes,
    seconds_by_sample,
    stage1_speedup,
    stage1_variant,
    stage_figures,
)
from tests.harness.made_runs import host_peak, run_with, stage_test

DRAFT_LOAD = stage_test("egpt", "load", {"s1": [1, 3, 2], "s2": [4]})


def test_gated_stage_1_takes_mp4_by_the_legacy_reader_whatever_reader_is_in_use() -> None:
    in_use = stage_test("videollava", "load", {"s1": [0.1], "s2": [0.1]}, sources=("mp4 (fast)",))
    legacy = stage_test("videollava", "load", {"s1": [20], "s2": [28]}, variant=LEGACY_READER)
    gated = stage1_speedup(run_with(DRAFT_LOAD, in_use, legacy), "videollava")
    assert gated is not None
    assert (gated.draft_mean_s, gated.target_mean_s, gated.samples) == (3, 24, 2)
    assert gated.factor == 8


def test_gated_stage_1_is_the_ratio_of_the_means_over_the_samples() -> None:
    """Not of the medians, 2 and 30, nor the mean of the samples' ratios, 20."""
    draft = stage_test("egpt", "load", {"s1": [1], "s2": [2], "s3": [9]})
    target = stage_test("videollava", "load", {"s1": [10], "s2": [60], "s3": [30]}, variant=LEGACY_READER)
    gated = stage1_speedup(run_with(draft, target, samples=("s1", "s2", "s3")), "videollava")
    assert gated is not None
    assert (gated.target_mean_s, gated.draft_mean_s, gated.samples) == (pytest.approx(100 / 3), 4, 3)


def test_the_measurement_that_stage_1_takes_is_told() -> None:
    by_mp4 = stage_test("videollava", "load", {"s1": [1]}, sources=("mp4 (fast)",))
    legacy = stage_test("videollava", "load", {"s1": [1]}, variant=LEGACY_READER)
    by_png = stage_test("llava", "load", {"s1": [1]}, sources=("png frames",))
    run = run_with(by_mp4, by_png)
    assert (stage1_variant(run, "videollava"), stage1_variant(run, "llava")) == (None, "")
    assert stage1_variant(run_with(by_mp4, legacy), "videollava") == LEGACY_READER


def test_gated_stage_1_of_mp4_is_not_there_before_the_legacy_reader_has_run() -> None:
    in_use = stage_test("videollava", "load", {"s1": [0.1]}, sources=("mp4 (fast)",))
    assert stage1_speedup(run_with(DRAFT_LOAD, in_use), "videollava") is None


def test_gated_stage_1_of_a_target_that_reads_no_mp4_takes_it_as_it_is() -> None:
    target = stage_test("llava", "load", {"s1": [4, 4, 40]}, sources=("png frames",))
    gated = stage1_speedup(run_with(DRAFT_LOAD, target), "llava")
    assert gated is not None
    assert (gated.factor, gated.samples) == (2, 1)


def test_gated_stage_1_needs_a_sample_that_both_have() -> None:
    elsewhere = stage_test("videollava", "load", {"s9": [20]}, variant=LEGACY_READER)
    assert stage1_speedup(run_with(DRAFT_LOAD, elsewhere), "videollava") is None
    assert stage1_speedup(run_with(elsewhere), "videollava") is None
    assert stage1_speedup(run_with(DRAFT_LOAD, elsewhere, draft=None), "videollava") is None


def test_a_samples_time_is_the_median_of_its_rounds() -> None:
    assert seconds_by_sample(run_with(DRAFT_LOAD), "egpt", "load", "") == {"s1": 2, "s2": 4}


def test_a_samples_time_is_that_of_the_engine_asked_for() -> None:
    run = run_with(
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
    (figure,) = stage_figures(run_with(record))
    assert (figure.model, figure.stage, figure.engine, figure.variant) == ("egpt", "decode", "eager", "")
    assert (figure.seconds.n, figure.seconds.median) == (3, 2)
    assert figure.median_ms_per_token == 200  # the median of 100, 200 and 300


IN_TWO_STATES = stage_test(
    "egpt", "load", {"s1": [9, 1, 3], "s2": [8, 8]}, round_states=("cold", "hit", "hit", "hit", "cold")
)


def test_rounds_in_different_states_are_figures_of_their_own() -> None:
    cold, hit = stage_figures(run_with(IN_TWO_STATES))
    assert (cold.state, cold.is_most_common, cold.seconds.n, cold.seconds.median) == ("cold", False, 2, 8.5)
    assert (hit.state, hit.is_most_common, hit.seconds.n, hit.seconds.median) == ("hit", True, 3, 3)


def test_a_sample_s_median_is_over_rounds_in_the_state_of_most() -> None:
    assert comparable_rounds(IN_TWO_STATES) == [("s1", 1), ("s1", 3), ("s2", 8)]
    assert seconds_by_sample(run_with(IN_TWO_STATES), "egpt", "load", "") == {"s1": 2, "s2": 8}


def test_a_sample_without_a_round_in_that_state_is_left_out_of_the_gated_figure() -> None:
    draft = stage_test("egpt", "load", {"s1": [1, 1], "s2": [5]}, round_states=("warm", "warm", "cold"))
    target = stage_test("llava", "load", {"s1": [4], "s2": [40]}, round_states=("warm", "warm"))
    gated = stage1_speedup(run_with(draft, target), "llava")
    assert gated == Speedup(4, 1, 1, None)


@pytest.mark.parametrize(("state", "is_compared"), [("warm", True), ("cache hit", False), ("", False)])
def test_the_gated_figure_compares_files_that_were_found_in_the_same_state(state: str, is_compared: bool) -> None:
    draft = stage_test("egpt", "load", {"s1": [1, 1]}, round_states=("warm", "warm"))
    target = stage_test("llava", "load", {"s1": [4, 4]}, round_states=(state, state))
    assert (stage1_speedup(run_with(draft, target), "llava") is not None) is is_compared


def test_cold_figure_is_the_very_first_time_through_the_stage() -> None:
    (figure,) = stage_figures(run_with(stage_test("egpt", "load", {"s1": [1], "s2": [1]}, cold_s={"s1": 9, "s2": 0.5})))
    assert figure.cold_s == 9


def test_a_stage_without_tokens_has_no_pace() -> None:
    (figure,) = stage_figures(run_with(DRAFT_LOAD))
    assert figure.median_ms_per_token is None


def test_a_stage_in_which_every_sample_failed_is_no_figure() -> None:
    assert stage_figures(run_with(stage_test("egpt", "load", {}))) == []


def test_memory_of_a_stage_is_the_highest_over_samples_and_engines_but_not_variants() -> None:
    run = run_with(
        stage_test("egpt", "decode", {}, memory={"s1": host_peak(1), "s2": host_peak(3)}, engine="eager"),
        stage_test("egpt", "decode", {}, memory={"s1": host_peak(2)}, engine="graph"),
        stage_test("egpt", "decode", {}, memory={"s1": host_peak(9)}, variant="other"),
        stage_test("egpt", "load", {}),
    )
    assert peak_bytes(run) == {("egpt", "decode"): 3 << 20}
