"""A log of speculative rounds: its four views, its intervals, and what they are worth on logs of known kind."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.agreement import expected_tokens
from harness.figures.speculation import MAX_POSITIONS, acceptance_statistics, speculation_figures
from harness.records.lines import RunRecord
from harness.records.quantities import MIB
from harness.records.speculation import AgreementRecord, DivergenceRecord, RoundLog
from tests.harness.made_runs import agreement, cost, header, loaded, log, request


@st.composite
def rounds(draw: st.DrawFn) -> RoundLog:
    drafted = draw(st.integers(0, 6))
    accepted = draw(st.integers(0, drafted))
    return RoundLog(drafted, accepted, draw(st.integers(1, accepted + 1)), 0.1, 0.2)


def test_views_of_a_known_log_under_their_own_names() -> None:
    found = acceptance_statistics(log((4, 4), (4, 1), (2, 0)))
    assert found.acceptance_rate == 5 / 10
    assert found.conditional == 5 / 7  # two rejections; what lay behind them was never looked at
    assert found.mean_acceptance_length == (5 + 2 + 1) / 3
    assert found.survival == (2 / 3, 1 / 3, 1 / 3, 1 / 3)
    assert found.conditional_at == (2 / 3, 1 / 2, 1.0, 1.0)


def test_a_round_that_proposed_no_more_says_nothing_of_the_next_place() -> None:
    assert acceptance_statistics(log((4, 4), (2, 2), (3, 2))).conditional_at == (1.0, 1.0, 1 / 2, 1.0)


@given(st.lists(rounds(), min_size=1, max_size=20))
def test_views_stay_within_their_bounds(some: list[RoundLog]) -> None:
    found = acceptance_statistics(some)
    assert list(found.survival) == sorted(found.survival, reverse=True)
    assert 1 <= found.mean_acceptance_length <= 1 + max(each.accepted for each in some)
    if found.conditional is not None and found.acceptance_rate is not None:
        assert 0 <= found.acceptance_rate <= found.conditional <= 1


@given(st.integers(1, 6), st.integers(1, 30))
def test_a_draft_that_is_always_right_reaches_the_limit_and_no_more(gamma: int, count: int) -> None:
    found = acceptance_statistics(log(*[(gamma, gamma)] * count))
    assert (found.acceptance_rate, found.conditional, found.mean_acceptance_length) == (1, 1, gamma + 1)


def test_independent_proposals_give_the_textbook_length_of_a_round() -> None:
    draw, share, gamma = Random(3), 0.7, 4
    some = []
    for _ in range(20_000):
        accepted = 0
        while accepted < gamma and draw.random() < share:
            accepted += 1
        some.append((gamma, accepted))
    found = acceptance_statistics(log(*some))
    assert found.conditional == pytest.approx(share, abs=0.01)
    assert found.mean_acceptance_length == pytest.approx(expected_tokens(share, gamma), rel=0.01)


def run(*agreements: AgreementRecord, **fields: Any) -> RunRecord:
    return RunRecord(header(options={"gamma": 4}), agreements=agreements, **fields)


def test_wall_clock_is_the_ratio_of_totals_and_not_the_mean_of_ratios() -> None:
    (found,) = speculation_figures(
        run(speculations=(request("a", alone_s=10, pair_s=5), request("b", alone_s=2, pair_s=4)))
    )
    assert found.speedup is not None
    assert found.speedup.value == 12 / 9
    assert found.slower_share == 0.5


def test_decoding_stands_beside_what_the_measured_costs_predict() -> None:
    (found,) = speculation_figures(run(speculations=(request("a"),), speculation_costs=(cost(),)))
    assert found.cost_model is not None
    assert (found.cost_model.costs.c, found.cost_model.costs.v[5]) == (0.25, 2.0)
    assert found.cost_model.predicted == pytest.approx(4.5 / (4 * 0.25 + 2))
    assert found.decode_speedup == 3.0
    assert found.residual == pytest.approx(3 / 1.5 - 1)


def test_a_file_that_names_billions_of_drafted_tokens_is_told_of_the_first_positions() -> None:
    found = acceptance_statistics(log((2**31, 3)))
    assert found.survival == (1.0, 1.0, 1.0, *[0.0] * (MAX_POSITIONS - 3))


def test_without_measured_costs_nothing_is_predicted() -> None:
    (found,) = speculation_figures(run(speculations=(request("a"),)))
    assert (found.cost_model, found.residual, found.decode_speedup) == (None, None, 3.0)


def test_answers_that_part_at_a_near_tie_are_told_from_those_that_are_wrong() -> None:
    tie, wrong = DivergenceRecord(3, 0.25, 0.5), DivergenceRecord(3, 0.75, 0.5)
    requests = (request("a"), *(request(n, identical=False, divergence=p) for n, p in (("b", tie), ("c", wrong))))
    (found,) = speculation_figures(run(speculations=requests))
    assert (found.identical, found.near_ties, found.requests) == (1, 1, 3)


def test_memory_is_the_drafts_weights_and_what_a_request_takes_beyond_one_of_the_target() -> None:
    (found,) = speculation_figures(
        run(speculations=(request("a"),), speculation_costs=(cost(),), models=(loaded("egpt", 7), loaded("llava", 9)))
    )
    assert (found.draft_weights_bytes, found.added_peak_bytes) == (7 * MIB, 10 * MIB)


def test_the_first_place_counts_for_nothing_since_no_draft_proposes_it() -> None:
    (found,) = speculation_figures(run(agreement("a", (False, True, True), (True, False, True))))
    assert (found.acceptance["own"].value, found.acceptance["shuffled"].value) == (1.0, 0.5)


def test_no_interval_of_a_share_or_of_a_ratio_of_times_goes_where_neither_can_be() -> None:
    apart = [agreement(name, (True, seen, seen), (True, False, False)) for name, seen in (("a", True), ("b", False))]
    (found,) = speculation_figures(run(*apart, speculations=(request("a", pair_s=0.5), request("b", pair_s=9.0))))
    assert (found.acceptance["own"].low, found.acceptance["own"].high) == (0.0, 1.0)
    assert found.speedup is not None
    assert found.speedup.low == 0.0
    (alone,) = speculation_figures(run(apart[0]))
    assert not alone.acceptance["own"].is_bounded


def test_lift_is_told_apart_from_nothing_by_pairs_of_the_same_sample() -> None:
    always = [
        agreement(str(n), (True, *[True] * n, False), (True, *[True] * (n - 1), False, False)) for n in (8, 9, 10)
    ]
    never = [agreement(str(n), (True, True, False), (True, n % 2 == 0, n % 2 == 1)) for n in range(6)]
    (lifted,), (flat,) = speculation_figures(run(*always)), speculation_figures(run(*never))
    assert lifted.lift is not None
    assert lifted.lift.excludes_zero
    assert flat.lift is not None
    assert not flat.lift.excludes_zero


def test_a_run_without_speculation_says_nothing_of_it() -> None:
    assert speculation_figures(run()) == []
