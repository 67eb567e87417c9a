"""Which ids a draft may propose, and which pairs of models are refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from fixtures.drafting import barred_ids
from fixtures.errors import CheckpointError
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.shared_vocabulary import shared_ids

WORDS = {"<s>": 0, "the": 1, "road": 2, "car": 3}


class Tokenizer:
    def __init__(self, vocabulary, cut=lambda text: [1]):
        self.vocabulary = vocabulary
        self.cut = cut

    def get_vocab(self):
        return dict(self.vocabulary)

    def __call__(self, text):
        return SimpleNamespace(input_ids=self.cut(text))


def model(key, vocabulary, outputs=None, **more):
    head = SimpleNamespace(weight=torch.zeros(outputs or len(vocabulary), 2))
    return SimpleNamespace(key=key, tokenizer=Tokenizer(vocabulary, **more), language=SimpleNamespace(head=head))


def test_marks_that_only_one_of_them_has_are_left_out():
    draft, target = model("egpt", WORDS | {"<event>": 4}), model("llava", WORDS | {"<image>": 4, "<pad>": 5})
    assert shared_ids(draft, target) == {0, 1, 2, 3}


def test_ids_that_one_of_them_cannot_write_are_left_out():
    assert shared_ids(model("egpt", WORDS), model("llava", WORDS, outputs=3)) == {0, 1, 2}


def test_one_text_under_two_ids_is_refused():
    with pytest.raises(CheckpointError, match=r"the token 'car' under the ids 3 and 7"):
        shared_ids(model("egpt", WORDS), model("llava", WORDS | {"car": 7}))


def test_texts_that_are_cut_differently_are_refused():
    with pytest.raises(CheckpointError, match=r"egpt and llava cut .* into different ids"):
        shared_ids(model("egpt", WORDS), model("llava", WORDS, cut=lambda text: [1, 2]))


def test_the_shipped_draft_shares_all_but_its_marks_with_the_targets():
    loaded = {key: load() for key, load in pipeline_loaders(ModelSettings(), ["egpt", "videollava"]).items()}
    shared = shared_ids(loaded["egpt"], loaded["videollava"])
    texts = {index: text for text, index in loaded["egpt"].tokenizer.get_vocab().items()}
    assert len(shared) > 300
    assert not [texts[index] for index in shared if texts[index].startswith("<ev")]
    assert loaded["egpt"].tokenizer.eos_token_id in shared


def test_what_is_not_shared_is_barred():
    barred = barred_ids(torch.zeros(1, 5), frozenset({1, 4}))
    assert barred.tolist() == [[True, False, True, True, False]]
