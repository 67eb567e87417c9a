"""The minimum effect of a stage on a GPU follows the spread of the baseline's sessions."""

from __future__ import annotations

import math

import pytest

from tests.harness.gates.test_gate import T_97, baseline, session, verdict
from tests.harness.made_runs import header


@pytest.mark.parametrize(
    ("spread", "limit"), [(0.0, 0.005), (0.0019, 0.005), (0.0021, 0.01), (0.0049, 0.01), (0.0051, 0.03)]
)
def test_a_stage_on_a_gpu_has_a_finer_edge_the_less_its_sessions_differ(spread: float, limit: float) -> None:
    on_gpu = header(device="cuda")
    half = spread * math.sqrt(0.9)
    known = baseline(*(session(math.exp(half * (-1) ** number), header=on_gpu) for number in range(10)))
    found = verdict(session(header=on_gpu), known)
    widened = T_97 * spread * math.sqrt(1.1)
    assert found.limit == pytest.approx(max(math.log1p(limit), widened), rel=1e-3)
    assert found.state == "pass"
    slower = verdict(session(1.001 * math.exp(found.limit), header=on_gpu), known)
    assert slower.state == "flagged"
