"""A log of speculative rounds: its four views, its intervals, and what they are worth on logs of known kind."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.acceptance import expected_tokens
from harness.records import AgreementRecord, RoundLog, RunRecord, SpeculationRecord
from harness.speculation import pooled_share, speculation_figures, views
from harness.speculation_text import text, title
from tests.harness.made_runs import header


@st.composite
def rounds(draw: st.DrawFn) -> RoundLog:
    drafted = draw(st.integers(0, 6))
    accepted = draw(st.integers(0, drafted))
    return RoundLog(drafted, accepted, draw(st.integers(1, accepted + 1)), 0.1, 0.2)


def log(*drafted_accepted: tuple[int, int]) -> list[RoundLog]:
    return [RoundLog(drafted, accepted, accepted + 1, 0.1, 0.2) for drafted, accepted in drafted_accepted]


def test_views_of_a_known_log_under_their_own_names() -> None:
    found = views(log((4, 4), (4, 1), (2, 0)))
    assert found.accepted_of_drafted == 5 / 10
    assert found.conditional == 5 / 7  # two rejections; what lay behind them was never looked at
    assert found.tokens_a_round == (5 + 2 + 1) / 3
    assert found.survival == (2 / 3, 1 / 3, 1 / 3, 1 / 3)
    assert found.conditional_at == (2 / 3, 1 / 2, 1.0, 1.0)


@given(st.lists(rounds(), min_size=1, max_size=20))
def test_views_stay_within_their_bounds(some: list[RoundLog]) -> None:
    found = views(some)
    assert list(found.survival) == sorted(found.survival, reverse=True)
    assert 1 <= found.tokens_a_round <= 1 + max(each.accepted for each in some)
    if found.conditional is not None and found.accepted_of_drafted is not None:
        assert 0 <= found.accepted_of_drafted <= found.conditional <= 1


@given(st.integers(1, 6), st.integers(1, 30))
def test_a_draft_that_is_always_right_reaches_the_limit_and_no_more(gamma: int, count: int) -> None:
    found = views(log(*[(gamma, gamma)] * count))
    assert (found.accepted_of_drafted, found.conditional, found.tokens_a_round) == (1, 1, gamma + 1)


def test_independent_proposals_give_the_textbook_length_of_a_round() -> None:
    draw, share, gamma = Random(3), 0.7, 4
    some = []
    for _ in range(20_000):
        accepted = 0
        while accepted < gamma and draw.random() < share:
            accepted += 1
        some.append((gamma, accepted))
    found = views(log(*some))
    assert found.conditional == pytest.approx(share, abs=0.01)
    assert found.tokens_a_round == pytest.approx(expected_tokens(share, gamma), rel=0.01)


def test_an_interval_by_sample_covers_the_truth_about_as_often_as_it_says() -> None:
    draw, covered = Random(5), 0
    for _ in range(600):
        shares = [draw.betavariate(6, 4) for _ in range(12)]
        counts = [(sum(draw.random() < share for _ in range(40)), 40) for share in shares]
        found = pooled_share(counts)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.6 <= found.high
    assert 0.92 <= covered / 600 <= 0.98


def test_one_sample_has_no_interval() -> None:
    found = pooled_share([(3, 4)])
    assert (found.value, found.low, found.high, found.excludes_zero) == (0.75, None, None, False)


def request(sample: str, *, alone_s: float = 10.0, pair_s: float = 5.0, **changes: Any) -> SpeculationRecord:
    fields: dict[str, Any] = {
        "test": "t", "sample": sample, "target": "videollava", "engine": "eager", "gamma": 4,
        "rounds": tuple(log((4, 3), (4, 4))), "token_ids": (1, 2), "identical": True, "alone_s": alone_s,
        "alone_decode_s": 9.0, "alone_steps": 9, "pair_s": pair_s, "loop_s": 3.0,
    }  # fmt: skip
    return SpeculationRecord(**fields | changes)


def agreement(sample: str, own: tuple[bool, ...], shuffled: tuple[bool, ...]) -> AgreementRecord:
    return AgreementRecord("t", sample, "videollava", "eager", {"own": own, "shuffled": shuffled})


def run(*agreements: AgreementRecord, requests: tuple[SpeculationRecord, ...] = ()) -> RunRecord:
    return RunRecord(header(options={"gamma": 4}), agreements=agreements, speculations=requests)


def test_wall_clock_is_the_ratio_of_totals_and_not_the_mean_of_ratios() -> None:
    (found,) = speculation_figures(
        run(requests=(request("a", alone_s=10, pair_s=5), request("b", alone_s=2, pair_s=4)))
    )
    assert found.speedup is not None
    assert found.speedup.value == 12 / 9
    assert found.slower_share == 0.5


def test_the_forecast_is_made_of_what_was_measured() -> None:
    (found,) = speculation_figures(run(requests=(request("a"),)))
    assert (found.c, found.v) == (pytest.approx(0.2 / 8), pytest.approx(0.2))  # a step of the target takes 1 s
    assert found.predicted == pytest.approx(4.5 / (4 * 0.2 / 8 + 0.2))
    assert found.decode_speedup == 3.0


def test_the_first_place_counts_for_nothing_since_no_draft_proposes_it() -> None:
    (found,) = speculation_figures(run(agreement("a", (False, True, True), (True, False, True))))
    assert (found.acceptance["own"].value, found.acceptance["shuffled"].value) == (1.0, 0.5)


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


def test_lines_for_people_name_every_figure() -> None:
    (found,) = speculation_figures(
        run(agreement("a", (True, True, False), (True, False, False)), requests=(request("a"), request("b")))
    )
    assert title(found) == "speculative decoding: egpt drafts for videollava (eager, gamma 4, 2 requests)"
    written = text(found)
    assert "  its pictures: 0.500" in written.splitlines()
    assert "  another sample's: 0.000" in written.splitlines()
    assert "0.875 of the drafted tokens were accepted, 0.875 of those looked at; 4.50 tokens a round" in written
    assert "2.000x (2.000 to 2.000); 0 % of the requests became slower; 2 of 2 answers are the target's own" in written
    assert "decoding alone: 3.00x; by c = 0.025 and v = 0.200 it should be 15.00x" in written


def test_a_run_without_speculation_says_nothing_of_it() -> None:
    assert speculation_figures(run()) == []
