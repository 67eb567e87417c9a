"""A draft and a target on samples of their own kind: what would be accepted, and what its pictures bring."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fixtures import matched_context
from fixtures.drafting import ModelDraft
from fixtures.errors import ChoiceError
from fixtures.kv_cache import cache_length
from fixtures.language import decode
from fixtures.matched_context import MatchedContext
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.sampling import Sampling
from fixtures.scripted_draft import ScriptedDraft
from fixtures.speculative import plain_logits
from fixtures.speculative_pair import SpeculativePair, seen, template
from harness.records import RunRecord
from harness.speculation import speculation_figures
from harness.speculation_records import AgreementRecord
from tests.harness.made_runs import header
from tests.speculative.conftest import write_samples

SAMPLES = 8


@pytest.fixture(scope="module")
def pair():
    torch.set_num_threads(1)
    loaders = pipeline_loaders(ModelSettings(), ["egpt", "videollava"])
    return SpeculativePair(loaders["egpt"](), loaders["videollava"](), gamma=3, max_new_tokens=160, stop_at_eos=True)


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    return write_samples(tmp_path_factory.mktemp("held_out"), range(100, 100 + SAMPLES))


def no_time():
    return 0.0


def test_the_trained_draft_is_right_now_and_then_and_its_pictures_are_why(pair, held_out):
    answers = [pair.alone(sample, no_time)[0].token_ids for sample in held_out]
    agreements = tuple(
        AgreementRecord("t", sample.id, "videollava", "eager", {kind: tuple(each) for kind, each in agrees.items()})
        for sample, agrees in zip(held_out, pair.agreements(held_out, answers), strict=True)
    )
    (found,) = speculation_figures(RunRecord(header(), agreements=agreements))
    assert found.acceptance["self"].value == 1
    assert 0 < found.acceptance["template"].value < found.acceptance["own"].value < 1
    assert found.lift is not None
    assert found.lift.low is not None
    assert found.lift.low > 0


def test_the_first_token_is_there_before_the_draft_has_looked(pair, held_out, monkeypatch):
    order = []

    def noted(role):
        model = getattr(pair, role)
        prefill = model.prefill

        def prefill_and_note(features):
            order.append(role)
            return prefill(features)

        monkeypatch.setattr(model, "prefill", prefill_and_note)

    noted("draft")
    noted("target")
    ticks = iter(range(10_000))
    found = pair.together(held_out[0], lambda: next(ticks))
    assert order == ["target", "draft"]
    assert found.first_s == 1


def test_an_answer_that_parts_is_audited_by_the_steps_of_plain_decoding(pair, held_out):
    alone = pair.alone(held_out[0], no_time)[0].token_ids
    wrong = (*alone[:5], alone[5] + 1, *alone[6:])
    assert pair.parting(held_out[0], alone, alone) is None
    found = pair.parting(held_out[0], alone, wrong)
    prefilled = pair.target.prefill(seen(pair.target, held_out[0]))
    likeliest = plain_logits(pair.target.language, prefilled, alone[:5]).topk(2)
    assert (found.place, likeliest.indices[0]) == (5, alone[5])
    assert found.margin == pytest.approx((likeliest.values[0] - likeliest.values[1]).item())
    assert not found.is_near_tie


def test_pieces_of_the_work_leave_the_place_as_it_was(pair, held_out):
    answer = pair.alone(held_out[0], no_time)[0].token_ids
    context = pair.matched(held_out[0], answer)
    cache, held = context._prefilled.cache, context.target_context - 1
    assert held == context._prefilled.length + len(answer) // 2 - 1
    for work, added in ((lambda: context.steps(3), 3), (lambda: context.verify(7), 7), (context.draft_step, 0)):
        assert cache_length(cache) == held
        work()
        assert cache_length(cache) == held + added
        context.restore()
    assert context.draft_context < context.target_context
    assert context.dtype == "float32"


def test_steps_go_on_with_the_very_answer(pair, held_out, monkeypatch):
    answer = pair.alone(held_out[0], no_time)[0].token_ids
    written = []
    monkeypatch.setattr(
        matched_context, "decode", lambda *given, **more: written.append(decode(*given, **more).token_ids)
    )
    context = pair.matched(held_out[0], answer)
    for _ in range(2):
        context.steps(4)
        context.restore()
        context.verify(3)
        context.restore()
    half = len(answer) // 2
    assert written == [answer[half - 1 : half + 4]] * 2


def test_a_draft_is_timed_after_all_that_is_written_and_proposes_one_token_a_step(pair, held_out):
    asked = []

    class Asked:
        def propose(self, written, count):
            asked.append((len(written), count))
            return [0]

    answer = pair.alone(held_out[0], no_time)[0].token_ids
    prefilled = pair.target.prefill(seen(pair.target, held_out[0]))
    context = MatchedContext(pair.target.language, prefilled, Asked(), answer[:9], draft_prompt=4)
    context.draft_step()
    assert asked == [(9, 1)] * 2
    assert context.draft_context == 13


def test_first_layers_are_the_models_own_in_no_memory_of_their_own(pair):
    model = pair.target.language
    small = model.first_layers(1)
    assert len(small.body.layers) == 1 < len(model.body.layers)
    assert small.body.layers[0] is model.body.layers[0]
    assert model.body.config.num_hidden_layers == len(model.body.layers)
    assert len(small.new_cache().layers) == 1


@pytest.mark.parametrize("layers", [0, 99])
def test_a_decoder_of_layers_that_are_not_there_is_refused(pair, layers):
    with pytest.raises(ChoiceError, match=f"{layers} layers were asked for"):
        pair.target.language.first_layers(layers)


def test_an_acceptance_that_is_no_share_is_refused():
    with pytest.raises(ChoiceError, match=r"acceptance is 1\.5"):
        ScriptedDraft(None, None, (), acceptance=1.5, seed=0)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.5), Sampling(repetition_penalty=1.1)])
def test_a_model_that_is_not_greedy_is_refused(pair, sampling, monkeypatch):
    monkeypatch.setattr(pair.target, "settings", replace(pair.target.settings, sampling=sampling))
    with pytest.raises(ChoiceError, match="checked against greedy decoding, but videollava"):
        SpeculativePair(pair.draft, pair.target, gamma=3, max_new_tokens=9, stop_at_eos=True)


def test_a_template_is_what_most_other_answers_have_in_a_place():
    assert template([(1, 2, 3), (1, 3), (4, 3)], 4) == (1, 3, 3, -1)


def test_a_draft_proposes_no_more_than_the_end(pair, held_out):
    prefilled = pair.target.prefill(seen(pair.target, held_out[0]))
    answer = pair.alone(held_out[0], no_time)[0].token_ids
    draft = ModelDraft(pair.target.language, prefilled, pair.shared)
    assert draft.propose(answer[:-3], 8) == list(answer[-3:])
