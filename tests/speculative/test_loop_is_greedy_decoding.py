"""Whatever the draft proposes, the answer is the target's own; and the log says how it came about."""

from __future__ import annotations

from functools import cache

import pytest

from fixtures import drafting, speculative
from fixtures.errors import ChoiceError
from fixtures.language import decode
from fixtures.sampling import Sampling
from fixtures.speculative import speculate
from fixtures.teacher_forced import draft_ids
from tests.speculative.conftest import SCENES

DRAFTS = [("egpt", "real"), ("egpt", "noisy"), ("videollava", "real"), ("videollava", "noisy")]
TARGET = "videollava"


SHORT = 32  # enough for every kind of roll-back, in a third of the time of a whole caption


@cache
def plain(pairs, key, place, *, max_new_tokens=160, stop_at_eos=True):
    language, prefilled = pairs.pipelines[key].language, pairs.prefilled(key, place)
    return decode(language, prefilled, Sampling(), max_new_tokens=max_new_tokens, stop_at_eos=stop_at_eos)


def spoken(pairs, place, draft, *, gamma, target=TARGET, max_new_tokens=160, stop_at_eos=True):
    return speculate(
        pairs.pipelines[target].language,
        pairs.prefilled(target, place),
        draft,
        gamma=gamma,
        max_new_tokens=max_new_tokens,
        stop_at_eos=stop_at_eos,
    )


@pytest.mark.parametrize("gamma", range(1, 9))
@pytest.mark.parametrize(("key", "kind"), DRAFTS)
def test_answers_are_the_targets_own_to_the_last_id(pairs, key, kind, gamma):
    place = gamma % SCENES
    draft = pairs.draft(key, TARGET, place, kind, seed=gamma)
    found = spoken(pairs, place, draft, gamma=gamma, max_new_tokens=SHORT)
    assert found.generation == plain(pairs, TARGET, place, max_new_tokens=SHORT)


@pytest.mark.parametrize("gamma", [2, 7])
def test_answers_end_where_the_target_ends_them(pairs, gamma):
    found = spoken(pairs, 0, pairs.draft("egpt", TARGET, 0), gamma=gamma)
    assert found.generation == plain(pairs, TARGET, 0)
    assert found.generation.stopped_by == "eos"


@pytest.mark.parametrize("length", [1, 2, 7])
def test_a_fixed_length_is_met_exactly(pairs, length):
    found = spoken(pairs, 0, pairs.draft("egpt", TARGET, 0), gamma=5, max_new_tokens=length, stop_at_eos=False)
    assert found.generation == plain(pairs, TARGET, 0, max_new_tokens=length, stop_at_eos=False)


def test_llava_is_verified_as_well(pairs):
    found = spoken(pairs, 1, pairs.draft("egpt", "llava", 1), gamma=4, target="llava")
    assert found.generation == plain(pairs, "llava", 1)


def test_a_target_that_drafts_for_itself_is_always_right(pairs):
    found = spoken(pairs, 0, pairs.draft(TARGET, TARGET, 0), gamma=5, max_new_tokens=SHORT)
    assert all(each.accepted == each.drafted for each in found.rounds)
    assert [each.drafted for each in found.rounds[:-1]] == [5] * (len(found.rounds) - 1)


@pytest.mark.parametrize("gamma", [1, 3, 8])
@pytest.mark.parametrize("key", ["egpt", "llava"])
def test_one_forward_pass_over_the_targets_answer_foretells_every_round(pairs, key, gamma):
    found = spoken(pairs, 2, pairs.draft(key, TARGET, 2), gamma=gamma, max_new_tokens=2 * SHORT)
    ids = found.generation.token_ids
    said = draft_ids(pairs.pipelines[key], pairs.features[key, 2], ids, pairs.shared(key, TARGET))
    written = 1
    for each in found.rounds:
        foretold = 0
        while foretold < each.drafted and said[written + foretold] == ids[written + foretold]:
            foretold += 1
        assert each.accepted == foretold
        written += each.emitted
    assert written == len(ids)


def test_a_round_log_adds_up(pairs):
    found = spoken(pairs, 0, pairs.draft("egpt", TARGET, 0, "noisy"), gamma=3)
    assert 1 + sum(each.emitted for each in found.rounds) == len(found.generation.token_ids)
    assert all(0 <= each.accepted <= each.drafted <= 3 for each in found.rounds)
    assert all(each.truncated == 0 for each in found.rounds[:-1])


def test_the_clock_is_read_around_drafting_and_verifying(pairs):
    ticks = iter(range(10_000))
    found = speculate(
        pairs.pipelines[TARGET].language,
        pairs.prefilled(TARGET, 0),
        pairs.draft("egpt", TARGET, 0),
        gamma=3,
        max_new_tokens=20,
        clock=lambda: next(ticks),
    )
    assert {(each.draft_s, each.verify_s) for each in found.rounds} == {(1, 1)}


@pytest.mark.parametrize("place", [drafting, speculative], ids=["the draft", "the target"])
def test_a_cache_that_is_not_rolled_back_is_noticed(pairs, place, monkeypatch):
    monkeypatch.setattr(place, "shorten", lambda cache, positions: None)
    with pytest.raises(AssertionError, match="cache holds"):
        spoken(pairs, 0, pairs.draft("egpt", TARGET, 0, "noisy"), gamma=4)


def test_a_gamma_below_one_is_refused(pairs):
    with pytest.raises(ChoiceError, match="gamma is 0"):
        spoken(pairs, 0, pairs.draft("egpt", TARGET, 0), gamma=0)
