"""The table of conditions reads what harness.measuring.environment writes: by the same keys, and all of it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from harness.measuring.environment import stable_environment, volatile_environment
from harness.records.lines import AttemptRecord, RunRecord
from harness.report.content import report_of
from harness.report.markdown import markdown
from harness.report.sections.conditions import ENVIRONMENT, environment
from tests.harness.made_runs import header

UNSHOWN = {
    "ranks_per_node", "sentinel_workloads", "pid", "command", "gpu.uuid", "git.dirty", "git.changes",
}  # fmt: skip
"""What tells runs apart, or is said elsewhere (a dirty checkout is a warning)."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The environment of a run on a GPU whose driver answers everything."""
    card = SimpleNamespace(name="a card", uuid="1-2", total_memory=24 << 30, major=9, minor=0)
    driver = MagicMock(NVMLError=RuntimeError)
    driver.nvmlDeviceGetEnforcedPowerLimit.return_value = 700_000
    driver.nvmlDeviceGetPowerUsage.return_value = 90_000
    driver.nvmlSystemGetDriverVersion.return_value = "570.1"
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: card)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    return stable_environment("cuda") | volatile_environment("cuda")


def keys(recorded: dict[str, Any]) -> set[str]:
    """Every key of an environment; of GPU and git those inside, which are conditions by themselves."""
    inside = {f"{part}.{key}" for part in ("gpu", "git") for key in recorded[part]}
    return inside | (set(recorded) - {"gpu", "git"})


def test_each_condition_is_read_by_a_key_that_is_written(recorded: dict[str, Any]) -> None:
    read = {".".join(path) for path, _ in ENVIRONMENT.values()}
    assert read - keys(recorded) == {"gpu.unknown"}  # written where the driver cannot be asked
    assert keys(recorded) - read == UNSHOWN


def test_the_power_cap_of_the_card_is_shown(recorded: dict[str, Any]) -> None:
    found = environment(recorded)
    assert (found["power cap"], found["driver"], found["GPU memory"]) == ("700 W", "570.1", "24.0 GiB")
    run = RunRecord(header(device="cuda", environment=recorded))
    assert "| power cap | 700 W |" in markdown(report_of(run, "x"))


def test_what_was_not_recorded_has_no_row() -> None:
    assert environment({"gpu": None, "git": None}) == {}


def test_a_run_that_was_resumed_says_when() -> None:
    attempts = (AttemptRecord("2026-03-05T01:02:03+00:00", {}), AttemptRecord("2026-03-06T01:02:03+00:00", {}, rank=1))
    assert "| resumed | 2026-03-05T01:02:03+00:00 |" in markdown(report_of(RunRecord(header(), attempts=attempts), "x"))
    assert "resumed" not in markdown(report_of(RunRecord(header()), "x"))
