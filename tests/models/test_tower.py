"""The engines' vision tower beside the library's, and its kernels beside plain PyTorch."""

from __future__ import annotations

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from fixtures.engines.plain_operations import PlainTowerOperations
from fixtures.engines.tower import Tower
from fixtures.engines.weights import tower_weights
from tests.models.test_engines import needs_gpu


def clip_tower(width, heads, side, **place):
    """A CLIP tower of three layers, none of whose numbers is zero; and how the engines take it."""
    torch.manual_seed(0)
    sizes = {"hidden_size": width, "num_attention_heads": heads, "intermediate_size": 4 * width}
    model = CLIPVisionModel(CLIPVisionConfig(**sizes, num_hidden_layers=3, image_size=side, patch_size=14)).to(**place)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    tower = getattr(model, "vision_model", model)  # its name in transformers below 5.20
    return tower, tower_weights(tower, 3)


@pytest.mark.parametrize("side", [14, 56])
def test_a_tower_whose_patches_are_padded_is_the_librarys(side):
    tower, weights = clip_tower(72, 3, side)
    assert weights.patches.shape == (72, 592), "3 * 14 * 14 numbers, and zeros up to a multiple of eight"
    pixels = torch.randn(2, 3, side, side)
    with torch.inference_mode():
        mine = Tower(weights, PlainTowerOperations(weights))(pixels)
        theirs = tower(pixels, output_hidden_states=True).hidden_states[3]
    torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_what_the_residual_lacks_are_all_biases_so_far():
    tower, weights = clip_tower(72, 3, 14)
    lacks = torch.zeros(72)
    for layer, packed in zip(tower.encoder.layers, weights.layers, strict=True):
        for module, offset in zip((layer.self_attn.out_proj, layer.mlp.fc2), packed.offsets, strict=True):
            lacks = lacks + module.bias.data
            torch.testing.assert_close(offset, lacks)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("side", [14, 56, 112, 224])
@pytest.mark.parametrize(("width", "heads"), [(64, 4), (72, 3)])
def test_tower_kernels_at_the_edges_of_their_blocks(width, heads, side, dtype):
    from fixtures.engines.triton_operations import TritonTowerOperations

    _, weights = clip_tower(width, heads, side, device="cuda", dtype=dtype)
    pixels = torch.randn(3, 3, side, side, device="cuda", dtype=dtype)
    with torch.inference_mode():
        mine = Tower(weights, TritonTowerOperations(weights))(pixels).float()
        theirs = Tower(weights, PlainTowerOperations(weights))(pixels).float()
    assert (mine - theirs).norm() < 8 * torch.finfo(dtype).eps * theirs.norm()
