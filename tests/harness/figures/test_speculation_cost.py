"""When a draft pays: the cost model on costs that are known."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.figures.agreement import expected_tokens
from harness.figures.speculation_cost import (
    Costs,
    best_gamma,
    break_even,
    costs_of,
    least_break_even,
    predicted_speedup,
    simulated_rounds,
    speedup_at,
)
from harness.records.speculation import RoundLog
from tests import ROOT
from tests.harness.made_runs import cost, log

AGREES = st.lists(st.booleans(), min_size=2, max_size=60)
GAMMAS = st.integers(1, 8)


def costs(c: float, v: float = 1.0, longest: int = 32) -> Costs:
    """A verification that takes the same for any number of tokens."""
    return Costs(step_s=1.0, c=c, v=dict.fromkeys(range(1, longest + 1), v))


def test_costs_are_medians_in_steps_of_the_target_alone() -> None:
    found = costs_of(cost(step_s=0.02, c=0.25, v=1.5))
    assert found.step_s == 0.02
    assert found.c == pytest.approx(0.25)
    assert found.v == {count: pytest.approx(1.5) for count in range(1, 33)}


def test_speedup_is_tokens_a_round_over_what_a_round_costs() -> None:
    known = Costs(step_s=1.0, c=0.1, v={1: 1.0, 2: 1.25, 3: 1.5})
    assert predicted_speedup(log((2, 2)), known) == pytest.approx(3 / (2 * 0.1 + 1.5))
    # A last round without a proposal costs a pass over one token.
    assert predicted_speedup(log((2, 1), (0, 0)), known) == pytest.approx(3 / (2 * 0.1 + 1.5 + 1.0))


def test_beyond_what_was_measured_nothing_is_predicted() -> None:
    assert predicted_speedup(log((3, 3)), costs(0.1, longest=3)) is None
    assert predicted_speedup([], costs(0.1)) is None


def test_a_length_between_others_that_was_not_measured_is_left_out() -> None:
    gap = Costs(step_s=1.0, c=0.1, v={1: 1.0, 2: 1.0, 4: 1.0})
    assert gap.gammas == [1, 3]
    assert predicted_speedup(log((2, 2)), gap) is None
    assert best_gamma([[True] * 40], gap) == (3, pytest.approx(speedup_at(3, [[True] * 40], gap)))
    assert least_break_even(gap) is not None


def test_rounds_follow_from_where_the_draft_agrees() -> None:
    # The target's own first token, then: three right, one wrong, one right, and the end is wrong.
    found = simulated_rounds([False, True, True, True, False, True, False], gamma=2)
    assert [(each.drafted, each.accepted, each.emitted) for each in found] == [(2, 2, 3), (2, 0, 1), (2, 1, 2)]


def test_a_draft_that_agrees_to_the_end_stops_there() -> None:
    (found,) = simulated_rounds([True, True, True], gamma=5)
    assert (found.drafted, found.accepted, found.emitted) == (2, 2, 2)


@given(AGREES, GAMMAS)
def test_foretold_rounds_write_the_whole_answer_and_no_more(agrees: list[bool], gamma: int) -> None:
    found = simulated_rounds(agrees, gamma)
    assert 1 + sum(each.emitted for each in found) == len(agrees)
    assert all(0 <= each.accepted <= each.drafted <= gamma for each in found)


@given(AGREES, GAMMAS)
def test_a_longer_proposal_never_takes_more_rounds(agrees: list[bool], gamma: int) -> None:
    assert len(simulated_rounds(agrees, gamma + 1)) <= len(simulated_rounds(agrees, gamma))


@given(st.floats(0, 2), st.floats(0.5, 3), GAMMAS)
def test_an_acceptance_that_breaks_even_does_and_none_below_it(c: float, v: float, gamma: int) -> None:
    known = costs(c, v)
    found = break_even(gamma, known)
    if found is None:
        assert gamma + 1 < known.round(gamma)
        return
    assert expected_tokens(found, gamma) >= known.round(gamma) - 1e-9
    assert found < 1e-9 or expected_tokens(0.999 * found, gamma) < known.round(gamma)


def test_a_draft_as_dear_as_its_target_never_pays() -> None:
    assert least_break_even(costs(1.0, 1.0001)) is None
    assert best_gamma([[True] * 40], costs(1.0, 1.0001)) == (0, 1.0)


def test_nothing_is_clamped() -> None:
    always = [[True] * 65]
    assert speedup_at(31, always, costs(0.0)) == 32.0  # two full rounds
    assert best_gamma(always, costs(0.01))[1] > 10


def test_the_best_gamma_grows_with_acceptance_and_shrinks_with_cost() -> None:
    draw = Random(3)
    answers = {a: [[draw.random() < a for _ in range(400)] for _ in range(20)] for a in (0.5, 0.9)}
    cheap, dear = costs(0.05, 1.1), costs(0.4, 1.1)
    assert best_gamma(answers[0.9], cheap)[0] > best_gamma(answers[0.5], cheap)[0]
    assert best_gamma(answers[0.9], cheap)[0] > best_gamma(answers[0.9], dear)[0]


def test_independent_agreement_gives_the_textbook_speedup() -> None:
    draw, gamma = Random(5), 4
    answers = [[draw.random() < 0.7 for _ in range(2000)] for _ in range(20)]
    found = speedup_at(gamma, answers, costs(0.2, 1.3))
    assert found == pytest.approx(expected_tokens(0.7, gamma) / (gamma * 0.2 + 1.3), rel=0.01)


def test_an_answer_of_one_token_has_no_round() -> None:
    assert simulated_rounds([True], 4) == []
    assert speedup_at(4, [[True], []], costs(0.1)) is None


def test_a_round_log_of_another_length_is_no_trouble() -> None:
    assert predicted_speedup([RoundLog(1, 1, 1, 0.0, 0.0)], costs(0.5)) == pytest.approx(1 / 1.5)


def test_the_documents_table_is_what_the_formula_gives() -> None:
    lines = (ROOT / "docs" / "speculative.md").read_text(encoding="utf-8").splitlines()
    header = next(number for number, line in enumerate(lines) if line.startswith("| v | c = "))
    given_c = [float(cell.removeprefix(" c = ")) for cell in lines[header].split("|")[2:-1]]
    for line in lines[header + 2 : header + 6]:
        v, *cells = line.split("|")[1:-1]
        for c, cell in zip(given_c, cells, strict=True):
            found = least_break_even(costs(c, float(v)))
            assert found is not None
            assert cell.strip() == f"{found[1]:.2f} ({found[0]})"
