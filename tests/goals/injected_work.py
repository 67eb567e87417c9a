"""Real extra work in the models' stages, for measuring whether gates find it: `-p tests.goals.injected_work`.

Behind every call of a stage come matrix products on the same device, as many as take a share of what the call took. The
session says so in its record, and a gate that meets it there calls the session invalid; only the goal tables look past
that.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from harness.gates.gate import INJECTED_WORK
from harness.measuring import clock

if TYPE_CHECKING:
    from fixtures.pipeline import ModelFacts, StagedPipeline

SHARE = "EVENT_VLM_PERF_INJECTED_SHARE"
STAGES = {"encode_vision": "vision", "prefill": "prefill", "decode": "decode"}
PRODUCTS = 200
SIDE_ON_CPU, SIDE_ON_GPU = 64, 1024


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let every loader return a pipeline with extra work in it."""
    from perf_tests.conftest import LOADERS

    share = float(os.environ[SHARE])
    loaders = config.stash[LOADERS]
    loaders.update({key: _slowed(load, share) for key, load in loaders.items()})


class SlowedPipeline:
    """A pipeline whose three model stages take `share` longer, each by work of its own."""

    def __init__(self, pipeline: StagedPipeline, share: float) -> None:
        self._pipeline = pipeline
        self._share = share
        self._work = ExtraWork(pipeline.facts().device)
        self._by_engine: dict[str, SlowedPipeline] = {"eager": self}

    def with_engine(self, engine: str) -> SlowedPipeline:
        """Slow the other engines down as well, each by its own time."""
        if engine not in self._by_engine:
            self._by_engine[engine] = SlowedPipeline(self._pipeline.with_engine(engine), self._share)
        return self._by_engine[engine]

    def __getattr__(self, name: str) -> Any:
        """Be the pipeline itself in all else."""
        known = getattr(self._pipeline, name)
        return self._with_work(known) if name in STAGES else known

    def facts(self) -> ModelFacts:
        """Say in the record that this is not the model alone."""
        facts = self._pipeline.facts()
        words = f"{100 * self._share:g} % in {', '.join(STAGES.values())}"
        return replace(facts, extra=facts.extra | {INJECTED_WORK: words})

    def _with_work(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def slowed(*given: Any, **named: Any) -> Any:
            start = clock.now()
            result = call(*given, **named)
            self._work.do(round(self._share * (clock.now() - start) / self._work.seconds))
            return result

        return slowed


class ExtraWork:
    """Matrix products on a device; `seconds` is what one takes when many are done in a row."""

    def __init__(self, device: str) -> None:
        import torch

        side = SIDE_ON_GPU if device.startswith("cuda") else SIDE_ON_CPU
        self._factor = torch.ones(side, side, device=device)
        self._product = torch.empty_like(self._factor)
        self.do(PRODUCTS)
        start = clock.now()
        self.do(PRODUCTS)
        self.seconds = (clock.now() - start) / PRODUCTS

    def do(self, times: int) -> None:
        """Multiply so many times."""
        import torch

        for _ in range(times):
            torch.mm(self._factor, self._factor, out=self._product)


def _slowed(load: Callable[[], StagedPipeline], share: float) -> Callable[[], Any]:
    return lambda: SlowedPipeline(load(), share)
