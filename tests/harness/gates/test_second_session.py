"""A second session that has no verdict of its own leaves the first one's as it was."""

from __future__ import annotations

from typing import Any

import pytest

from harness.gates.gate import judge_session, merged
from harness.records.lines import GateRecord
from tests.harness.gates.test_gate import baseline, session


@pytest.mark.parametrize("state", ["unstable", "missing baseline", "not run"])
def test_a_second_session_without_a_verdict_leaves_it_flagged_and_says_why(state: Any) -> None:
    (first, *_) = judge_session(session(1.2), baseline())
    (found,) = merged([first], [GateRecord(first.metric, state, "for a reason", loss=0.2, limit_of_mean=0.1)])
    assert (found.state, found.sentence) == ("flagged", f"{first.sentence}; not decided: for a reason")
