"""Every engine gives the library's own answers: on the CPU id by id, on a GPU up to what eager itself is off by."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fixtures.architectures import MODEL_KEYS
from fixtures.dataset import Dataset
from fixtures.embedded import EmbeddedSpec, ensure_embedded
from fixtures.engines.decoder import Decoder
from fixtures.engines.graphs import Graphs
from fixtures.engines.plain_operations import PlainDecoderOperations
from fixtures.engines.static_language import StaticLanguage
from fixtures.engines.weights import decoder_weights
from fixtures.errors import CheckpointError, ChoiceError
from fixtures.language import LanguageModel, decode, prefill
from fixtures.models import ModelSettings, pipeline_loaders
from fixtures.near_ties import PLACES, near_tie
from fixtures.sampling import Sampling
from fixtures.selection import FIXED_TOKENS
from fixtures.staged import layers_used
from tests.models.side_by_side import clip, make_lively

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: PyTorch finds no CUDA device here")
needs_compiler = pytest.mark.skipif(
    not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler on the CPU"
)


def trained(key, **settings):
    return pipeline_loaders(ModelSettings(**settings), [key])[key]()


@pytest.fixture(scope="module")
def samples():
    return Dataset.open(ensure_embedded(EmbeddedSpec.parse("8:640x480:1")), None, None).samples


@pytest.fixture(scope="module", params=MODEL_KEYS)
def pipeline(request):
    return trained(request.param)


@pytest.fixture
def lively(load_tiny):
    """A small model whose next ids depend on all that it holds."""
    pipeline = load_tiny("egpt")
    make_lively(pipeline.model)
    return pipeline


def seen(pipeline, seed=0):
    return pipeline.encode_vision(pipeline.preprocess(clip(pipeline.key, seed)))


def test_graph_answers_every_embedded_sample_as_eager_does(pipeline, samples):
    graph = pipeline.by("graph")
    for sample in samples:
        inputs = pipeline.preprocess(pipeline.load(sample))
        mine, theirs = graph.encode_vision(inputs), pipeline.encode_vision(inputs)
        torch.testing.assert_close(mine.embeddings, theirs.embeddings, atol=1e-4, rtol=1e-4)
        found = graph.decode(graph.prefill(mine), max_new_tokens=512)
        assert found == pipeline.decode(pipeline.prefill(theirs), max_new_tokens=512)
        assert found.stopped_by == "eos"


@pytest.mark.parametrize("length", [1, 2, 50])
def test_graph_writes_the_same_at_every_fixed_length(pipeline, length):
    assert_same_at(pipeline, length)


def test_graph_writes_the_same_over_512_tokens(lively):
    assert_same_at(lively, 512)


def assert_same_at(pipeline, length):
    graph, features = pipeline.by("graph"), seen(pipeline)
    found = graph.decode(graph.prefill(features), max_new_tokens=length, stop_at_eos=False)
    assert len(found.token_ids) == length
    assert found == pipeline.decode(pipeline.prefill(features), max_new_tokens=length, stop_at_eos=False)


@pytest.mark.parametrize("about", [0, 1, 5])
def test_an_end_id_ends_the_answer_wherever_it_comes(lively, about):
    free = lively.decode(lively.prefill(seen(lively)), max_new_tokens=12, stop_at_eos=False).token_ids
    places = [each for each in range(12) if free[each] not in free[:each]]
    place = min(places, key=lambda each: abs(each - about))
    ending = frozenset({free[place]})
    for language in (lively.language, lively.by("graph").language):
        language.end_ids = ending
    graph = lively.by("graph")
    found = graph.decode(graph.prefill(seen(lively)), max_new_tokens=12)
    assert (found.token_ids, found.stopped_by) == (free[: place + 1], "eos")
    assert found == lively.decode(lively.prefill(seen(lively)), max_new_tokens=12)


def test_a_prompt_of_the_greatest_length(load_tiny):
    of_one_letter = load_tiny("egpt", query="a")
    spare = 2048 - of_one_letter.prefill(seen(of_one_letter)).length
    pipeline = load_tiny("egpt", query="a" + " car" * spare)
    make_lively(pipeline.model)
    features, graph = seen(pipeline), pipeline.by("graph")
    prefilled = graph.prefill(features)
    assert prefilled.length == 2048
    assert graph.decode(prefilled, max_new_tokens=20, stop_at_eos=False) == pipeline.decode(
        pipeline.prefill(features), max_new_tokens=20, stop_at_eos=False
    )


def test_an_answer_longer_than_its_room_moves_to_a_larger_cache(load_tiny):
    pipeline = load_tiny("egpt", room=4)
    make_lively(pipeline.model)
    graph, features = pipeline.by("graph"), seen(pipeline)
    prefilled = graph.prefill(features)
    before = prefilled.cache.buffers.capacity
    found = graph.decode(prefilled, max_new_tokens=200, stop_at_eos=False)
    assert prefilled.cache.buffers.capacity > before
    assert found == pipeline.decode(pipeline.prefill(features), max_new_tokens=200, stop_at_eos=False)


def test_two_prompts_at_a_time_have_a_cache_each_and_one_after_the_other_the_same(lively):
    graph = lively.by("graph")
    first, second = graph.prefill(seen(lively, 1)), graph.prefill(seen(lively, 2))
    assert first.cache.buffers is not second.cache.buffers
    wanted = [lively.decode(lively.prefill(seen(lively, seed)), max_new_tokens=9) for seed in (1, 2)]
    assert [graph.decode(each, max_new_tokens=9) for each in (first, second)] == wanted
    given_back = {id(first.cache.buffers), id(second.cache.buffers)}
    del first, second
    assert id(graph.prefill(seen(lively, 3)).cache.buffers) in given_back


def test_a_prompt_is_decoded_once(lively):
    graph = lively.by("graph")
    prefilled = graph.prefill(seen(lively))
    graph.decode(prefilled, max_new_tokens=3, stop_at_eos=False)
    with pytest.raises(ValueError, match="decoded already"):
        graph.decode(prefilled, max_new_tokens=3)


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.8, top_p=0.9), Sampling(repetition_penalty=1.3)])
def test_drawn_and_penalised_ids_are_the_same(lively, sampling):
    lively.settings = replace(lively.settings, sampling=sampling)
    graph, features = lively.by("graph"), seen(lively)
    found = graph.decode(graph.prefill(features), max_new_tokens=30, stop_at_eos=False)
    greedy = replace(lively.settings, sampling=Sampling())
    assert found == lively.decode(lively.prefill(features), max_new_tokens=30, stop_at_eos=False)
    lively.settings = greedy
    assert found != lively.decode(lively.prefill(features), max_new_tokens=30, stop_at_eos=False)


def test_several_rows_and_rolling_back_give_what_one_by_one_gives(lively):
    eager, graph = lively.language, lively.by("graph").language
    embeddings = lively.prompt_embeddings(seen(lively))
    ids = torch.tensor([[5, 9, 17, 33]])
    cache, _ = graph.read_prompt(embeddings)
    length = cache.get_seq_length()
    together = graph.score(graph.embed(ids), cache, 4)
    cache.crop(-3)
    assert cache.get_seq_length() == length + 1
    again = torch.cat([graph.advance(graph.embed(ids[:, place : place + 1]), cache) for place in (1, 2, 3)])
    torch.testing.assert_close(again, together[1:], atol=1e-4, rtol=1e-4)
    theirs, _ = eager.read_prompt(embeddings)
    torch.testing.assert_close(together, eager.score(eager.embed(ids), theirs, 4), atol=2e-4, rtol=2e-4)


def test_packing_leaves_the_library_its_numbers_and_takes_no_memory(load_tiny):
    pipeline = load_tiny("videollava")
    features, before = seen(pipeline), {name: value.clone() for name, value in pipeline.model.state_dict().items()}
    logits = pipeline.prefill(features).logits
    pipeline.by("graph"), pipeline.by("compile")
    after = pipeline.model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert torch.equal(pipeline.prefill(features).logits, logits)
    layer = pipeline.model.model.language_model.layers[0].self_attn
    assert layer.q_proj.weight.untyped_storage().data_ptr() == layer.v_proj.weight.untyped_storage().data_ptr()
    packed = pipeline.by("graph").language._decoder.weights.layers[0].qkv
    assert packed is pipeline.by("compile").language._decoder.weights.layers[0].qkv


def llama(**changes):
    torch.manual_seed(0)
    shape = {"hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6}
    config = LlamaConfig(**shape, vocab_size=101, max_position_embeddings=512, **changes)
    model = LlamaForCausalLM(config).eval()
    make_lively(model)
    return LanguageModel(model.model, model.lm_head, frozenset())


@pytest.mark.parametrize(
    "changes",
    [
        {"num_key_value_heads": 2},
        {"num_key_value_heads": 1, "head_dim": 10},
        {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
        {"tie_word_embeddings": True},
    ],
)
def test_other_llamas(changes):
    library = llama(**changes)
    weights = decoder_weights(library.body, library.head)
    static = StaticLanguage(library, Decoder(weights, PlainDecoderOperations(weights)), 64, Graphs())
    prompt = library.embed(torch.arange(70)[None])
    found, wanted = (
        decode(each, prefill(each, prompt), Sampling(), max_new_tokens=40, stop_at_eos=False)
        for each in (static, library)
    )
    assert found == wanted


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"attention_bias": True}, "attention_bias True"),
        ({"mlp_bias": True}, "mlp_bias True"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}, "rope_type 'dynamic'"),
    ],
)
def test_a_decoder_that_is_another_network_is_refused(changes, named):
    library = llama(**changes)
    with pytest.raises(ChoiceError, match=f"{named}.*--engine eager"):
        decoder_weights(library.body, library.head)


def test_a_tower_of_another_kind_is_refused(load_tiny):
    pipeline = load_tiny("llava")
    tower = pipeline.model.model.vision_tower
    assert layers_used(tower, -2) == len(tower.encoder.layers) - 1
    with pytest.raises(CheckpointError, match="vision_feature_layer"):
        layers_used(tower, [-2, -1])
    tower.config.hidden_act = "gelu"
    with pytest.raises(ChoiceError, match=r"vision_config.hidden_act 'gelu'"):
        pipeline.by("graph")


def test_engine_facts_say_what_runs(lively):
    assert lively.engine_facts() is None
    facts = lively.by("graph").engine_facts()
    assert (facts.kernels, facts.cache_class, facts.captures) == ("PyTorch", "StaticCache", 0)


@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, from what it imports to compile
def test_compile_writes_the_same_on_the_cpu(load_tiny):
    pipeline = load_tiny("egpt")
    make_lively(pipeline.model)
    compiled, features = pipeline.by("compile"), seen(pipeline)
    mine = compiled.encode_vision(features.inputs)
    torch.testing.assert_close(mine.embeddings, features.embeddings, atol=1e-4, rtol=1e-4)
    found = compiled.decode(compiled.prefill(features), max_new_tokens=20, stop_at_eos=False)
    assert found == pipeline.decode(pipeline.prefill(features), max_new_tokens=20, stop_at_eos=False)
    before = compiled.engine_facts().compiled_graphs
    compiled.decode(compiled.prefill(seen(pipeline, 1)), max_new_tokens=30, stop_at_eos=False)
    assert compiled.engine_facts().compiled_graphs == before > 0, "another sample is compiled anew"


def assert_same_up_to_rounding(pipeline, other, features, length):
    """Equal ids; where they part, both engines' logits for the same text lie as near as rounding lets them."""
    found, wanted = (
        each.decode(each.prefill(features), max_new_tokens=length, stop_at_eos=False).token_ids
        for each in (other, pipeline)
    )
    assert len(found) == len(wanted) == length
    parted = [step for step, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b]
    if parted:
        mine, theirs = (after(each, features, wanted[: parted[0]]) for each in (other, pipeline))
        unit = near_tie(theirs.max()) / PLACES
        off = (mine.float() - theirs.float()).square().mean().sqrt().item()
        assert off <= PLACES * unit, f"step {parted[0]}: logits are {off / unit:.1f} last places apart"


def after(pipeline, features, ids):
    prefilled = pipeline.prefill(features)
    if not ids:
        return prefilled.logits[0]
    given = torch.tensor([ids], device=prefilled.logits.device)
    return pipeline.language.score(pipeline.language.embed(given), prefilled.cache, 1)[0]


@needs_gpu
@pytest.mark.parametrize(
    ("key", "engine", "dtype"),
    [
        *((key, "graph", dtype) for key in MODEL_KEYS for dtype in ("float32", "float16", "bfloat16")),
        ("videollava", "compile", "float16"),
    ],
)
def test_trained_models_on_a_gpu(key, engine, dtype, samples):
    pipeline = trained(key, device="cuda", dtype=dtype)
    other = pipeline.by(engine)
    for number, sample in enumerate(samples):
        features = pipeline.encode_vision(pipeline.preprocess(pipeline.load(sample)))
        mine = other.encode_vision(features.inputs).embeddings.float()
        off = (mine - features.embeddings.float()).norm() / features.embeddings.float().norm()
        assert off < 8 * torch.finfo(features.embeddings.dtype).eps
        for length in (1, 2, 50, 512) if number == 0 else (50,):
            assert_same_up_to_rounding(pipeline, other, features, length)
        answer = other.decode(other.prefill(features), max_new_tokens=512)
        free = other.decode(other.prefill(features), max_new_tokens=512, stop_at_eos=False)
        assert answer.stopped_by == "eos"
        assert answer.token_ids == free.token_ids[: len(answer.token_ids)]
    facts = other.engine_facts()
    assert facts.captures >= 3
    assert facts.uncaptured == 0


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_the_second_gpu_answers_as_the_first_one_does():
    answers = []
    for device in ("cuda:0", "cuda:1"):
        graph = trained("egpt", device=device, dtype="float32").by("graph")
        answers.append(graph.decode(graph.prefill(seen(graph)), max_new_tokens=50))
    assert answers[0] == answers[1]


@needs_gpu
def test_graphs_of_caches_that_are_gone_take_nothing_with_them(load_tiny):
    pipeline = load_tiny("egpt", device="cuda", room=4)
    graph, features = pipeline.by("graph"), seen(pipeline)
    for length in (3, 100, 300):
        found = graph.decode(graph.prefill(features), max_new_tokens=length, stop_at_eos=False)
        assert len(found.token_ids) == length
    assert len({graph.decode(graph.prefill(features), max_new_tokens=3).token_ids for _ in range(3)}) == 1


@needs_gpu
@pytest.mark.parametrize("key", MODEL_KEYS)
def test_full_models_on_a_gpu(key):
    pipeline = trained(key, model_set="full", device="cuda")
    graph, features = pipeline.by("graph"), seen(pipeline)
    assert_same_up_to_rounding(pipeline, graph, features, FIXED_TOKENS[key])
    before = graph.engine_facts().captures
    graph.decode(graph.prefill(seen(pipeline, 1)), max_new_tokens=9, stop_at_eos=False)
    assert graph.engine_facts().captures == before, "another sample of the same shape is captured anew"


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("prompt", [1, 62, 64, 300])
@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 2}, {"num_key_value_heads": 3, "head_dim": 24}])
def test_kernels_at_the_edges_of_their_blocks(changes, prompt, dtype):
    from fixtures.engines.triton_operations import TritonDecoderOperations

    library = llama(**changes)
    body, head = library.body.to("cuda", dtype), library.head.to("cuda", dtype)
    library = LanguageModel(body, head, frozenset())
    weights = decoder_weights(body, head)
    graphs = Graphs()
    static = StaticLanguage(library, Decoder(weights, TritonDecoderOperations(weights)), 64, graphs)
    ids = torch.randint(101, (1, prompt), device="cuda", generator=torch.Generator("cuda").manual_seed(prompt))
    (cache, mine), (theirs_cache, theirs) = (each.read_prompt(each.embed(ids)) for each in (static, library))
    for step in range(6):
        off = (mine.float() - theirs.float()).abs().max()
        assert off < 40 * torch.finfo(dtype).eps * theirs.float().abs().max(), f"step {step}"
        token = theirs.argmax(-1)[None]
        mine, theirs = static.advance(static.embed(token), cache), library.advance(library.embed(token), theirs_cache)
    assert graphs.log.captures == 2
