"""Whatever the draft proposes, the answer is the target's own; and the log says how it came about."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from fixtures import drafting, speculative
from fixtures.drafting import ModelDraft
from fixtures.errors import ChoiceError
from fixtures.kv_cache import roll_back
from fixtures.language import decode, prefill
from fixtures.sampling import Sampling
from fixtures.scripted_draft import ScriptedDraft
from fixtures.speculative import speculate
from fixtures.teacher_forced import draft_ids
from tests.speculative.conftest import SCENES

DRAFTS = [("egpt", "real"), ("egpt", "noisy"), ("videollava", "real"), ("videollava", "noisy")]
TARGET = "videollava"


class Script:
    """Proposes what it was told, whatever was written."""

    def __init__(self, ids):
        self.ids = ids

    def propose(self, written, count):
        return list(self.ids[len(written) : len(written) + count])


class Watched:
    """Notes what a draft proposes."""

    def __init__(self, draft):
        self.draft = draft
        self.proposed = set()

    def propose(self, written, count):
        proposed = self.draft.propose(written, count)
        self.proposed.update(proposed)
        return proposed


SHORT = 24  # enough for every kind of roll-back, in a quarter of the time of a whole caption


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


FAULTS = {
    "nothing": lambda _cache, _positions: None,
    "one too few": lambda cache, positions: roll_back(cache, max(0, positions - 1)),
    "one too many": lambda cache, positions: roll_back(cache, positions + 1),
}


# A draft feeds itself all but the last of its proposals: of a single one it has nothing to take back.
ROLLED_BACK = [(drafting, gamma) for gamma in range(2, 9)] + [(speculative, gamma) for gamma in range(1, 9)]


@pytest.mark.parametrize("pairs", [torch.float32], ids=["float32"], indirect=True)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("place", "gamma"), ROLLED_BACK, ids=lambda each: str(getattr(each, "__name__", each)))
def test_a_cache_that_is_not_rolled_back_to_the_place_is_noticed_every_time(pairs, place, gamma, fault, monkeypatch):
    monkeypatch.setattr(place, "roll_back", FAULTS[fault])
    # Wrong at every place: there is something to take back in each round but the last.
    draft = pairs.draft("egpt", TARGET, 0, "noisy", share=1.0)
    with pytest.raises(AssertionError, match="cache holds"):
        spoken(pairs, 0, draft, gamma=gamma, max_new_tokens=SHORT)


@pytest.mark.parametrize("gamma", range(1, 9))
def test_an_end_inside_a_block_cuts_off_what_was_verified_behind_it(pairs, gamma):
    ends = plain(pairs, TARGET, 0)
    length = len(ends.token_ids)
    beyond = plain(pairs, TARGET, 0, max_new_tokens=length + 8, stop_at_eos=False).token_ids
    assert beyond[:length] == ends.token_ids
    found = spoken(pairs, 0, Script(beyond), gamma=gamma)
    assert found.generation == ends
    left = (length - 1) % (gamma + 1)  # of the last round, whose other tokens lie behind the end
    assert found.rounds[-1].truncated == (gamma + 1 - left if left else 0)
    assert found.rounds[-1].drafted == found.rounds[-1].accepted == gamma


def test_ids_that_the_target_lacks_are_never_proposed_and_change_no_answer(pairs):
    plainly = plain(pairs, TARGET, 0, max_new_tokens=SHORT)
    shared = pairs.shared("egpt", TARGET) - set(plainly.token_ids[1::2])
    draft = Watched(ModelDraft(pairs.pipelines["egpt"].language, pairs.prefilled("egpt", 0), shared))
    found = spoken(pairs, 0, draft, gamma=4, max_new_tokens=SHORT)
    assert found.generation == plainly
    assert draft.proposed
    assert draft.proposed <= shared


@pytest.mark.parametrize("gamma", [1, 3, 8])
def test_a_scripted_draft_is_wrong_just_where_it_was_drawn_to_be(pairs, gamma):
    plainly = plain(pairs, TARGET, 1, max_new_tokens=2 * SHORT, stop_at_eos=False)
    small = pairs.pipelines[TARGET].language.first_layers(1)
    prompt = pairs.pipelines[TARGET].prompt_embeddings(pairs.features[TARGET, 1])
    draft = ScriptedDraft(small, prefill(small, prompt), plainly.token_ids, acceptance=0.7, seed=gamma)
    found = spoken(pairs, 1, draft, gamma=gamma, max_new_tokens=2 * SHORT, stop_at_eos=False)
    assert found.generation == plainly
    written = 1
    for each in found.rounds:
        foretold = [*draft.agrees[written : written + each.drafted], False].index(False)
        assert each.accepted == foretold
        written += each.emitted
    assert 0.4 < sum(draft.agrees) / len(draft.agrees) < 0.95


@pytest.mark.parametrize(("acceptance", "conditional"), [(0.0, 0.0), (1.0, 1.0)])
def test_a_scripted_draft_reaches_both_ends_of_acceptance(pairs, acceptance, conditional):
    plainly = plain(pairs, TARGET, 1, max_new_tokens=SHORT, stop_at_eos=False)
    language = pairs.pipelines[TARGET].language
    draft = ScriptedDraft(language, pairs.prefilled(TARGET, 1), plainly.token_ids, acceptance=acceptance, seed=1)
    found = spoken(pairs, 1, draft, gamma=4, max_new_tokens=SHORT, stop_at_eos=False)
    assert found.generation == plainly
    assert {each.accepted / each.drafted for each in found.rounds if each.drafted} == {conditional}


def test_a_gamma_below_one_is_refused(pairs):
    with pytest.raises(ChoiceError, match="gamma is 0"):
        spoken(pairs, 0, pairs.draft("egpt", TARGET, 0), gamma=0)
