"""The lines of a journal: frozen records, checked when they are read back.

Records keep raw rounds; harness/figures derives medians and speedups. All times are seconds, all sizes bytes.

History of the format:
    1   first version; later files add states of stages and passes, attempts, machines, reference work during each
        test with its waits for a core (`waited`), and ledgers of work
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
    """A sample that the run set out to measure, with the fields that the legacy result file repeats."""

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
    """The models, engines, samples and limits of a run, as the suite sets them before it measures."""

    model_set: str
    device: str
    engines: tuple[str, ...]
    models: tuple[str, ...]  # in the order of measurement, draft and targets among them
    draft: str | None
    targets: tuple[str, ...]
    dataset: str  # path of the instruction JSON
    samples: tuple[PlannedSample, ...]  # in the order of the dataset
    limits: dict[str, float]  # as they apply to this model set, by name
    dataset_identity: str | None = None  # hash by which other files of the same names are told; None in older files
    dataset_folder: str | None = None
    names: dict[str, str] = {}  # display names of the models, by key; empty in older files
    # Classes of objects that answers may name; empty where the dataset does not say, and in older files.
    objects: tuple[str, ...] = ()


class Header(Plan, frozen=True, kw_only=True, tag_field="record", tag="header"):
    """First line of a journal: the plan, and the conditions of the run. A merge needs no other file."""

    format_version: int
    started_at: str
    environment: dict[str, Any]
    options: dict[str, Any]

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.started_at)
        gamma = self.options.get("gamma")
        if self.draft is not None and not (isinstance(gamma, int) and 0 < gamma <= MAX_DRAFTED):
            raise ValueError(f"options.gamma must be a whole number of 1 to {MAX_DRAFTED}")
        if not (self.engines and self.models) or "\0" in self.dataset:
            raise ValueError("engines, models and dataset must be named")
        if self.planned_rounds is not None and not (isinstance(self.planned_rounds, int) and self.planned_rounds > 0):
            raise ValueError("options.rounds must be a whole number above 0")
        for part in ("libraries", "gpu", "git"):
            if not isinstance(self.environment.get(part) or {}, dict):
                raise ValueError(f"environment.{part} must be an object")
        if not isinstance(self.environment.get("world_size", 1), int):
            raise ValueError("environment.world_size must be a whole number")

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
    """A loaded model: the seconds of loading, its memory, and facts read back from the live object."""

    model: str
    load_s: Seconds
    memory_bytes: Bytes
    facts: dict[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.facts.get("extra", {}), dict):
            raise ValueError("facts.extra must be an object")


class StageWork(msgspec.Struct, frozen=True):
    """The minimum work of a stage: bytes to move, and arithmetic operations in the type `dtype`."""

    bytes: float
    operations: float
    dtype: str


class MachineRecord(msgspec.Struct, frozen=True, tag_field="record", tag="machine"):
    """Peak rates of the device at the start of the run, of a large read, a large copy and large matrix products."""

    read_bytes_per_s: float
    copy_bytes_per_s: float  # bytes read and bytes written
    operations_per_s: dict[str, float]  # by the type of the numbers


class EngineRecord(msgspec.Struct, frozen=True, tag_field="record", tag="engine"):
    """The engine of stages 3 and 4 of a model; of several records of one model and engine the last one counts."""

    model: str
    engine: str
    facts: dict[str, Any]  # read back from the engine: kernels, captures and their seconds


class StageRecord(msgspec.Struct, frozen=True, tag_field="record", tag="stage"):
    """One stage measured by itself.

    `round_s[i]` belongs to sample `round_samples[i]`. `cold_s`: each sample's first time through the stage.
    `variant` tells two measurements of one stage apart ("legacy reader"). `tokens`: for decoding only.
    `round_states[i]`: where stage 1 found the file in that round ("cold", "warm page cache", "cache hit");
    `cold_states` likewise by sample. Both are empty for other stages. `sources`: every `source`, as in `PassRecord`, of
    cold and timed rounds. `work`, `visual_tokens`: by sample, where the pipeline states them. `probes`: by sample, some
    features or logits of the first finite output. `not_finite`: samples with a non-finite output. `not_repeated`:
    samples whose timed answers differ from the answer of their cold round.
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
            raise ValueError("round_s without cold_s: each sample has a cold round before its timed rounds")


class PassRecord(msgspec.Struct, frozen=True, tag_field="record", tag="pass"):
    """One sample, once through all stages of one model.

    kind "whole": synchronised at the stages' boundaries; "fixed": the same with an exact number of new tokens;
    "unsynchronised": clock read at both ends only, so `stage_s` is empty; "throughput": files loaded ahead of the
    model. `whole_s` is measured around all stages; for "throughput" it runs from the end of the previous sample,
    failed or not. Where `failure` is set, `stage_s` has the stages before the failure. `source`: the kind of file in
    stage 1, its reader and its state; `state`: the state alone. `machine` as in an `AttemptRecord`. `test` is empty in
    older files.
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
    """The verdict on one limit; `test` measured the figure, and fails where the limit is broken."""

    limit: str
    state: VerdictState
    sentence: str
    test: str | None = None
    value: float | None = None
    bound: float | None = None


class ReferenceWorkRecord(msgspec.Struct, frozen=True, tag_field="record", tag="sentinel"):
    """Speed of the machine itself: seconds of fixed work at both ends of the run, or during a `test`.

    At the ends: a matrix product and a copy on the device (on a GPU each value is the mean of eight, by the GPU's
    clock). During a test in which the host works: a read from the host's cache, and resizing a picture.
    Workloads depend on the version, `sentinel_workloads` of the environment (1 where missing).

    `throttled`: the driver's reasons why the GPU runs slower than it could. `other_processes`: their number on the
    GPU. Both are None on the CPU, and where the driver does not tell. `waited`: fraction of a test's time in which its
    thread waited for a core; None where the system does not tell.
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
        at_ends = {"matrix product": self.product_s, "copy": self.copy_s}
        return at_ends | {"cached read": self.read_s, "resize": self.resize_s}


class OutcomeRecord(msgspec.Struct, frozen=True, tag_field="record", tag="outcome"):
    """A recording test that did not pass, and why it has no figure or only a part of one."""

    test: str
    outcome: Outcome
    reason: str


class GateRecord(
    msgspec.Struct, frozen=True, tag_field="record", tag="gate", rename={"minimum_detectable_effect": "smallest_effect"}
):
    """The comparison of one figure with the baseline; of two records of one metric the later counts.

    Numbers are on the scale of harness.figures.metrics. `value`: as measured; `centre`: the baseline's; `loss`: the
    change for the worse; `limit`: the largest loss that passes (`limit_of_mean`: for the mean of two sessions);
    `minimum_detectable_effect` (on disk: smallest_effect): the smallest loss that would be found. `blame` of a worse
    figure: "program", "machine", or "" where unknown. `cause`, in words: of a worse figure, the changed work or calls;
    of a passing one, changed work that its time does not show.
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
    """A process that resumes the run, or joins it as one of several ranks under torchrun."""

    started_at: str
    environment: dict[str, Any]
    machine: str = ""  # `machine_name` of this process, where it is not the header's
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
# Records of tests that a resumed run measures anew as a whole; passes are kept one by one.
Remeasured = StageRecord | WatchedWork | SideBySideRecord | AgreementRecord | SpeculationRecord | SpeculationCostRecord
JournalLine = _Beginning | Remeasured | PassRecord | VerdictRecord | OutcomeRecord | GateRecord | EndRecord


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
    notes: tuple[str, ...] = ()  # sentences on oddities of the journal or old result file
    works: tuple[WatchedWork, ...] = ()


def timestamp() -> str:
    """Return the present moment, ISO 8601 with the offset from UTC, to the second."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
