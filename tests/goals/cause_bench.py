"""A bench for injected causes: sessions of one model's stages in one process, as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from harness.figures.cause import Cause
from harness.measuring import clock
from harness.measuring.environment import cpu_name, stable_gpu
from harness.measuring.reference_work import Probe, observe
from harness.measuring.work import WATCHED, Watched, fastest, is_on_gpu, versions, watch
from harness.records.lines import FORMAT_VERSION, Header, RunRecord, StageRecord, timestamp
from harness.records.quantities import is_gpu
from harness.records.work import WatchedWork
from harness.stages import Length, stage_calls

ON_GPU = ("vision", "prefill", "decode")
STAGES = ("load", "preprocess", *ON_GPU)
TOKENS, ROUNDS = 12, 10
# Whether a stage runs on a GPU -> sessions of a baseline; a CPU needs more, since other programs use its cores.
KNOWN = {False: 10, True: 3}


@dataclass
class Bench:
    """One model on one sample, with its unchanged sessions by stage and the causes found so far."""

    pipeline: Any
    engine: str
    device: str
    sample: Any
    known: dict[str, list[RunRecord]] = field(default_factory=dict)
    explained: list[Cause] = field(default_factory=list)

    @property
    def on_gpu(self) -> bool:
        """Whether the model is on a GPU."""
        return is_gpu(self.device)

    @property
    def where(self) -> str:
        """The name of the device."""
        return f"{cpu_name()} (tiny)" if not self.on_gpu else str((stable_gpu(self.device) or {})["name"])

    def name(self, stage: str) -> str:
        """The metric name of a stage's time."""
        return f"time.{stage}.{self.pipeline.key}.{self.engine}"

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Stage -> its input."""
        found, value = {}, self.sample
        for stage, call in self.calls(self.pipeline).items():
            found[stage] = value
            value = call(value)
        return found

    def calls(self, pipeline: Any) -> dict[str, Callable[[Any], Any]]:
        """Stage -> the call of it."""
        return stage_calls(pipeline, Length(TOKENS, fixed=True))

    def session(
        self,
        stages: Sequence[str] = STAGES,
        change: Callable[[Any], Any] | None = None,
        *,
        pipeline: Any = None,
        look: bool = True,
    ) -> RunRecord:
        """Measure stages; `change` replaces their call, `pipeline` the model; `look`: also record a watched round."""
        pipeline = pipeline or self.pipeline
        ends = [observe("start", self.device)] if self.on_gpu else []
        records: list[StageRecord] = []
        works: list[WatchedWork] = []
        for stage in stages:
            call = change or self.calls(pipeline)[stage]
            call(self._given(stage))
            probe, seconds = Probe(stage, host=not self.on_gpu or stage not in ON_GPU), []
            for _ in probe.between(range(ROUNDS if stage != "decode" else ROUNDS // 2)):
                given = self._given(stage)
                start = clock.now()
                output = call(given)
                seconds.append(clock.now() - start)
            del given, output
            records.append(self._record(stage, seconds))
            ends += probe.records()
            if look:
                works.append(self._watched(call, stage))
        ends += [observe("end", self.device)] if self.on_gpu else []
        return RunRecord(self._header(), stages=tuple(records), works=tuple(works), reference_work=tuple(ends))

    def unchanged(self, stage: str) -> list[RunRecord]:
        """The sessions of one unchanged stage, measured on first use."""
        if stage not in self.known:
            self.known[stage] = [self.session([stage]) for _ in range(KNOWN[is_on_gpu(stage, self.device)])]
        return self.known[stage]

    def by(self, engine: str) -> Bench:
        """The same bench by another engine, under this engine's name."""
        return replace(self, pipeline=self.pipeline.with_engine(engine), known={})

    def _given(self, stage: str) -> Any:
        return self.pipeline.prefill(self.inputs["prefill"]) if stage == "decode" else self.inputs[stage]

    def _watched(self, call: Callable[[Any], Any], stage: str) -> WatchedWork:
        seen: list[Watched] = []
        for _ in range(WATCHED[is_on_gpu(stage, self.device)]):
            given, outputs = self._given(stage), []
            seen.append(watch(lambda: outputs.append(call(given)), stage, self.device))  # noqa: B023 - called at once
        watched = fastest(seen)
        counts = {**watched.counts, **self.pipeline.amounts(outputs[0])}
        names = {"model": self.pipeline.key, "engine": self.engine, "stage": stage, "test": stage}
        return replace(watched, sample="s1", counts=counts).record(**names, versions=versions(self.device))

    def _record(self, stage: str, seconds: Sequence[float]) -> StageRecord:
        return StageRecord(
            test=stage,
            model=self.pipeline.key,
            engine=self.engine,
            stage=stage,
            variant="",
            cold_s={"s1": seconds[0]},
            round_samples=("s1",) * len(seconds),
            round_s=tuple(seconds),
            tokens={"s1": TOKENS} if stage == "decode" else {},
            sources=(),
            memory={},
            failures=(),
        )

    def _header(self) -> Header:
        return Header(
            format_version=FORMAT_VERSION,
            started_at=timestamp(),
            environment={},
            options={},
            model_set="tiny",
            device=self.device,
            engines=(self.engine,),
            models=(self.pipeline.key,),
            draft=None,
            targets=(),
            dataset="",
            samples=(),
            limits={},
        )
