"""The stages of a pipeline: their names, their order, and the harness' own view of the object that has them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

STAGES = ("load", "preprocess", "vision", "prefill", "decode")
# The names of the old result file: its stage 3 is the whole of vision, prefill and decode.
LEGACY_STAGES = {1: ("load",), 2: ("preprocess",), 3: ("vision", "prefill", "decode")}
# The whole of it, in old files that do not divide it.
UNDIVIDED = "vision + LLM"


class Sample(Protocol):
    """What the harness needs to know of a sample."""

    @property
    def id(self) -> str:
        """The sample's name, unique in its dataset."""


class Answer(Protocol):
    """What the harness needs to know of a generation."""

    @property
    def token_ids(self) -> tuple[int, ...]:
        """New token ids, in order."""

    @property
    def stopped_by(self) -> str:
        """The reason for the end: "eos" or "length"."""


class Pipeline(Protocol):
    """A model split at its stages: each takes what the one before it gave."""

    key: str

    def load(self, sample: Any) -> Any:
        """Stage 1: file to pixels, with `source` saying what was read and how."""

    def preprocess(self, clip: Any) -> Any:
        """Stage 2: pixels and prompt to tensors."""

    def encode_vision(self, inputs: Any) -> Any:
        """Stage 3: images to embeddings."""

    def prefill(self, features: Any) -> Any:
        """Stage 4, first half; the KV cache in its result is consumed by decoding."""

    def decode(self, prefilled: Any, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        """Stage 4, second half: an `Answer`."""

    def text(self, generation: Any) -> str:
        """The words of an answer."""

    def with_engine(self, engine: str) -> "Pipeline":
        """The same model with its device stages run by another engine."""

    def engine_facts(self) -> Any:
        """What that engine is and what it took so far: a dataclass of plain values; None where there is none."""

    def work(self, stage: str, given: Any, output: Any) -> Any:
        """What a stage had to do at the least: `bytes`, `operations` and `dtype`; None where that is not stated."""

    def examine(self, output: Any) -> Any:
        """What a stage's result is: `finite`, `probes`, `visual_tokens`; or None. A pipeline may lack this method."""

    def amounts(self, output: Any) -> dict[str, int]:
        """How many `frames` and `tokens` a result is of, where it says so. A pipeline may lack this method, too."""

    def facts(self) -> Any:
        """What was loaded, read back from the live model: a dataclass of plain values."""


def state_of(output: Any) -> str:
    """Return where stage 1 found its file ("cold", "cache hit"); empty for every other stage."""
    state: str = getattr(output, "state", "")
    return state


def source_of(output: Any) -> str:
    """Return what stage 1 read, how, and where it found it; empty for every other stage."""
    return ", ".join(filter(None, (getattr(output, "source", ""), state_of(output))))


def most_common_state(states: Iterable[str]) -> str:
    """Return the state of most rounds, of two the earlier: only rounds in one state make a figure together."""
    counted = Counter(states)
    return max(counted, key=counted.__getitem__)


def max_other_states(rounds: int) -> int:
    """Return how many of `rounds` may be in another state than most: five percent."""
    return rounds // 20


@dataclass(frozen=True, slots=True)
class Length:
    """How long an answer may get: up to `tokens` and no further than the end token, or exactly `tokens` if fixed."""

    tokens: int
    fixed: bool = False

    def at_most(self, tokens: int) -> Self:
        """The same, but never longer than `tokens`."""
        return replace(self, tokens=min(self.tokens, tokens))


def stage_calls(pipeline: Pipeline, length: Length) -> dict[str, Callable[[Any], Any]]:
    """Return the stages by name, in order, as calls of one argument each."""
    return {
        "load": pipeline.load,
        "preprocess": pipeline.preprocess,
        "vision": pipeline.encode_vision,
        "prefill": pipeline.prefill,
        "decode": lambda prefilled: pipeline.decode(
            prefilled, max_new_tokens=length.tokens, stop_at_eos=not length.fixed
        ),
    }
