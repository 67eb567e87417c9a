"""Both ways to an answer, on the same inputs: the split stages, and the model's own generate()."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch

from fixtures.near_ties import parting
from fixtures.pipeline import RawClip

IMAGES = {"egpt": 5, "videollava": 8, "llava": 8}


def make_lively(model, seed=0):
    """Larger random weights than the library's: a fresh model would hardly look at its pictures."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                drawn = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn / parameter.shape[-1] ** 0.5)


def clip(key, seed, size=(24, 32)):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 255, (IMAGES[key], *size, 3), dtype=np.uint8)
    return RawClip(tuple(pictures), "drawn")


@contextmanager
def asked(pipeline, query):
    """Give the pipeline another question, and its own back: what a test draws must not reach the next one."""
    before = pipeline.settings
    pipeline.settings = replace(before, query=query)
    yield
    pipeline.settings = before


def by_generate(pipeline, inputs, **more):
    """The model's own generate(): new ids, and the logits [steps, V] that each was chosen from."""
    visual = {"egpt": "pixel_values", "videollava": "pixel_values_videos", "llava": "pixel_values"}[pipeline.key]
    pixels = inputs.pixel_values[None] if pipeline.key == "videollava" else inputs.pixel_values
    found = pipeline.model.generate(
        input_ids=inputs.input_ids,
        **{visual: pixels},
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
        **more,
    )
    ids = found.sequences[0].tolist()
    return ids[-len(found.logits) :], torch.cat(found.logits)


def assert_same_ids(found, wanted, logits):
    """Equal ids; a first difference is let pass only where the two likeliest tokens are as good as equal."""
    differing = [step for step, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b]
    if differing:
        audit = parting(differing[0], logits[differing[0]])
        assert audit.is_near_tie, f"step {audit.place}, margin {audit.margin}: {found} is not {wanted}"
    else:
        assert len(found) == len(wanted)


def by_stages(pipeline, inputs, **more):
    prefilled = pipeline.prefill(pipeline.encode_vision(inputs))
    logits = prefilled.logits
    return pipeline.decode(prefilled, **more), logits
