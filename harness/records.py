"""What a run writes down, line by line: frozen records, checked when they are read back.

Raw rounds are kept; medians and speedups are derived by whoever needs them (see figures.py). All times are seconds,
all sizes bytes.

History of the format:
    1   first version
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from harness.memory import MemoryPeak

FORMAT_VERSION = 1

PassKind = Literal["whole", "fixed", "unsynchronised"]
VerdictState = Literal["pass", "broken", "not run"]


class Failure(msgspec.Struct, frozen=True):
    """A sample that could not be measured: the stage in which it failed, and the exception by type and text."""

    sample: str
    stage: str
    type: str
    text: str

    def sentence(self) -> str:
        """One line for people."""
        return f"{self.stage} of sample {self.sample!r} failed: {self.type}: {self.text}"


class PlannedSample(msgspec.Struct, frozen=True):
    """A sample that the run set out to measure, with what the legacy result file repeats of it."""

    id: str
    split: str
    query: str
    event_data: str | None
    video_data: str | None
    # The dataset's own answer, to be read beside the models'.
    reference: str | None = None


class Header(msgspec.Struct, frozen=True, tag_field="record", tag="header"):
    """First line of a journal: all that a merge needs beside the measurements themselves.

    `models` in the order of measurement, `draft` and `targets` among them; `dataset` is the instruction JSON's path.
    `samples` in the order of the dataset; `limits` as they apply to this model set, by name.
    """

    format_version: int
    started_at: str
    environment: dict[str, Any]
    options: dict[str, Any]
    model_set: str
    device: str
    engines: tuple[str, ...]
    models: tuple[str, ...]
    draft: str | None
    targets: tuple[str, ...]
    dataset: str
    limits: dict[str, float]
    samples: tuple[PlannedSample, ...]
    # What tells the files of the samples from others of the same names; None in older files.
    dataset_identity: str | None = None


class ModelRecord(msgspec.Struct, frozen=True, tag_field="record", tag="model"):
    """A model was loaded: how long it took, what it occupies, and what it is, read back from the live object."""

    model: str
    load_s: float
    memory_bytes: int
    facts: dict[str, Any]


class StageRecord(msgspec.Struct, frozen=True, tag_field="record", tag="stage"):
    """One stage measured by itself.

    `round_s[i]` belongs to sample `round_samples[i]`. `cold_s`: each sample's first time through the stage.
    `variant` tells two measurements of one stage apart ("legacy reader"); `tokens` only for decoding.
    """

    test: str
    model: str
    engine: str | None
    stage: str
    variant: str
    cold_s: dict[str, float]
    round_samples: tuple[str, ...]
    round_s: tuple[float, ...]
    tokens: dict[str, int]
    sources: tuple[str, ...]
    memory: dict[str, MemoryPeak]
    failures: tuple[Failure, ...]


class PassRecord(msgspec.Struct, frozen=True, tag_field="record", tag="pass"):
    """One sample once through one model.

    kind "whole": the pass over the dataset, synchronised at the stages' boundaries; "fixed": the same with an exact
    number of new tokens; "unsynchronised": clock read at both ends only, so `stage_s` is empty. `whole_s` is read
    around the stages, not added up from them. Where `failure` is set, `stage_s` has the stages before it. `test` is
    empty in files from before it was written down.
    """

    sample: str
    model: str
    engine: str
    kind: PassKind
    stage_s: dict[str, float]
    whole_s: float
    source: str
    text: str
    token_ids: tuple[int, ...]
    stopped_by: str
    finished_at: str
    failure: Failure | None = None
    test: str = ""


class VerdictRecord(msgspec.Struct, frozen=True, tag_field="record", tag="verdict"):
    """What came of one limit, in words; `test` is the one that measured it and fails where it is broken."""

    limit: str
    state: VerdictState
    sentence: str
    test: str | None = None
    value: float | None = None
    bound: float | None = None


class EndRecord(msgspec.Struct, frozen=True, tag_field="record", tag="end"):
    """Last line of a run that came to its end: the exit status that pytest was given, and why."""

    finished_at: str
    exit_status: int
    reason: str
    advice: tuple[str, ...] = ()


JournalLine = Header | ModelRecord | StageRecord | PassRecord | VerdictRecord | EndRecord


class RunRecord(msgspec.Struct, frozen=True):
    """A whole run: what its journal says, sorted by kind. This is `run.json`.

    `end` is None while the run goes on, and for good where it was killed.
    """

    header: Header
    models: tuple[ModelRecord, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    passes: tuple[PassRecord, ...] = ()
    verdicts: tuple[VerdictRecord, ...] = ()
    end: EndRecord | None = None


def timestamp() -> str:
    """Return the present moment, ISO 8601 with the offset from UTC, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
