"""Time, memory and agreement of a quantised model versus the same model unquantised, on the same samples. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from harness.figures.agreement import Agreement
from harness.figures.roofline import rooflines
from harness.figures.speculation_cost import Costs, costs_of
from harness.records.lines import RunRecord

UNQUANTISED = "_unquantised"
"""Suffix of a model's key for the unquantised model that serves as target of its quantised self."""


class QuantisedFigures(msgspec.Struct, frozen=True):
    """One quantised model versus itself unquantised, with the facts of both."""

    model: str
    facts: Mapping[str, Any]
    unquantised: Mapping[str, Any]
    costs: Costs  # `c`: its decoding step over the unquantised model's
    agreement: Agreement  # tokens of the unquantised model that it predicts, given all tokens before them
    bandwidth_fraction: float | None  # fraction of its step that moving all bytes would take; None where not known


def quantised_figures(run: RunRecord) -> list[QuantisedFigures]:
    """Return the figures of every quantised model that drafted for its unquantised self, in the order of the header."""
    facts = {each.model: each.facts for each in run.models}
    costs = {each.target: costs_of(each) for each in run.speculation_costs}
    fractions = {each.model: each.fraction for each in rooflines(run) if (each.stage, each.variant) == ("decode", "")}
    found = []
    for model in run.header.models:
        itself = f"{model}{UNQUANTISED}"
        agreed = [agrees for each in run.agreements if each.target == itself for agrees in each.agrees["own"]]
        if itself in costs and agreed and {model, itself} <= facts.keys():
            of_both = facts[model], facts[itself], costs[itself]
            found.append(QuantisedFigures(model, *of_both, Agreement(sum(agreed), len(agreed)), fractions.get(model)))
    return found
