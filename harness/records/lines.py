"""What a run writes down, line by line: frozen records, checked when they are read back.

Raw rounds are kept; medians and speedups are derived by whoever needs them (see harness/figures). All times are
seconds, all sizes bytes.

History of the format:
    1   first version; later on the states of stages and passes, attempts, machines, reference work during each
        test and what it waited for a core (`waited`), and ledgers of work, which old files lack
"""

from datetime import datetime
from typing import Any, Literal

import msgspec

from harness.records.quantities import Bytes, Count, MemoryPeak, Seconds, SecondsOrNone, is_gpu
from harness.records.speculation import AgreementRecord, SpeculationCostRecord, SpeculationRecord
from harness.records.work import WatchedWork
from harness.stages import STAGES, UNDIVIDED

FORMAT_VERSION = 1

MAX_DRAFTED = 1_000_000

PassKind = Literal["whole", "fixed", "unsynchronised", "throughput"]
VerdictState = Literal["pass", "broken", "not run"]
Moment = Literal["start", "end", "during"]
Outcome = Literal["failed", "skipped", "deselected"]
GateState = Literal["pass", "regressed", "improved", "unstable", "invalid", "missing baseline", "flagged", "not run"]


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
    reference: str | None = None  # the dataset's own answer
    # Inside the dataset folder; empty in older files. A report shows a few of them.
    event_images: tuple[str, ...] = ()
    frames_folder: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """What a suite sets out to measure."""

    model_set: str
    device: str
    engines: tuple[str, ...]
    models: tuple[str, ...]  # in the order of measurement, draft and targets among them
    draft: str | None
    targets: tuple[str, ...]
    dataset: str  # path of the instruction JSON
    samples: tuple[PlannedSample, ...]  # in the order of the dataset
    limits: dict[str, float]  # as they apply to this model set, by name
    dataset_identity: str | None = None  # tells the samples' files from others of the same names; None in older files
    dataset_folder: str | None = None
    names: dict[str, str] = {}  # what people call the models, by key; empty in older files
    # Classes of objects that answers may name; empty where the dataset does not say, and in older files.
    objects: tuple[str, ...] = ()


class Header(Plan, frozen=True, kw_only=True, tag_field="record", tag="header"):
    """First line of a journal: the plan, and all else that a merge needs beside the measurements themselves."""

    format_version: int
    started_at: str
    environment: dict[str, Any]
    options: dict[str, Any]

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.started_at)
        gamma = self.options.get("gamma")
        if self.draft is not None and not (isinstance(gamma, int) and 0 < gamma <= MAX_DRAFTED):
            raise ValueError(f"options.gamma must be a whole number of 1 to {MAX_DRAFTED}")
        if not self.engines or "\0" in self.dataset:
            raise ValueError("engines and dataset must be named")
        if self.planned_rounds is not None and not (isinstance(self.planned_rounds, int) and self.planned_rounds > 0):
            raise ValueError("options.rounds must be a whole number above 0")
        for part in ("libraries", "gpu", "git"):
            if not isinstance(self.environment.get(part) or {}, dict):
                raise ValueError(f"environment.{part} must be an object")

    @property
    def on_gpu(self) -> bool:
        """Whether the models were on a GPU."""
        return is_gpu(self.device)

    @property
    def planned_rounds(self) -> int | None:
        """Timed rounds of a sample in a stage test, where their number was given."""
        planned: int | None = self.options.get("rounds")
        return planned


class ModelRecord(msgspec.Struct, frozen=True, tag_field="record", tag="model"):
    """A model was loaded: how long it took, what it occupies, and what it is, read back from the live object."""

    model: str
    load_s: Seconds
    memory_bytes: Bytes
    facts: dict[str, Any]


class StageWork(msgspec.Struct, frozen=True):
    """What a stage cannot do without: bytes to be moved, operations to be done by numbers of the type `dtype`."""

    bytes: float
    operations: float
    dtype: str


class MachineRecord(msgspec.Struct, frozen=True, tag_field="record", tag="machine"):
    """What the device can do, measured at the start of the run: a large read, a large copy, large matrix products."""

    read_bytes_per_s: float
    copy_bytes_per_s: float  # bytes read and bytes written
    operations_per_s: dict[str, float]  # by the type of the numbers


class EngineRecord(msgspec.Struct, frozen=True, tag_field="record", tag="engine"):
    """What runs stages 3 and 4 of a model, and what that took so far; of several of one engine the last holds."""

    model: str
    engine: str
    facts: dict[str, Any]  # read back from the engine: kernels, captures and their seconds


class StageRecord(msgspec.Struct, frozen=True, tag_field="record", tag="stage"):
    """One stage measured by itself.

    `round_s[i]` belongs to sample `round_samples[i]`. `cold_s`: each sample's first time through the stage.
    `variant` tells two measurements of one stage apart ("legacy reader"); `tokens` only for decoding.
    `round_states[i]`: where stage 1 found the file in that round ("cold", "warm page cache", "cache hit"), likewise
    `cold_states`; empty for other stages. `sources`: all that was read in either kind of round. `work`: by sample,
    for stages on the device whose pipeline states it. `visual_tokens`: by sample, where the output says so;
    `probes`: likewise, some of the features or logits in the cold round.
    `not_finite`: samples with an output that was no finite number; `not_repeated`: those whose timed answers were not
    all that of their cold round.
    """

    test: str
    model: str
    engine: str | None
    stage: str
    variant: str
    cold_s: dict[str, Seconds]
    round_samples: tuple[str, ...]
    round_s: tuple[Seconds, ...]
    tokens: dict[str, Count]
    sources: tuple[str, ...]
    memory: dict[str, MemoryPeak]
    failures: tuple[Failure, ...]
    cold_states: dict[str, str] = {}
    round_states: tuple[str, ...] = ()
    work: dict[str, StageWork] = {}
    machine: str = ""
    visual_tokens: dict[str, Count] = {}
    probes: dict[str, tuple[float, ...]] = {}
    not_finite: tuple[str, ...] = ()
    not_repeated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.round_s) != len(self.round_samples) or len(self.round_states) not in {0, len(self.round_s)}:
            raise ValueError("each of round_s needs its sample in round_samples, and its state or none in round_states")
        if self.round_s and not self.cold_s:
            raise ValueError("what was timed in rounds was cold once, in cold_s")


class PassRecord(msgspec.Struct, frozen=True, tag_field="record", tag="pass"):
    """One sample once through one model.

    kind "whole": the pass over the dataset, synchronised at the stages' boundaries; "fixed": the same with an exact
    number of new tokens; "unsynchronised": clock read at both ends only, so `stage_s` is empty; "throughput": files
    loaded ahead of the model, `whole_s` from the answer before to this one, failures included. Else `whole_s` is read
    around the stages, not added up from them. Where `failure` is set, `stage_s` has the stages before it. `source` is
    what stage 1 read, how, and where it found it; `state` is this last part by itself. `machine` as in an
    `AttemptRecord`. `test` is empty in files from before it was written down.
    """

    sample: str
    model: str
    engine: str
    kind: PassKind
    stage_s: dict[str, Seconds]
    whole_s: Seconds
    source: str
    text: str
    token_ids: tuple[int, ...]
    stopped_by: str
    finished_at: str
    failure: Failure | None = None
    state: str = ""
    test: str = ""
    machine: str = ""
    rank: int = 0

    def __post_init__(self) -> None:
        known = (set(STAGES), {"load", "preprocess", UNDIVIDED})
        if self.kind in {"whole", "fixed"} and self.failure is None and self.stage_s.keys() not in known:
            raise ValueError(f"stage_s of a finished pass has {', '.join(STAGES)}, and nothing else")


class SideBySideRecord(msgspec.Struct, frozen=True, tag_field="record", tag="side_by_side"):
    """Two ways of doing one thing, timed in turn on the same input: `way_s[i]` right after `reference_s[i]`."""

    test: str
    what: str  # the work in words, with the sizes that matter
    way: str
    reference: str
    way_s: tuple[Seconds, ...]
    reference_s: tuple[Seconds, ...]
    conditions: dict[str, str]  # what a reader of the figures must know

    def __post_init__(self) -> None:
        if not self.way_s or len(self.way_s) != len(self.reference_s):
            raise ValueError("way_s and reference_s need as many times, one at the least")


class VerdictRecord(msgspec.Struct, frozen=True, tag_field="record", tag="verdict"):
    """What came of one limit, in words; `test` is the one that measured it and fails where it is broken."""

    limit: str
    state: VerdictState
    sentence: str
    test: str | None = None
    value: float | None = None
    bound: float | None = None


class ReferenceWorkRecord(msgspec.Struct, frozen=True, tag_field="record", tag="sentinel"):
    """How fast the machine itself was at an end of the run, or during a `test`: seconds of fixed work.

    At the ends of a run a matrix product and a copy on its device (on a GPU each value is the mean of eight, by its own
    clock). During a test in which the host has a part, on that: reading what lies in its cache, and resizing a picture.
    Another version (`sentinel_workloads` of the environment; 1 where it is not there) has others, and of other sizes.

    `throttled`: why the GPU is running slower than it could, in its driver's words; `other_processes`: those that
    use the GPU beside this one. Both None on the CPU, and where the driver does not tell.
    `waited`: the share of a test's time in which the thread that runs it waited for a core; None where no system tells.
    """

    moment: Moment
    product_s: tuple[SecondsOrNone, ...]
    copy_s: tuple[SecondsOrNone, ...]
    throttled: tuple[str, ...] | None = None
    other_processes: int | None = None
    test: str = ""
    read_s: tuple[SecondsOrNone, ...] = ()
    resize_s: tuple[SecondsOrNone, ...] = ()
    waited: float | None = None

    @property
    def seconds_by_work(self) -> dict[str, tuple[float, ...]]:
        """All seconds by the name of the work."""
        return {
            "matrix product": self.product_s,
            "copy": self.copy_s,
            "cached read": self.read_s,
            "resize": self.resize_s,
        }


class OutcomeRecord(msgspec.Struct, frozen=True, tag_field="record", tag="outcome"):
    """A recording test that did not pass: why there is no figure of it, or only a part."""

    test: str
    outcome: Outcome
    reason: str


class GateRecord(
    msgspec.Struct, frozen=True, tag_field="record", tag="gate", rename={"minimum_detectable_effect": "smallest_effect"}
):
    """What came of comparing one figure with the baseline, in words; of two of one metric, the later holds.

    Numbers are on the scale of harness.figures.metrics: `value` was measured, `centre` is the baseline's, `loss` the
    change for the worse, `limit` how large it may be (`limit_of_mean`: of two sessions), `minimum_detectable_effect`
    (on disk: smallest_effect) what could be found. `cause`, in words, is of a figure that is worse, whatever it came of
    ("program", "machine", or "" where that is not known) in `blame`; of one that passes, work that its time hides.
    """

    metric: str
    state: GateState
    sentence: str
    tests: tuple[str, ...] = ()
    value: float | None = None
    centre: float | None = None
    loss: float | None = None
    limit: float | None = None
    limit_of_mean: float | None = None
    minimum_detectable_effect: float | None = None
    sessions: int = 0
    blame: str = ""
    cause: str = ""


class AttemptRecord(msgspec.Struct, frozen=True, tag_field="record", tag="attempt"):
    """A further process works on this run: it resumes it, or is one of several ranks under torchrun."""

    started_at: str
    environment: dict[str, Any]
    machine: str = ""  # the conditions that times depend on, where they are others than the header's
    rank: int = 0
    world_size: int = 1
    restart: int = 0


class EndRecord(msgspec.Struct, frozen=True, tag_field="record", tag="end"):
    """Last line of a run that came to its end: the exit status that pytest was given, and why."""

    finished_at: str
    exit_status: int
    reason: str
    advice: tuple[str, ...] = ()


_Beginning = Header | AttemptRecord | ModelRecord | MachineRecord | EngineRecord | ReferenceWorkRecord
# What a test measures anew as a whole when a run is resumed; passes are kept one by one.
MeasuredAsAWhole = (
    StageRecord | WatchedWork | SideBySideRecord | AgreementRecord | SpeculationRecord | SpeculationCostRecord
)
JournalLine = _Beginning | MeasuredAsAWhole | PassRecord | VerdictRecord | OutcomeRecord | GateRecord | EndRecord


class RunRecord(msgspec.Struct, frozen=True, rename={"reference_work": "sentinels"}):
    """A whole run: the lines of its journals by kind. This is `run.json`."""

    header: Header
    models: tuple[ModelRecord, ...] = ()
    stages: tuple[StageRecord, ...] = ()
    passes: tuple[PassRecord, ...] = ()
    side_by_side: tuple[SideBySideRecord, ...] = ()
    agreements: tuple[AgreementRecord, ...] = ()
    speculations: tuple[SpeculationRecord, ...] = ()
    speculation_costs: tuple[SpeculationCostRecord, ...] = ()
    verdicts: tuple[VerdictRecord, ...] = ()
    end: EndRecord | None = None  # until the run ends, and for good where it was killed
    reference_work: tuple[ReferenceWorkRecord, ...] = ()
    outcomes: tuple[OutcomeRecord, ...] = ()
    gates: tuple[GateRecord, ...] = ()
    machine: MachineRecord | None = None
    engines: tuple[EngineRecord, ...] = ()
    attempts: tuple[AttemptRecord, ...] = ()
    notes: tuple[str, ...] = ()  # what is unusual in the journal or old result file that it was read from, in sentences
    works: tuple[WatchedWork, ...] = ()


def timestamp() -> str:
    """Return the present moment, ISO 8601 with the offset from UTC, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
