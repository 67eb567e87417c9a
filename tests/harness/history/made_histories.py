"""Histories made by hand: sessions of all stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.records.lines import EndRecord, RunRecord
from harness.stages import STAGES
from tests.harness.made_runs import ENVIRONMENT, header, stage_test

COMMIT = "{:040x}".format


def session(number: int, factors: dict[str, float], models: Sequence[str] = ("egpt",), **changes: Any) -> RunRecord:
    """A run of all stages of some models, a day after the one before; `factors`: of a stage's 0.1 s, by stage."""
    day = np.datetime64("2026-01-01T02:00:00") + np.timedelta64(number, "D")
    environment = {**ENVIRONMENT, "pid": number, "git": {"commit": COMMIT(number + 1)}}
    fields = {"started_at": f"{day}+00:00", "environment": environment, "models": tuple(models), "targets": ()}
    return RunRecord(
        header=header(**fields | changes),
        stages=tuple(
            stage_test(model, stage, {"s1": [0.1 * factors[stage]] * 4})
            for model in models
            for stage in STAGES
            if stage in factors
        ),
        end=EndRecord(f"{day}+00:00", 0, "passed"),
    )


def factors(draw: np.random.Generator, noise: float = 0.003) -> dict[str, float]:
    """Factors of all stages about 1."""
    return {stage: float(np.exp(draw.normal(0, noise))) for stage in STAGES}
