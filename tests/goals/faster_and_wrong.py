"""A pytest plugin that makes models faster by doing less work, to measure whether gates notice the wrong answers.

`-p tests.goals.faster_and_wrong`, with the name of the mutation in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

MUTATION = "EVENT_VLM_PERF_MUTATION"
EARLY_END = 6  # tokens


class WrongPipeline:
    """A pipeline of which one stage does less work than the model's."""

    def __init__(self, pipeline: Any, mutation: str) -> None:
        self._pipeline = pipeline
        self._first: Any = None
        self._changed = MUTATIONS[mutation](self)

    def with_engine(self, engine: str) -> WrongPipeline:
        """Return this pipeline, since these sessions have one engine."""
        return self

    def __getattr__(self, name: str) -> Any:
        """Forward every other attribute to the pipeline."""
        return self._changed.get(name) or getattr(self._pipeline, name)

    def image_dropped(self) -> dict[str, Callable[..., Any]]:
        """Leave the last picture out."""
        return {"encode_vision": lambda inputs: self._encoded(inputs, inputs.pixel_values[:-1])}

    def cached_caption(self) -> dict[str, Callable[..., Any]]:
        """Repeat the first answer for every sample."""

        def decode(prefilled: Any, **lengths: Any) -> Any:
            self._first = self._first or self._pipeline.decode(prefilled, **lengths)
            return self._first

        return {"decode": decode}

    def early_end(self) -> dict[str, Callable[..., Any]]:
        """Stop after EARLY_END tokens, and report an end-of-sequence id."""

        def decode(prefilled: Any, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
            found = self._pipeline.decode(prefilled, max_new_tokens=EARLY_END, stop_at_eos=stop_at_eos)
            return replace(found, stopped_by="eos")

        return {"decode": decode}

    def layers_left_out(self) -> dict[str, Callable[..., Any]]:
        """Leave the last layer of the decoder out."""
        shallow = copy(self._pipeline)
        shallow.language = self._pipeline.language.first_layers(len(self._pipeline.language.body.layers) - 1)
        return {"prefill": shallow.prefill, "decode": shallow.decode}

    def half_the_tokens(self) -> dict[str, Callable[..., Any]]:
        """Give the language model every second visual token."""

        def prefill(features: Any) -> Any:
            return self._pipeline.prefill(replace(features, embeddings=features.embeddings[:, ::2]))

        return {"prefill": prefill}

    def nan_to_padding(self) -> dict[str, Callable[..., Any]]:
        """Return zeros without computing visual features."""
        tokens = self._pipeline.facts().visual_tokens
        weight = self._pipeline.model.get_input_embeddings().weight

        def encode_vision(inputs: Any) -> Any:
            from fixtures.pipeline import VisionFeatures

            return VisionFeatures(weight.new_zeros((1, tokens, weight.shape[1])), inputs)

        return {"encode_vision": encode_vision}

    def stale_cache(self) -> dict[str, Callable[..., Any]]:
        """Reuse the first prompt's KV cache for every prompt."""

        def prefill(features: Any) -> Any:
            self._first = self._first or self._pipeline.prefill(features)
            return deepcopy(self._first)

        return {"prefill": prefill}

    def lower_resolution(self) -> dict[str, Callable[..., Any]]:
        """Read every second pixel of every second line."""

        def load(sample: Any) -> Any:
            clip = self._pipeline.load(sample)
            return replace(clip, images=tuple(each[::2, ::2].copy() for each in clip.images))

        return {"load": load}

    def _encoded(self, inputs: Any, pixels: Any) -> Any:
        return replace(self._pipeline.encode_vision(replace(inputs, pixel_values=pixels)), inputs=inputs)


MUTATIONS = {
    name: getattr(WrongPipeline, name)
    for name in (
        *("image_dropped", "cached_caption", "early_end", "layers_left_out"),
        *("half_the_tokens", "nan_to_padding", "stale_cache", "lower_resolution"),
    )
}


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make every loader return a pipeline with the mutation."""
    from perf_tests.conftest import LOADERS

    loaders = config.stash[LOADERS]
    mutation = os.environ[MUTATION]
    loaders.update({key: partial(_wrong, load, mutation) for key, load in loaders.items()})


def _wrong(load: Callable[[], Any], mutation: str) -> Any:
    return WrongPipeline(load(), mutation)
