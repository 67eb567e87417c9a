from __future__ import annotations

from random import Random
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures import agreement
from harness.figures.agreement import (
    Agreement,
    Shares,
    TokenPair,
    common_prefix,
    expected_tokens,
    positionwise,
    replay,
    theoretical_speedup,
    token_weighted,
)

# Few different tokens, so that many positions match.
TOKENS = st.lists(st.integers(0, 3), max_size=30)
RATES = st.floats(0, 1)
GAMMAS = st.integers(1, 40)
IDS = st.lists(st.integers(2, 9), min_size=1, max_size=8).map(tuple)


@given(TOKENS, TOKENS)
def test_rate_is_a_share_of_the_shorter_answer(draft: list[int], target: list[int]) -> None:
    found = positionwise(draft, target)
    assert 0 <= found.rate <= 1
    assert 0 <= found.matched <= found.compared == min(len(draft), len(target))


@given(TOKENS, TOKENS)
def test_neither_answer_is_preferred(draft: list[int], target: list[int]) -> None:
    assert positionwise(draft, target) == positionwise(target, draft)


@given(TOKENS.filter(bool), TOKENS)
def test_an_answer_agrees_with_itself_and_with_its_own_continuation(tokens: list[int], more: list[int]) -> None:
    assert positionwise(tokens, tokens).rate == 1
    assert positionwise(tokens, tokens + more) == Agreement(len(tokens), len(tokens))


@given(TOKENS, TOKENS)
def test_matches_are_those_of_a_loop_over_positions(draft: list[int], target: list[int]) -> None:
    matched = 0
    for position in range(min(len(draft), len(target))):
        if draft[position] == target[position]:
            matched += 1
    assert positionwise(draft, target).matched == matched


def test_one_token_too_many_at_the_start_undoes_the_agreement() -> None:
    assert positionwise([1, 2, 3, 4], [0, 1, 2, 3, 4]).rate == 0


def test_nothing_compared_is_a_rate_of_zero() -> None:
    assert positionwise([], [1, 2]).rate == 0
    assert token_weighted([]) == 0
    assert token_weighted([Agreement(0, 0)]) == 0


def test_long_answers_weigh_more_over_all_tokens_together() -> None:
    short, long = Agreement(1, 1), Agreement(0, 9)
    assert token_weighted([short, long]) == 0.1
    assert (short.rate + long.rate) / 2 == 0.5


@given(st.lists(st.tuples(TOKENS, TOKENS), max_size=5))
def test_token_weighted_rate_is_the_rate_of_all_positions_in_a_row(pairs: list[tuple[list[int], list[int]]]) -> None:
    agreements = [positionwise(draft, target) for draft, target in pairs]
    both = [positionwise(draft[: len(target)], target[: len(draft)]) for draft, target in pairs]
    row = positionwise(
        [token for draft, target in pairs for token in draft[: len(target)]],
        [token for draft, target in pairs for token in target[: len(draft)]],
    )
    assert token_weighted(agreements) == token_weighted(both) == row.rate


@given(st.floats(0, 0.99), GAMMAS)
def test_expected_tokens_are_those_of_the_closed_form(rate: float, gamma: int) -> None:
    assert expected_tokens(rate, gamma) == pytest.approx((1 - rate ** (gamma + 1)) / (1 - rate), rel=1e-9)


@given(GAMMAS)
def test_expected_tokens_end_at_one_and_at_gamma_plus_one(gamma: int) -> None:
    assert expected_tokens(0, gamma) == 1
    assert expected_tokens(1, gamma) == gamma + 1


@given(RATES, RATES, GAMMAS)
def test_expected_tokens_grow_with_the_rate_and_with_gamma(one: float, other: float, gamma: int) -> None:
    low, high = sorted((one, other))
    slack = 1 + 1e-12
    assert expected_tokens(low, gamma) <= expected_tokens(high, gamma) * slack
    assert expected_tokens(low, gamma) <= expected_tokens(low, gamma + 1)
    assert 1 <= expected_tokens(low, gamma) <= (gamma + 1) * slack


@given(RATES, GAMMAS, st.floats(0, 10), st.floats(0, 10))
def test_a_dearer_draft_is_never_worth_more(rate: float, gamma: int, one: float, other: float) -> None:
    cheap, dear = sorted((one, other))
    assert theoretical_speedup(rate, gamma, dear) <= theoretical_speedup(rate, gamma, cheap)


def test_theoretical_speedup_of_the_old_headline_figures() -> None:
    # E = 1 + 0.5 + 0.25 + ... = 1.96875 at gamma 5; c = 1.851 / 9.464
    assert theoretical_speedup(0.5, 5, 1.851 / 9.464) == pytest.approx(1.96875 / (5 * 1.851 / 9.464 + 1), rel=1e-12)
    assert theoretical_speedup(1, 5, 0) == 6
    assert theoretical_speedup(0, 5, 1) == 1 / 6


def test_figures_of_a_known_pair() -> None:
    found = replay([TokenPair("a", (5, 6, 7, 8), (5, 6, 9, 8, 4)), TokenPair("b", (1, 2), (3, 2))], gamma=3)
    assert (found.matched, found.compared) == (4, 6)
    assert (found.own.pairs, found.own.per_sample) == (2, pytest.approx((3 / 4 + 1 / 2) / 2))
    assert found.survival == (0.5, 0.5, 0.0)
    assert found.shuffled is not None
    assert (found.shuffled.pairs, found.shuffled.per_sample) == (2, 0.0)


def control(pairs: list[TokenPair], gamma: int = 3) -> Shares:
    found = replay(pairs, gamma).shuffled
    assert found is not None
    return found


def pairs_of(count: int, seed: int, questions: int = 1) -> list[TokenPair]:
    draw = Random(seed)
    ids = [tuple(draw.choices(range(4), k=draw.randint(3, 9))) for _ in range(2 * count)]
    return [TokenPair(str(n), ids[n], ids[count + n], f"q{n % questions}") for n in range(count)]


def all_pairings(pairs: list[TokenPair]) -> list[float]:
    """The rates of a literal loop over all answers to the same question about other samples."""
    return [
        positionwise(mine.draft, theirs.target).rate
        for mine in pairs
        for theirs in pairs
        if mine is not theirs and mine.question == theirs.question
    ]


@pytest.mark.parametrize("questions", [1, 3])
def test_the_control_takes_all_pairs_of_samples_with_the_same_question(questions: int) -> None:
    pairs = pairs_of(30, seed=1, questions=questions)
    found, expected = control(pairs), all_pairings(pairs)
    assert found.pairs == len(expected) == 30 * (30 // questions - 1)
    assert found.per_sample == pytest.approx(fmean(expected))


def test_the_control_is_not_the_next_sample_where_neighbours_are_alike() -> None:
    """Clips of one recording follow each other: their answers are alike, and paired in turn they look like chance."""
    alike = [TokenPair(str(n), (n // 40,) * 6, (n // 40,) * 6) for n in range(400)]
    assert replay(alike, gamma=3).own.per_sample == 1
    assert control(alike).per_sample == pytest.approx(39 / 399, abs=0.02)


def test_of_too_many_pairs_some_are_drawn_and_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_of(60, seed=2)
    exact = control(pairs).per_sample
    monkeypatch.setattr(agreement, "MAX_PAIRINGS", 600)
    found = control(pairs)
    assert (found.pairs, found) == (600, control(pairs))
    assert found.per_sample == pytest.approx(exact, abs=0.05)


def test_others_are_drawn_from_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "MAX_PAIRINGS", 2000)
    first_agree = [TokenPair(str(n), (1, 1), (1, 1) if n < 20 else (2, 2)) for n in range(200)]
    assert control(first_agree, gamma=1).per_sample == pytest.approx(0.1, abs=0.03)


def test_without_another_sample_of_the_same_question_there_is_no_control() -> None:
    assert replay(pairs_of(4, seed=3, questions=4), gamma=3).shuffled is None


def test_the_controls_interval_holds_the_truth_as_often_as_it_says() -> None:
    # Answers of positions that agree with one chance in four, whoever wrote them.
    held = 0
    for seed in range(200):
        found = control(pairs_of(20, seed)).interval
        assert found is not None
        held += found.low <= 0.25 <= found.high
    assert 180 <= held <= 200


def test_the_controls_interval_is_as_wide_as_the_targets_differ() -> None:
    held = 0
    for seed in range(200):
        draw = Random(seed)
        pairs = [TokenPair(str(n), (1, 1), (draw.choice((1, 2)),) * 2) for n in range(30)]
        found = control(pairs, gamma=1).interval
        assert found is not None
        held += found.low <= 0.5 <= found.high
    assert 180 <= held <= 200


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5))
def test_survival_never_rises_and_a_prefix_is_matched(answers: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    found = replay([TokenPair(str(n), *pair) for n, pair in enumerate(answers)], gamma=6)
    assert list(found.survival) == sorted(found.survival, reverse=True)
    assert sum(common_prefix(*pair) for pair in answers) <= found.matched <= found.compared


@given(IDS, IDS, IDS)
def test_a_common_prefix_is_common_and_cannot_be_longer(shared: Any, one: Any, other: Any) -> None:
    length = common_prefix(shared + one, shared + other)
    assert length >= len(shared)
    assert (shared + one)[:length] == (shared + other)[:length]
    assert (shared + one)[length : length + 1] != (shared + other)[length : length + 1] or not (shared + one)[length:]
