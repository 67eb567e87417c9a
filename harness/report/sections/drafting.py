"""Speculative decoding: acceptance, costs and speedup of each pair."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from harness.figures.intervals import Interval
from harness.figures.speculation import SpeculationFigures
from harness.records.lines import RunRecord
from harness.records.quantities import counted
from harness.report.blocks import Section, Sentences, Table, Text, ends, figure, filled, joined, name, text, with_ends
from harness.report.formatting import change, duration, fraction, hundredths, percent, significant, times, with_unit
from harness.report.naming import label

SEES = {"own": "its pictures", "shuffled": "another sample's", "blind": "none", "self": "the target itself"}
FigureSpec = tuple[Callable[[float], str], float | Interval | None, str]  # format, value and name of a figure
SHOWN_LENGTHS = (1, 2, 4, 6, 8, 16, 32)


def pair_line(run: RunRecord, found: SpeculationFigures) -> Text:
    """Return one line on a pair: its speedup, its acceptance with and without pictures, and the lift."""
    place = name(found.target, found.engine)
    outcome: list[Text] = []
    if found.speedup is not None:
        speedup = figure(times, found.speedup.value, "pair_speedup", place)
        outcome.append(text("{speedup}, {pays}", speedup=speedup, pays=pays(found.speedup)))
    shares: list[Text] = [
        text("{what} {share}", what=what, share=figure(fraction, each.value, "accepted", kind, place))
        for kind, what in (("own", "acceptance"), ("blind", "blind"))
        if (each := found.acceptance.get(kind))
    ]
    if found.lift is not None:
        shares.append(text("lift {lift}", lift=figure(fraction, found.lift.value, "lift", place)))
    if shares:
        outcome.append(joined(shares, ", "))
    draft, target = label(run, found.draft), label(run, found.target, found.engine)
    return text("{draft} drafting for {target}: {outcome}", draft=draft, target=target, outcome=joined(outcome, "; "))


def pays(speedup: Interval) -> str:
    """Return words on whether a pair is faster than the target alone, by the speedup's interval."""
    if not speedup.is_bounded:
        return "too few requests to say whether it pays"
    if speedup.low > 1:
        return "pays"
    return "does not pay" if speedup.high < 1 else "no clear gain or loss"


def section(run: RunRecord, found: SpeculationFigures) -> Section:
    """Return the section on one target with the draft."""
    place = name(found.target, found.engine)
    of_acceptance: list[list[Text]] = [
        [
            SEES.get(kind, kind),
            figure(fraction, each.value, "accepted", kind, place),
            ends(each, fraction, "accepted", kind, place),
        ]
        for kind, each in found.acceptance.items()
    ]
    known = found.statistics
    survival, conditional = (known.survival, known.conditional_at) if known else ((), ())
    by_position = [
        [what, *("" if value is None else figure(fraction, value, key, str(k), place) for k, value in enumerate(of, 1))]
        for what, key, of in (
            ("accepted up to here", "survival", survival),
            ("accepted, if all before were", "conditional", conditional),
        )
        if of
    ]
    steps = found.cost_model.costs.v if found.cost_model else {}
    shown = [m for m in SHOWN_LENGTHS if m in steps]
    row: list[Text] = ["v, decoding steps", *(figure(significant, steps[m], "v", str(m), place) for m in shown)]
    blocks = filled(
        Table(("the draft sees", "acceptance", "95 % interval"), of_acceptance),
        Table(["position in the proposal", *map(str, range(1, len(survival) + 1))], by_position),
        Table(["tokens of a pass", *map(str, shown)], [row] if shown else []),
        Sentences([*_payoff(found, place), *_lines(found, place)]),
    )
    lead = (
        f"Speculative decoding: {found.engine}, gamma {found.gamma}, {counted(found.requests, 'request')}. "
        "The controls show how much of the acceptance comes from the pictures."
    )
    draft, target = label(run, found.draft), label(run, found.target, found.engine)
    return Section(name("drafting", place), f"{draft} drafting for {target}", blocks, lead, brief=True)


def _sentence(place: str, template: str, *, words: Mapping[str, Text] = {}, **figures: FigureSpec) -> Iterator[Text]:
    """Yield the template filled with words and figures, or nothing if a figure is None."""
    if all(value is not None for _, value, _ in figures.values()):
        shown = {
            where: with_ends(value, digits, key, place)
            if isinstance(value, Interval)
            else figure(digits, value or 0.0, key, place)
            for where, (digits, value, key) in figures.items()
        }
        yield text(template, **shown, **words)


def _payoff(found: SpeculationFigures, place: str) -> Iterator[Text]:
    """Yield the costs, predicted and measured speedup, the best gamma, and the break-even acceptance."""
    sentence = partial(_sentence, place)
    if found.cost_model is not None:
        model, costs = found.cost_model, found.cost_model.costs
        yield from sentence(
            "A drafted token takes c = {c} decoding steps of the target, which take {step} each.",
            c=(fraction, costs.c, "c"),
            step=(duration, costs.step_s, "step"),
        )
        yield from sentence(
            "Decoding alone: measured {measured}, predicted {predicted} by tau / (gamma c + v), off by {off} %.",
            measured=(times, found.decode_speedup, "decode_speedup"),
            predicted=(times, model.predicted, "predicted"),
            off=(change, found.residual, "residual"),
        )
        gamma, speedup = model.best_gamma or (0, None)
        template = "Best gamma: {gamma}, {speedup}." if gamma else "Best gamma: 0, the target without a draft."
        yield from sentence(template, words={"gamma": str(gamma)}, speedup=(times, speedup, "best_gamma"))
        if model.least_break_even is None:
            yield "A draft of this cost pays at no gamma, whatever its acceptance."
        else:
            least, acceptance = model.least_break_even
            here = next(iter(sentence("from {here} on", here=(fraction, model.break_even, "break_even"))), "at none")
            at_gamma = text("; at gamma {gamma} {here}", gamma=str(found.gamma), here=here)
            yield from sentence(
                "A draft of this cost pays from an acceptance of {needed} on, at gamma {least}{at_gamma}.",
                words={"least": str(least), "at_gamma": at_gamma if least != found.gamma else ""},
                needed=(fraction, acceptance, "least_break_even"),
            )


def _lines(found: SpeculationFigures, place: str) -> Iterator[Text]:
    sentence = partial(_sentence, place)
    yield from sentence(
        "Seeing the right pictures raises acceptance by {lift}, {effect}.",
        words={"effect": "a clear effect" if found.lift and found.lift.excludes_zero else "no clear effect"},
        lift=(fraction, found.lift, "lift"),
    )
    if found.statistics is not None:
        yield from sentence(
            "Mean acceptance length {length} tokens per round, the target's own included; acceptance rate {rate}; "
            "of the proposals that the target examined, {conditional} were accepted.",
            length=(hundredths, found.statistics.mean_acceptance_length, "tokens_a_round"),
            rate=(fraction, found.statistics.acceptance_rate, "acceptance_rate"),
            conditional=(fraction, found.statistics.conditional, "conditional"),
        )
    ties = f", {found.near_ties} differ from it at a near tie" if found.near_ties else ""
    yield from sentence(
        "Wall clock from files to answer, target alone over pair: {speedup}. {slower} % of requests became slower. "
        "{identical} of {requests} answers are the target's own{ties}.",
        words={"identical": str(found.identical), "requests": str(found.requests), "ties": ties},
        speedup=(times, found.speedup, "pair_speedup"),
        slower=(percent, found.slower_share, "slower_share"),
    )
    template = "Time to first token, target alone over pair: {factor}."
    yield from sentence(template, factor=(times, found.first_token, "first_token"))
    yield from sentence(
        "Memory: {weights} for the draft's weights, and {added} more at the peak of a request.",
        weights=(with_unit, found.draft_weights_bytes, "draft_weights"),
        added=(with_unit, found.added_peak_bytes, "added_peak"),
    )
