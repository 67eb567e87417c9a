"""A pipeline of nothing on samples of nothing: tests and goals say what its stages do, in one method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StubSample:
    """A sample of nothing."""

    id: str


@dataclass(frozen=True)
class StubAnswer:
    """The ids of an answer, and why there are no more of them."""

    token_ids: tuple[int, ...]
    stopped_by: str = "eos"


@dataclass(frozen=True)
class StubFacts:
    """What the pipeline says of itself."""

    model_class: str = "StubPipeline"
    parameter_bytes: int = 2 * 1024 * 1024


class StubPipeline:
    """The five stages, each of which hands on what it was given once it has called `take`."""

    def __init__(self, key: str = "egpt", answer: tuple[int, ...] = tuple(range(100))) -> None:
        """Answer every sample by the ids of `answer`."""
        self.key = key
        self.answer = answer

    def take(self, stage: str, given: Any) -> None:
        """Do the work of a stage: nothing."""

    def load(self, sample: Any) -> Any:
        """Read the sample."""
        self.take("load", sample)
        return sample

    def preprocess(self, clip: Any) -> Any:
        """Make inputs of it."""
        self.take("preprocess", clip)
        return clip

    def encode_vision(self, inputs: Any) -> Any:
        """Look at them."""
        self.take("vision", inputs)
        return inputs

    def prefill(self, features: Any) -> Any:
        """Read the prompt."""
        self.take("prefill", features)
        return features

    def decode(self, prefilled: Any, *, max_new_tokens: int, stop_at_eos: bool = True) -> StubAnswer:
        """Answer, by so many threes where the length is fixed."""
        self.take("decode", prefilled)
        ids = self.answer if stop_at_eos else (3,) * max_new_tokens
        return StubAnswer(ids[:max_new_tokens], "eos" if stop_at_eos else "length")

    def text(self, generation: Any) -> str:
        """Return the ids, in a row."""
        return " ".join(map(str, generation.token_ids))

    def with_engine(self, engine: str) -> StubPipeline:
        """Be the same by every engine."""
        return self

    def engine_facts(self) -> None:
        """Say nothing of one."""

    def work(self, stage: str, given: Any, output: Any) -> None:
        """State nothing."""

    def examine(self, output: Any) -> None:
        """Find nothing to look at."""

    def amounts(self, output: Any) -> dict[str, int]:
        """Count the tokens of an answer."""
        return {"tokens": len(output.token_ids)} if isinstance(output, StubAnswer) else {}

    def facts(self) -> StubFacts:
        """Return what there is to say."""
        return StubFacts()
