"""The decode loop: when it stops, what it chooses, and that it asks nothing of the model beyond that."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.generation import RepetitionPenaltyLogitsProcessor

from fixtures.errors import ChoiceError
from fixtures.language import LanguageModel, decode, language_model, prefill
from fixtures.next_token import TokenChooser
from fixtures.sampling import Sampling

GREEDY = Sampling()


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        initializer_range=0.4,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture
def model(llama):
    return LanguageModel(llama.model, llama.lm_head, frozenset({2}))


def write(model, ids, sampling=GREEDY, *, length=10, stop_at_eos=False):
    prompt = torch.tensor([ids])
    prefilled = prefill(model, model.embed(prompt), prompt)
    return decode(model, prefilled, sampling, max_new_tokens=length, stop_at_eos=stop_at_eos)


@settings(max_examples=15, deadline=None)
@given(ids=st.lists(st.integers(0, 49), min_size=1, max_size=12), length=st.integers(1, 8))
def test_greedy_text_is_that_of_generate(llama, ids, length):
    wanted = llama.generate(torch.tensor([ids]), max_new_tokens=length, do_sample=False, eos_token_id=None)
    found = write(LanguageModel(llama.model, llama.lm_head, frozenset()), ids, length=length)
    assert list(found.token_ids) == wanted[0, len(ids) :].tolist()


def test_prefill_gives_the_logits_of_the_last_position_and_fills_the_cache(model, llama):
    prompt = torch.tensor([[1, 7, 9, 11]])
    prefilled = prefill(model, model.embed(prompt))
    torch.testing.assert_close(prefilled.logits, llama(prompt).logits[:, -1].detach())
    assert prefilled.length == prefilled.cache.get_seq_length() == 4


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_last_token_is_not_run_through_the_model(model, length):
    prefilled = prefill(model, model.embed(torch.tensor([[1, 7]])))
    decode(model, prefilled, GREEDY, max_new_tokens=length, stop_at_eos=False)
    assert prefilled.cache.get_seq_length() == 2 + length - 1


def test_text_ends_with_its_end_id(model, llama):
    free = write(model, [1, 7, 9])
    ending = LanguageModel(llama.model, llama.lm_head, frozenset({2, free.token_ids[4]}))
    found = write(ending, [1, 7, 9], stop_at_eos=True)
    assert found.token_ids == free.token_ids[: free.token_ids.index(free.token_ids[4]) + 1]
    assert found.stopped_by == "eos"


def test_an_end_id_as_the_last_allowed_token_still_counts_as_the_end(model, llama):
    free = write(model, [1, 7, 9], length=1)
    ending = LanguageModel(llama.model, llama.lm_head, frozenset(free.token_ids))
    assert write(ending, [1, 7, 9], length=1, stop_at_eos=True).stopped_by == "eos"


def test_fixed_length_goes_on_after_an_end_id(model, llama):
    free = write(model, [1, 7, 9])
    ending = LanguageModel(llama.model, llama.lm_head, frozenset(free.token_ids))
    assert write(ending, [1, 7, 9], stop_at_eos=False) == free
    assert free.stopped_by == "length"


def test_a_prompt_that_was_decoded_already_is_refused(model):
    prefilled = prefill(model, model.embed(torch.tensor([[1, 7]])))
    decode(model, prefilled, GREEDY, max_new_tokens=3, stop_at_eos=False)
    with pytest.raises(ValueError, match="decoded already: its cache holds 4 positions, not 2"):
        decode(model, prefilled, GREEDY, max_new_tokens=3, stop_at_eos=False)


@pytest.mark.parametrize("length", [0, -1])
def test_fewer_than_one_token_is_refused(model, length):
    with pytest.raises(ChoiceError, match=f"max_new_tokens is {length}: give 1 or more"):
        write(model, [1], length=length)


@pytest.mark.parametrize(("configured", "wanted"), [(2, {2}), ([2, 5], {2, 5}), (None, set())])
def test_end_ids_are_one_or_a_list_or_none(llama, configured, wanted):
    generation_config = SimpleNamespace(eos_token_id=configured)
    assert language_model(llama.model, llama.lm_head, generation_config).end_ids == wanted


def test_drawing_is_repeatable_by_its_seed(model):
    one, again, other = (write(model, [1, 7], Sampling(temperature=2.0, seed=seed)) for seed in (4, 4, 5))
    assert one == again != other


def test_drawing_leaves_the_global_random_numbers_alone(model):
    torch.manual_seed(9)
    wanted = torch.rand(3)
    torch.manual_seed(9)
    write(model, [1, 7], Sampling(temperature=1.0))
    assert torch.equal(torch.rand(3), wanted)


# Quarters: far enough apart that no two become equal on the way through a softmax.
quarters = st.integers(-80, 80).map(lambda number: number / 4)
scores = st.lists(quarters, min_size=8, max_size=8, unique=True).map(lambda row: torch.tensor([row]))


@given(scores, st.integers(0, 99))
def test_a_tiny_top_p_is_greedy(logits, seed):
    chooser = TokenChooser(Sampling(temperature=1.0, top_p=1e-6, seed=seed), None, torch.device("cpu"))
    assert chooser(logits) == logits.argmax(-1, keepdim=True)


@given(scores, st.floats(0.05, 1), st.integers(0, 99))
def test_a_drawn_token_is_in_the_smallest_set_that_holds_top_p(logits, top_p, seed):
    token = TokenChooser(Sampling(1.0, top_p, seed=seed), None, torch.device("cpu"))(logits)
    probabilities = logits.softmax(-1)[0]
    likelier = probabilities[probabilities > probabilities[token[0]]]
    assert likelier.sum() < top_p + 1e-6


@given(scores, st.lists(st.integers(0, 7), max_size=9), st.sampled_from([0.5, 0.8, 1.2, 2.0, 3.0]))
def test_repetition_penalty_is_that_of_the_library(logits, seen, penalty):
    prompt = torch.tensor([seen], dtype=torch.long)
    wanted = RepetitionPenaltyLogitsProcessor(penalty)(prompt, logits.clone())
    found = TokenChooser(Sampling(repetition_penalty=penalty), prompt, torch.device("cpu"))(logits)
    assert wanted[0, found[0]] == wanted.max()


@pytest.mark.parametrize(
    ("logits", "wanted"), [([2.0, 1.5, -9.0], 1), ([-2.0, -3.0, -9.0], 1), ([-2.0, -5.0, -9.0], 0)]
)
def test_repetition_penalty_makes_a_seen_token_less_likely_whatever_its_sign(logits, wanted):
    chooser = TokenChooser(Sampling(repetition_penalty=2.0), torch.tensor([[0]]), torch.device("cpu"))
    assert chooser(torch.tensor([logits])) == wanted


def test_draws_follow_the_temperature():
    logits = torch.tensor([[0.0, 1.0]])
    chooser = TokenChooser(Sampling(temperature=0.5), None, torch.device("cpu"))
    share = sum(int(chooser(logits)) for _ in range(2000)) / 2000
    assert share == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item(), abs=0.03)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"temperature": -0.1}, "temperature -0.1 is out of range"),
        ({"top_p": 0.0}, "top_p 0.0 is out of range"),
        ({"top_p": 1.1}, "top_p 1.1 is out of range"),
        ({"repetition_penalty": 0.0}, "repetition penalty 0.0 is out of range"),
    ],
)
def test_values_that_mean_nothing_are_refused(values, text):
    with pytest.raises(ChoiceError, match=text):
        Sampling(**values)
