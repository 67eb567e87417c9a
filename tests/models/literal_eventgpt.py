"""The published EventGPT steps once more, in plain torch: a dictionary of published names, one image at a time.

Knows nothing of the package under test nor of the transformers library: CLIP's tower, projector, adaptor, pooling and
the Llama decoder are written out here as they are described, to be compared with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, gelu, layer_norm, linear, silu, softmax

TOWER = "model.visual_tower.visual_tower.vision_model."
Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """Sizes of a model that is small enough for a test."""

    vocabulary: int = 90
    width: int = 32
    mlp: int = 40
    layers: int = 2
    heads: int = 4
    vision_width: int = 24
    vision_mlp: int = 36
    vision_layers: int = 2
    vision_heads: int = 3
    side: int = 32
    patch: int = 16

    @property
    def tokens(self) -> int:
        return (self.side // self.patch) ** 2 + 1


def tower_tensors(shape: Shape, prefix: str) -> dict[str, tuple[int, ...]]:
    width, mlp = shape.vision_width, shape.vision_mlp
    named = {
        "embeddings.class_embedding": (width,),
        "embeddings.patch_embedding.weight": (width, 3, shape.patch, shape.patch),
        "embeddings.position_embedding.weight": (shape.tokens, width),
        **_weight_and_bias("pre_layrnorm", width),
        **_weight_and_bias("post_layernorm", width),
    }
    for layer in range(shape.vision_layers):
        at = f"encoder.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            named |= _weight_and_bias(f"{at}self_attn.{name}", width, width)
        named |= _weight_and_bias(f"{at}layer_norm1", width) | _weight_and_bias(f"{at}layer_norm2", width)
        named |= _weight_and_bias(f"{at}mlp.fc1", mlp, width) | _weight_and_bias(f"{at}mlp.fc2", width, mlp)
    return {prefix + name: size for name, size in named.items()}


def decoder_tensors(shape: Shape) -> dict[str, tuple[int, ...]]:
    width, mlp = shape.width, shape.mlp
    named = {
        "model.embed_tokens.weight": (shape.vocabulary, width),
        "model.norm.weight": (width,),
        "lm_head.weight": (shape.vocabulary, width),
        **_weight_and_bias("model.visual_projector.0", width, shape.vision_width),
        **_weight_and_bias("model.visual_projector.2", width, width),
        **_weight_and_bias("model.feature_adaptor", width, width),
    }
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        named |= {f"{at}self_attn.{name}_proj.weight": (width, width) for name in "qkvo"}
        named |= {f"{at}mlp.{name}_proj.weight": (mlp, width) for name in ("gate", "up")}
        named |= {f"{at}mlp.down_proj.weight": (width, mlp)}
        named |= {f"{at}{name}.weight": (width,) for name in ("input_layernorm", "post_attention_layernorm")}
    return named


def _weight_and_bias(name: str, *size: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": size, f"{name}.bias": size[:1]}


def draw_tensors(sizes: dict[str, tuple[int, ...]], seed: int) -> Tensors:
    """Large enough that every step leaves its mark on the result."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(size, generator=generator) * 0.2 + 0.02 for name, size in sizes.items()}


def encode_one_image(weights: Tensors, shape: Shape, image: Tensor) -> Tensor:
    """[3, S, S] to the tower's last hidden state [1 + patches, vision width], CLS first."""

    def normed(name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], weights[f"{TOWER}{name}.weight"], weights[f"{TOWER}{name}.bias"], eps=1e-5)

    def dense(name: str, x: Tensor) -> Tensor:
        return linear(x, weights[f"{TOWER}{name}.weight"], weights[f"{TOWER}{name}.bias"])

    patches = conv2d(image[None], weights[f"{TOWER}embeddings.patch_embedding.weight"], stride=shape.patch)
    tokens = torch.cat([weights[f"{TOWER}embeddings.class_embedding"][None], patches.flatten(2)[0].T])
    x = normed("pre_layrnorm", tokens + weights[f"{TOWER}embeddings.position_embedding.weight"])
    for layer in range(shape.vision_layers):
        at = f"encoder.layers.{layer}."
        h = normed(f"{at}layer_norm1", x)
        q, k, v = (dense(f"{at}self_attn.{name}_proj", h) for name in "qkv")
        x = x + dense(f"{at}self_attn.out_proj", _attention(q, k, v, shape.vision_heads, causal=False))
        h = dense(f"{at}mlp.fc1", normed(f"{at}layer_norm2", x))
        x = x + dense(f"{at}mlp.fc2", h * torch.sigmoid(1.702 * h))
    return x


def event_embeddings(weights: Tensors, shape: Shape, images: Tensor) -> Tensor:
    """Images [T, 3, S, S], one after the other, to [T + s, D]: temporal tokens first, then spatial ones."""
    encoded = []
    for image in images:
        x = encode_one_image(weights, shape, image)
        x = gelu(linear(x, weights["model.visual_projector.0.weight"], weights["model.visual_projector.0.bias"]))
        x = linear(x, weights["model.visual_projector.2.weight"], weights["model.visual_projector.2.bias"])
        encoded.append(linear(x, weights["model.feature_adaptor.weight"], weights["model.feature_adaptor.bias"]))
    temporal = [x.mean(dim=0) for x in encoded]
    spatial = [torch.stack([x[place] for x in encoded]).mean(dim=0) for place in range(len(encoded[0]))]
    return torch.stack(temporal + spatial)


def decoder_input(weights: Tensors, shape: Shape, ids: list[int], images: Tensor) -> Tensor:
    """The prompt's embeddings [L, D], the event's in place of -200."""
    table, at = weights["model.embed_tokens.weight"], ids.index(-200)
    return torch.cat([table[ids[:at]], event_embeddings(weights, shape, images), table[ids[at + 1 :]]])


def logits(weights: Tensors, shape: Shape, embeddings: Tensor) -> Tensor:
    """The Llama decoder over embeddings [L, D]: logits [L, V]."""
    x = embeddings
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        h = _rms_norm(x, weights[f"{at}input_layernorm.weight"])
        q, k, v = (linear(h, weights[f"{at}self_attn.{name}_proj.weight"]) for name in "qkv")
        q, k = _rotated(q, shape.heads), _rotated(k, shape.heads)
        x = x + linear(_attention(q, k, v, shape.heads, causal=True), weights[f"{at}self_attn.o_proj.weight"])
        h = _rms_norm(x, weights[f"{at}post_attention_layernorm.weight"])
        gate, up = (linear(h, weights[f"{at}mlp.{name}_proj.weight"]) for name in ("gate", "up"))
        x = x + linear(silu(gate) * up, weights[f"{at}mlp.down_proj.weight"])
    return linear(_rms_norm(x, weights["model.norm.weight"]), weights["lm_head.weight"])


def _rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return weight * x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + 1e-6)


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: int, *, causal: bool) -> Tensor:
    """Head by head over [L, D]."""
    outputs = []
    for qh, kh, vh in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True):
        scores = qh @ kh.T / qh.shape[-1] ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), float("-inf"))
        outputs.append(softmax(scores, dim=-1) @ vh)
    return torch.cat(outputs, dim=-1)


def _rotated(x: Tensor, heads: int) -> Tensor:
    """Rotary positions, base 10000; a head's first half is paired with its second."""
    size = x.shape[-1] // heads
    angles = torch.arange(len(x))[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
    cosine, sine = angles.cos(), angles.sin()
    turned = []
    for head in x.chunk(heads, -1):
        a, b = head.chunk(2, -1)
        turned.append(torch.cat([a * cosine - b * sine, b * cosine + a * sine], dim=-1))
    return torch.cat(turned, dim=-1)


def clip_config(shape: Shape) -> dict[str, object]:
    return {
        "model_type": "clip_vision_model",
        "hidden_size": shape.vision_width,
        "intermediate_size": shape.vision_mlp,
        "num_hidden_layers": shape.vision_layers,
        "num_attention_heads": shape.vision_heads,
        "image_size": shape.side,
        "patch_size": shape.patch,
        "hidden_act": "quick_gelu",
        "projection_dim": 16,
    }


def eventgpt_config(shape: Shape, tower: str, **more: object) -> dict[str, object]:
    """As published: Llama's keys, the names of tower and modules, and keys that nobody reads."""
    return {
        "model_type": "EventChat_llama",
        "architectures": ["EventChatModel"],
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rope_scaling": None,
        "torch_dtype": "float32",
        "tie_word_embeddings": False,
        "use_cache": True,
        "mm_visual_tower": tower,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": True,
        "event_feature_adaptor": True,
        **more,
    }


def write_published(folder: Path, weights: Tensors, shape: Shape, **more: object) -> None:
    """A checkpoint folder in the published layout, and its tower's folder beside it (config only)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", eventgpt_config(shape, "some-lab/small-clip", **more))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    tower = folder.parent / "small-clip"
    tower.mkdir(exist_ok=True)
    write_json(tower / "config.json", clip_config(shape))


def write_json(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2))
