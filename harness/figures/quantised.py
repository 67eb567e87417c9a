"""What four or eight bits per weight save and cost, beside the same model unquantised on the same samples. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from harness.figures.agreement import Agreement
from harness.figures.roofline import rooflines
from harness.figures.speculation_cost import Costs, costs_of
from harness.records.lines import RunRecord

UNQUANTISED = "_unquantised"
"""What a quantised model's key ends in where it is a target of its own: unquantised."""


class QuantisedFigures(msgspec.Struct, frozen=True):
    """One quantised model beside itself unquantised; the facts of both."""

    model: str
    facts: Mapping[str, Any]
    unquantised: Mapping[str, Any]
    costs: Costs  # its step is c of the other's
    agreement: Agreement  # tokens of the other that it would write as well, given all before them
    moving: float | None  # share of its step in which the device could move all bytes; None where that is not known


def quantised_figures(run: RunRecord) -> list[QuantisedFigures]:
    """Return the figures of every model that drafted for itself unquantised, in the order of the header."""
    facts = {each.model: each.facts for each in run.models}
    costs = {each.target: costs_of(each) for each in run.speculation_costs}
    moving = {each.model: each.fraction for each in rooflines(run) if (each.stage, each.variant) == ("decode", "")}
    found = []
    for model in run.header.models:
        itself = f"{model}{UNQUANTISED}"
        agreed = [agrees for each in run.agreements if each.target == itself for agrees in each.agrees["own"]]
        if itself in costs and agreed and {model, itself} <= facts.keys():
            of_both = facts[model], facts[itself], costs[itself]
            found.append(QuantisedFigures(model, *of_both, Agreement(sum(agreed), len(agreed)), moving.get(model)))
    return found
