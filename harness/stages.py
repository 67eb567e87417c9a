"""The stages of a pipeline: their names, their order, and the harness' own view of the object that has them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

STAGES = ("load", "preprocess", "vision", "prefill", "decode")
# The names of the old result file: its stage 3 is the whole of vision, prefill and decode.
LEGACY_STAGES = {1: ("load",), 2: ("preprocess",), 3: ("vision", "prefill", "decode")}
# Name of the old file's stage 3 where its parts are not known.
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
    """A model split into stages; each stage takes the output of the one before."""

    key: str

    def load(self, sample: Any) -> Any:
        """Stage 1: file to pixels; the result's `source` names the kind of file and the reader."""

    def preprocess(self, clip: Any) -> Any:
        """Stage 2: pixels and prompt to tensors."""

    def encode_vision(self, inputs: Any) -> Any:
        """Stage 3: images to embeddings."""

    def prefill(self, features: Any) -> Any:
        """Stage 4, first half; the KV cache in its result is consumed by decoding."""

    def decode(self, prefilled: Any, *, max_new_tokens: int, stop_at_eos: bool = True) -> Any:
        """Stage 4, second half: an `Answer`."""

    def text(self, generation: Any) -> str:
        """The text of an answer."""

    def with_engine(self, engine: str) -> "Pipeline":
        """Return the same model with stages 3 and 4 run by another engine."""

    def engine_facts(self) -> Any:
        """Facts of that engine, such as captures and their seconds: a dataclass of plain values, or None."""

    def work(self, stage: str, given: Any, output: Any) -> Any:
        """The minimum work of a stage: `bytes`, `operations` and `dtype`; None where it is not known."""

    def examine(self, output: Any) -> Any:
        """Checks of a stage's output: `finite`, `probes`, `visual_tokens`; or None. A pipeline may lack this method."""

    def amounts(self, output: Any) -> dict[str, int]:
        """Numbers of `frames` and `tokens` in an output, as far as known. A pipeline may lack this method."""

    def facts(self) -> Any:
        """Facts of the loaded model, read back from the live object: a dataclass of plain values."""


def state_of(output: Any) -> str:
    """Return where stage 1 found its file ("cold", "cache hit"); empty for every other stage."""
    return str(getattr(output, "state", ""))


def source_of(output: Any) -> str:
    """Return kind of file, reader and state of stage 1's input, comma-separated; empty for every other stage."""
    return ", ".join(filter(None, (getattr(output, "source", ""), state_of(output))))


def most_common_state(states: Iterable[str]) -> str:
    """Return the most frequent state, the earlier of a tie; a figure is made of rounds in one state only."""
    counted = Counter(states)
    return max(counted, key=counted.__getitem__)


def max_other_states(rounds: int) -> int:
    """Return how many of `rounds` may differ from the most frequent state: five percent."""
    return rounds // 20


@dataclass(frozen=True, slots=True)
class Length:
    """Length of an answer: up to `tokens`, ending at the end token, or exactly `tokens` if `fixed`."""

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
        "decode": lambda given: pipeline.decode(given, max_new_tokens=length.tokens, stop_at_eos=not length.fixed),
    }
