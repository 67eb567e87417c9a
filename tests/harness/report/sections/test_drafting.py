"""Every figure of a pair has its place in the report, and the line that the terminal shows says whether it pays."""

from __future__ import annotations

from typing import Any

import pytest

from harness.figures.speculation import speculation_figures
from harness.records.lines import RunRecord
from harness.records.speculation import DivergenceRecord
from harness.report.blocks import Sentences, Table, plain
from harness.report.content import report_of
from harness.report.sections import drafting
from tests.harness.made_runs import agreement, cost, header, loaded, request


def pair(**changes: Any) -> RunRecord:
    fields: dict[str, Any] = {
        "agreements": (agreement("a", (True, True, False), (True, False, False)),),
        "speculations": (request("a"), request("b", identical=False, divergence=DivergenceRecord(3, 0.25, 0.5))),
        "speculation_costs": (cost(),),
        "models": (loaded("egpt", 7),),
    }
    return RunRecord(header(options={"gamma": 4}), **fields | changes)


def test_every_figure_of_a_pair_is_there() -> None:
    run = pair()
    (found,) = speculation_figures(run)
    section = drafting.section(run, found)
    assert section.title == "egpt drafting for videollava"
    assert section.lead.startswith("Speculative decoding: eager, gamma 4, 2 requests.")
    cells = [
        [plain(cell) for cell in row] for block in section.blocks if isinstance(block, Table) for row in block.rows
    ]
    assert cells == [
        ["its pictures", "0.500", ""],
        ["another sample's", "0.000", ""],
        ["accepted up to here", "1.000", "1.000", "1.000", "0.500"],
        ["accepted, if all before were", "1.000", "1.000", "1.000", "0.500"],
        ["v, decoding steps", *["2.00"] * 7],
    ]
    lines = [plain(line) for block in section.blocks if isinstance(block, Sentences) for line in block.lines]
    assert lines == [
        "A drafted token takes c = 0.250 decoding steps of the target, which take 1000 ms each.",
        "Decoding alone: measured 3.00x, predicted 1.50x by tau / (gamma c + v), off by +100.0 %.",
        "Best gamma: 0, the target without a draft.",
        "A draft of this cost pays from an acceptance of 0.741 on, at gamma 4.",
        "Seeing the right pictures raises acceptance by 0.500, no clear effect.",
        "Mean acceptance length 4.50 tokens per round, the target's own included; acceptance rate 0.875; of the "
        "proposals that the target examined, 0.875 were accepted.",
        "Wall clock from files to answer, target alone over pair: 2.00x (2.00x to 2.00x). 0.0 % of requests became "
        "slower. 1 of 2 answers are the target's own, 1 differ from it at a near tie.",
        "Time to first token, target alone over pair: 0.50x (0.50x to 0.50x).",
        "Memory: 7 MiB for the draft's weights, and 10 MiB more at the peak of a request.",
    ]


@pytest.mark.parametrize(
    ("pair_s", "pays"),
    [
        ((5.0, 5.1), "pays"),
        ((20.0, 20.1), "does not pay"),
        ((5.0, 20.0), "no clear gain or loss"),
        ((5.0,), "too few requests to say whether it pays"),
    ],
)
def test_a_pair_pays_where_its_interval_lies_on_one_side(pair_s: tuple[float, ...], pays: str) -> None:
    requests = tuple(request(str(number), pair_s=seconds) for number, seconds in enumerate(pair_s))
    (line,) = report_of(pair(speculations=requests), "x").headlines
    assert f", {pays}; acceptance 0.500, lift 0.500" in plain(line)
