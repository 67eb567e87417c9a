"""Checkpoint folders: complete ones load, all others give one error that says what is wrong and the way out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import fixtures.eventgpt  # noqa: F401  # registers EventChat_llama
from fixtures.architectures import MODEL_KEYS
from fixtures.errors import CheckpointError, ChoiceError
from fixtures.facts import weights_identity
from fixtures.pretrained import load_pretrained
from fixtures.tiny import shipped_checkpoint, write_tiny_checkpoint
from tests.models.literal_eventgpt import TOWER

ROOT = Path(__file__).parents[2]


def load(key, source):
    return load_pretrained(key, str(source), torch.device("cpu"), torch.float32, "sdpa")


@pytest.fixture(params=MODEL_KEYS)
def key(request):
    return request.param


@pytest.fixture
def copied(tiny_folders, tmp_path):
    """A copy of a small checkpoint, to be damaged."""

    def copy(key):
        return shutil.copytree(tiny_folders[key], tmp_path / key)

    return copy


def change_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def refusal(key, source):
    with pytest.raises(CheckpointError) as caught:
        load(key, source)
    return str(caught.value)


def test_small_checkpoint_has_at_most_2_4_million_parameters(key, tiny_folders):
    facts = load(key, tiny_folders[key])
    assert sum(p.numel() for p in facts.model.parameters()) <= 2_400_000


def test_small_checkpoints_share_their_tokenizer_id_by_id(tiny_folders):
    vocabularies = [AutoTokenizer.from_pretrained(folder).get_vocab() for folder in tiny_folders.values()]
    assert vocabularies[0] == vocabularies[1] == vocabularies[2]


def test_draft_and_target_write_the_same_words_for_the_same_ids(load_tiny):
    draft, target = load_tiny("egpt"), load_tiny("videollava")
    ids = list(range(len(target.tokenizer)))
    assert draft.tokenizer.decode(ids) == target.tokenizer.decode(ids)


@pytest.mark.parametrize("text", ["A red car is moving.", "Wait:\nwhat? 42%", "x"])
def test_tokenizer_gives_back_what_it_was_given(tiny_folders, text):
    tokenizer = AutoTokenizer.from_pretrained(tiny_folders["llava"])
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_the_same_seed_gives_the_same_weights(tmp_path):
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        write_tiny_checkpoint("egpt", tmp_path / name, seed)
    first, again, other = (weights_identity(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again != other


def test_missing_unexpected_and_wrongly_shaped_tensors_come_in_one_error(key, copied):
    folder = copied(key)
    names = list(load_file(folder / "model.safetensors"))
    norm = next(name for name in names if name.endswith("model.norm.weight"))
    head = next(name for name in names if name.endswith("lm_head.weight"))

    def damage(tensors):
        del tensors[norm]
        tensors["stranger"] = torch.zeros(2)
        tensors[head] = torch.zeros(3, 5)

    change_tensors(folder, damage)
    text = refusal(key, folder)
    assert str(folder) in text
    assert "1 missing: " in text
    assert "norm.weight" in text
    assert "1 not expected: stranger" in text
    assert "1 wrongly shaped: lm_head.weight (3, 5) instead of (340, 160)" in text


def test_one_missing_tensor_of_the_vision_tower_is_not_made_up(copied):
    folder = copied("egpt")
    change_tensors(folder, lambda tensors: tensors.pop(TOWER + "pre_layrnorm.bias"))
    assert "1 missing: model.visual_tower.visual_tower.vision_model.pre_layrnorm.bias" in refusal("egpt", folder)


def test_tower_tensors_under_the_library_s_own_names_are_not_taken_for_the_published_ones(copied):
    folder = copied("egpt")

    def rename(tensors):
        for name in [name for name in tensors if name.startswith(TOWER)]:
            tensors[name.replace("vision_model.", "")] = tensors.pop(name)

    change_tensors(folder, rename)
    assert "not expected: model.visual_tower.visual_tower.embeddings.class_embedding" in refusal("egpt", folder)


def test_a_tower_that_is_nowhere_is_named_with_the_place_where_to_put_it(copied):
    folder = copied("egpt")
    change_tensors(folder, lambda tensors: [tensors.pop(name) for name in list(tensors) if name.startswith(TOWER)])
    change_config(folder, mm_visual_tower="some-lab/a-tower")
    text = refusal("egpt", folder)
    assert "'some-lab/a-tower'" in text
    assert str(folder.parent / "a-tower") in text


def test_the_event_q_former_is_refused_by_its_key(copied):
    folder = copied("egpt")
    change_config(folder, use_event_qformer=True)
    assert "'use_event_qformer'" in refusal("egpt", folder)


def test_an_adaptor_that_the_config_does_not_mention_is_not_dropped_in_silence(copied):
    folder = copied("egpt")
    change_config(folder, event_feature_adaptor=False)
    assert "2 not expected: model.feature_adaptor.bias, model.feature_adaptor.weight" in refusal("egpt", folder)


def test_a_folder_without_config_says_what_belongs_there(key, tmp_path):
    text = refusal(key, tmp_path)
    assert f"{tmp_path}: has no config.json" in text
    assert "safetensors" in text


def test_a_checkpoint_of_another_model_is_refused_by_both_types(tiny_folders):
    text = refusal("egpt", tiny_folders["llava"])
    assert "'llava'" in text
    assert "'EventChat_llama'" in text


def test_a_hub_id_that_cannot_be_reached_says_so(key):
    text = refusal(key, "some-lab/some-model")
    assert "some-lab/some-model: is neither a checkpoint folder nor a hub id that can be reached" in text


LOAD_FROM_HUB = """
import torch
from fixtures.pretrained import load_pretrained
print(load_pretrained("egpt", "some-lab/small", torch.device("cpu"), torch.float32, "sdpa").weights)
"""


def test_a_hub_id_that_was_downloaded_loads_without_the_hub_and_has_the_same_identity(tiny_folders, tmp_path):
    downloaded = tmp_path / "hub" / "models--some-lab--small"
    shutil.copytree(tiny_folders["egpt"], downloaded / "snapshots" / "abc123")
    (downloaded / "refs").mkdir()
    (downloaded / "refs" / "main").write_text("abc123")
    # The library reads these variables once, when it is imported.
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", LOAD_FROM_HUB]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert printed.strip() == f"some-lab/small, revision abc123: {weights_identity(tiny_folders['egpt'])}"


def test_a_folder_that_does_not_exist_is_named(key, tmp_path):
    assert str(tmp_path / "nowhere") in refusal(key, tmp_path / "nowhere")


def test_eventgpt_has_to_be_named():
    with pytest.raises(CheckpointError, match="no checkpoint is named for 'egpt'"):
        load_pretrained("egpt", None, torch.device("cpu"), torch.float32, "sdpa")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_torn_file_is_an_error_of_the_checkpoint(key, copied, file):
    folder = copied(key)
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[: len(content) // 2])
    assert str(folder) in refusal(key, folder)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_a_missing_file_is_an_error_of_the_checkpoint(key, copied, file):
    folder = copied(key)
    (folder / file).unlink()
    assert str(folder) in refusal(key, folder)


def to_bin(folder, content):
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


def test_weights_of_an_old_bin_file_are_read(published, tmp_path):
    folder = shutil.copytree(published.folder, tmp_path / "eventgpt")
    shutil.copytree(published.folder.parent / "small-clip", tmp_path / "small-clip")
    to_bin(folder, dict(published.weights))
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(model.lm_head.weight, published.weights["lm_head.weight"])


class Hostile:
    """A pickle that would make a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_a_bin_file_is_data_and_not_a_program(copied, tmp_path):
    folder = copied("egpt")
    to_bin(folder, {"lm_head.weight": Hostile(tmp_path / "it-ran")})
    assert str(folder) in refusal("egpt", folder)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("tensor", ["lm_head.weight", "model.embed_tokens.weight", "model.visual_projector.2.weight"])
def test_identity_of_weights_changes_with_one_tensor(copied, tensor):
    folder = copied("egpt")
    before = weights_identity(folder)
    assert weights_identity(folder) == before

    def nudge(tensors):
        tensors[tensor] += 1e-3

    change_tensors(folder, nudge)
    assert weights_identity(folder) != before


def test_identity_of_weights_changes_with_a_name(copied):
    folder = copied("egpt")
    before = weights_identity(folder)
    change_tensors(folder, lambda tensors: tensors.__setitem__("model.norm.bias__", tensors.pop("model.norm.weight")))
    assert weights_identity(folder) != before


def test_facts_are_read_from_the_live_model(load_tiny):
    pipeline = load_tiny("egpt", dtype="bfloat16", attention="eager")
    facts = pipeline.facts()
    assert (facts.model_class, facts.dtype, facts.attention) == ("EventChatForCausalLM", "bfloat16", "eager")
    assert (facts.layers, facts.visual_tokens, facts.cache_class) == (4, 55, "DynamicCache")
    assert facts.parameter_bytes == 2 * facts.parameters
    assert facts.extra["vision_attention"] == "eager"


def test_facts_tell_one_configuration_from_another(load_tiny, copied):
    facts = [load_tiny(key).facts() for key in MODEL_KEYS]
    assert len({one.config_sha256 for one in facts}) == 3
    assert load_tiny("egpt").facts() == facts[0]


def test_unknown_small_model_is_refused():
    with pytest.raises(ChoiceError, match="choose among egpt, videollava, llava"):
        shipped_checkpoint("gpt")
