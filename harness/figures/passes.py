"""What the whole pass says of one model by itself: mean times of its stages, tokens, and each sample's own time."""

from __future__ import annotations

import msgspec

from harness.figures.stages import load_s_by_state, pass_s, passes
from harness.figures.summary import mean
from harness.records.lines import PassRecord, RunRecord
from harness.stages import STAGES, UNDIVIDED


class PassFigure(msgspec.Struct, frozen=True):
    """The whole passes of one model by one engine, of the samples that came through."""

    model: str
    engine: str
    records: tuple[PassRecord, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that were timed, in order; old files have the last three in one."""
        return tuple(stage for stage in (*STAGES, UNDIVIDED) if stage in self.records[0].stage_s)

    def stage_s(self, stage: str) -> list[float]:
        """Return the time of one stage, sample by sample."""
        return [record.stage_s[stage] for record in self.records]

    def mean_s(self, stage: str) -> float:
        """Return the mean time of a stage."""
        return mean(self.stage_s(stage))

    @property
    def total_s(self) -> dict[str, float]:
        """Each sample's time, its stages added up."""
        return {record.sample: pass_s(record) for record in self.records}

    @property
    def mean_total_s(self) -> float:
        """Mean time of a sample."""
        return mean(list(self.total_s.values()))

    def share(self, stage: str) -> float:
        """Return the part of the model's own time that a stage takes: what would be saved if it were free."""
        return self.mean_s(stage) / self.mean_total_s

    @property
    def mean_tokens(self) -> float | None:
        """Mean number of new tokens; None in files that have not got the tokens."""
        counts = [len(record.token_ids) for record in self.records]
        return mean(counts) if any(counts) else None

    @property
    def load_is_mixed(self) -> bool:
        """Whether stage 1 found some files in another state than others, so that its mean means little."""
        return len(load_s_by_state(self.records)) > 1


def pass_figures(run: RunRecord) -> list[PassFigure]:
    """Return the whole passes of every model and engine that has some, in the order of the header."""
    found = [
        PassFigure(model, engine, tuple(passes(run, "whole", model, engine).values()))
        for model in run.header.models
        for engine in run.header.engines
    ]
    return [each for each in found if each.records]
