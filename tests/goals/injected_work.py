"""A pytest plugin that adds real work to the models' stages, to measure whether gates find it.

`-p tests.goals.injected_work` adds matrix products after every call of a stage, for a share of the call's time. The
session's record says so, and gates call such a session invalid; only the goals remove the note.
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
    """Make every loader return a slowed pipeline."""
    from perf_tests.conftest import LOADERS

    share = float(os.environ[SHARE])
    loaders = config.stash[LOADERS]
    loaders.update({key: _slowed(load, share) for key, load in loaders.items()})


class SlowedPipeline:
    """A pipeline whose three model stages take `share` longer, by extra work after each."""

    def __init__(self, pipeline: StagedPipeline, share: float) -> None:
        self._pipeline = pipeline
        self._share = share
        self._work = ExtraWork(pipeline.facts().device)
        self._by_engine: dict[str, SlowedPipeline] = {"eager": self}

    def with_engine(self, engine: str) -> SlowedPipeline:
        """Return the pipeline by another engine, slowed by the same share."""
        if engine not in self._by_engine:
            self._by_engine[engine] = SlowedPipeline(self._pipeline.with_engine(engine), self._share)
        return self._by_engine[engine]

    def __getattr__(self, name: str) -> Any:
        """Forward every other attribute to the pipeline."""
        known = getattr(self._pipeline, name)
        return self._with_work(known) if name in STAGES else known

    def facts(self) -> ModelFacts:
        """Return the model's facts with a note on the injected work."""
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
    """Matrix products on a device; `seconds` is the time of one among many in a row."""

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
        """Run `times` products."""
        import torch

        for _ in range(times):
            torch.mm(self._factor, self._factor, out=self._product)


def _slowed(load: Callable[[], StagedPipeline], share: float) -> Callable[[], Any]:
    return lambda: SlowedPipeline(load(), share)
