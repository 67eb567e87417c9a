"""A quantised model beside itself: bytes, time of a step and tokens that agree; and the one sentence about them."""

from __future__ import annotations

import msgspec
import pytest

from fixtures.model_sets.loading import UNQUANTISED
from harness.figures import quantised
from harness.figures.agreement import Agreement
from harness.figures.quantised import quantised_figures
from harness.figures.speculation import speculation_figures
from harness.records.lines import MachineRecord, ModelRecord, RunRecord, StageWork
from harness.report.blocks import plain
from harness.report.content import report_of
from tests.harness.made_runs import agreement, cost, header, stage_test

ITSELF = "egpt_unquantised"


def facts(quantisation: str, size: int) -> dict[str, object]:
    return {"quantisation": quantisation, "parameter_bytes": size, "dtype": "bfloat16"}


def made(*samples: tuple[bool, ...]) -> RunRecord:
    """EventGPT in a quarter of the bytes; a step takes 60 ms and unquantised 40."""
    models = (ModelRecord("egpt", 1.0, 1, facts("nf4", 4 << 30)), ModelRecord(ITSELF, 1.0, 1, facts("none", 16 << 30)))
    agreed = [agreement(f"s{n}", each, each, target=ITSELF) for n, each in enumerate(samples)]
    costs = (cost(step_s=0.04, c=1.5, target=ITSELF, dtype="bfloat16"),)
    return RunRecord(header(), models, agreements=tuple(agreed), speculation_costs=costs)


def test_both_rooms_call_the_unquantised_model_alike() -> None:
    assert quantised.UNQUANTISED == UNQUANTISED


def test_every_token_of_the_unquantised_model_counts() -> None:
    (found,) = quantised_figures(made((True, True, True, False), (False, True)))
    assert found.agreement == Agreement(4, 6)
    assert (found.facts, found.unquantised) == (facts("nf4", 4 << 30), facts("none", 16 << 30))
    assert (found.costs.c, found.costs.step_s) == (1.5, 0.04)
    assert found.bandwidth_fraction is None


def test_a_model_beside_itself_is_no_pair_of_draft_and_target() -> None:
    assert speculation_figures(made((True,), (True,))) == []


@pytest.mark.parametrize("lacking", ["models", "agreements", "speculation_costs"])
def test_nothing_is_said_where_a_part_was_not_measured(lacking: str) -> None:
    run = made((True,), (True,))
    assert quantised_figures(run)
    assert quantised_figures(msgspec.structs.replace(run, **{lacking: ()})) == []


def test_one_sentence_says_bytes_speed_agreement_and_why() -> None:
    run = made((True, True, True, False), (True, True, True, True))
    begun = "egpt in nf4: 25.0 % of the bytes of bfloat16 (4096 MiB), 1.50x its time per token (60.00 ms), "
    begun += "0.875 of its tokens"
    assert plain(report_of(run, "run").headlines[-1]) == begun
    # A step of 60 ms, in which the device could move ten times as much.
    work = {"s1": StageWork(18e6, 1.0, "bfloat16")}
    decode = stage_test("egpt", "decode", {"s1": [0.18]}, work=work)
    others = (
        stage_test("egpt", "vision", {"s1": [0.9]}, work=work),
        stage_test("llava", "decode", {"s1": [1]}, work=work),
    )
    machine = MachineRecord(1e9, 1e9, {"bfloat16": 1e12})
    why = "; moving bytes is 10.0 % of a step, launches and unpacking the rest"
    measured = msgspec.structs.replace(run, stages=(decode, *others), machine=machine)
    assert plain(report_of(measured, "run").headlines[-1]) == begun + why
