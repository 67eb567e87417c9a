"""What a draft is worth: speculative decoding, and how far answers that were written independently agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean

from harness.figures.agreement import Replay, TokenPair, replay
from harness.figures.intervals import Interval
from harness.figures.passes import Comparison, comparisons, paired, passes
from harness.figures.speculation import CostModel, SpeculationFigures, speculation_figures
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import Block, Chart, Section, Sentences, Table, Text, ends, figure, joined, name, text
from harness.report.formatting import (
    change,
    fraction,
    hundredths,
    milliseconds,
    percent,
    significant,
    times,
    whole,
    with_unit,
)
from harness.report.naming import label

SEES = {"own": "its pictures", "shuffled": "another sample's", "blind": "none", "self": "the target itself"}
SHOWN_LENGTHS = (1, 2, 4, 6, 8, 16, 32)


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield one section for each target that was drafted for, and one for the answers as they were written."""
    for found in speculation_figures(run):
        yield _speculation(run, found)
    pairs = answer_pairs(run)
    if pairs:
        forecasts = [each for each in comparisons(run) if each.engine == run.header.engines[0]]
        yield agreement(pairs, int(run.header.options.get("gamma", 5)), forecasts)


def answer_pairs(run: RunRecord) -> dict[str, list[TokenPair]]:
    """Return draft's and target's answers by target, from the first engine's whole passes.

    None of the set `full`, whose random weights agree by chance alone.
    """
    if run.header.draft is None or run.header.model_set == "full":
        return {}
    engine = run.header.engines[0]
    draft = passes(run, "whole", run.header.draft, engine)
    questions = {each.id: each.query for each in run.header.samples}
    found = {}
    for target in run.header.targets:
        both = paired(draft, passes(run, "whole", target, engine))
        pairs = [
            TokenPair(mine.sample, mine.token_ids, theirs.token_ids, questions.get(mine.sample, ""))
            for mine, theirs in both
        ]
        known = [pair for pair in pairs if pair.draft and pair.target]
        if known:
            found[target] = known
    return found


def agreement(pairs: Mapping[str, Sequence[TokenPair]], gamma: int, forecasts: Sequence[Comparison] = ()) -> Section:
    """Return the section on answers that were written independently, beside shuffled pairs of them."""
    found = {target: replay(each, gamma) for target, each in pairs.items()}
    intervals: list[list[Text]] = [
        [
            target,
            ends(each.per_sample_interval, fraction, "agreement", "per_sample", target),
            ends(each.shuffled_interval, fraction, "agreement", "shuffled", target),
        ]
        for target, each in found.items()
        if each.per_sample_interval
    ]
    survival: list[list[Text]] = [
        [target, *(figure(fraction, value, "prefix", target, str(k)) for k, value in enumerate(each.survival, start=1))]
        for target, each in found.items()
    ]
    columns = (
        "target", "pairs", "positions", "mean of samples", "beyond shuffled", "all tokens", "from the start", "none %",
    )  # fmt: skip
    blocks: list[Block] = [
        Table(columns, [row for target, each in found.items() for row in _agreement_rows(target, each)]),
        *([Table(("mean of samples, 95 % interval", "own pairs", "shuffled"), intervals)] if intervals else []),
        Table(("share whose first tokens all agree", *(str(k) for k in range(1, gamma + 1))), survival),
        *([Sentences([_forecast(each) for each in forecasts])] if forecasts else []),
    ]
    lead = (
        "Position by position, two answers that were written independently: not the acceptance rate of speculative "
        "decoding. Shuffled pairs are answers to the same question about different samples: what is agreed on there "
        "needs no picture. "
        "From the start: tokens before the first that differs, and how many pairs have none."
    )
    return Section("agreement", "Agreement of the answers", blocks, lead, brief=True)


def _agreement_rows(target: str, found: Replay) -> Iterator[list[Text]]:
    def shown(digits: Callable[[float], str], value: float | None, what: str) -> Text:
        return "" if value is None else figure(digits, value, "agreement", what, target)

    per_sample, none = found.shuffled_per_sample, fmean([length == 0 for length in found.prefixes])
    yield [
        target,
        shown(whole, found.samples, "samples"),
        f"{found.matched} of {found.compared}",
        shown(fraction, found.per_sample, "per_sample"),
        shown(fraction, None if per_sample is None else found.per_sample - per_sample, "beyond_shuffled"),
        shown(fraction, found.token_weighted, "all_tokens"),
        shown(hundredths, fmean(found.prefixes), "prefix"),
        shown(percent, none, "no_prefix"),
    ]
    if per_sample is not None:
        yield [
            text("{target}, shuffled", target=target),
            shown(whole, found.shuffled_pairings, "pairings"),
            "",
            shown(fraction, per_sample, "shuffled"),
            "",
            shown(fraction, found.shuffled_token_weighted, "shuffled_all_tokens"),
            shown(hundredths, found.shuffled_prefix_mean, "shuffled_prefix"),
            "",
        ]


def _forecast(found: Comparison) -> Text:
    return text(
        "The old script's forecast for {target} from this agreement, not a measurement: S = {speedup} at gamma "
        "{gamma}, c = {cost}.",
        target=found.target,
        speedup=figure(times, found.theoretical_speedup, "forecast", found.target, found.engine),
        gamma=str(found.gamma),
        cost=figure(fraction, found.cost_ratio, "cost_ratio", found.target, found.engine),
    )


def _speculation(run: RunRecord, found: SpeculationFigures) -> Section:
    place = name(found.target, found.engine)
    blocks: list[Block] = [Sentences([_pair_line(run, found, place)], in_summary=True)]
    if found.acceptance:
        rows: list[list[Text]] = [
            [
                SEES.get(kind, kind),
                figure(fraction, each.value, "accepted", kind, place),
                ends(each, fraction, "accepted", kind, place),
            ]
            for kind, each in found.acceptance.items()
        ]
        blocks.append(Table(("the draft sees", "acceptance", "95 % interval"), rows))
    lines = list(_lines(found, place))
    more = [*_by_position(found, place), *_costs(found, place), *([Sentences(lines)] if lines else [])]
    # Charts beside each other, then tables, then words: what is of one height stands in one row.
    blocks += sorted(more, key=lambda block: [Chart, Table, Sentences].index(type(block)))
    lead = (
        f"Speculative decoding: {found.engine}, gamma {found.gamma}, {found.requests} requests. "
        "Teacher-forced acceptance: at each position of the target's answer, does the draft agree? "
        "The controls tell what of it comes from seeing."
    )
    heading = f"{found.draft} drafting for {found.target}"
    return Section(name("drafting", place), heading, blocks, lead, brief=True)


def _pair_line(run: RunRecord, found: SpeculationFigures, place: str) -> Text:
    """What a pair came to, in one line."""
    outcome: list[Text] = []
    if found.speedup is not None:
        speedup = figure(times, found.speedup.value, "pair_speedup", place)
        outcome.append(text("{speedup}, {pays}", speedup=speedup, pays=_pays(found.speedup)))
    known = [(kind, found.acceptance[kind]) for kind in ("own", "blind") if kind in found.acceptance]
    shares = (
        text(
            "{what} {share}",
            what={"own": "acceptance", "blind": "blind"}[kind],
            share=figure(fraction, each.value, "accepted", kind, place),
        )
        for kind, each in known
    )
    outcome += [joined(shares, ", ")] if known else []
    return text(
        "{draft} drafting for {target}: {outcome}",
        draft=found.draft,
        target=label(run, found.target, found.engine),
        outcome=joined(outcome, "; "),
    )


def _pays(speedup: Interval) -> str:
    if not speedup.is_bounded:
        return "too few requests to say whether it pays"
    return "pays" if speedup.low > 1 else "does not pay" if speedup.high < 1 else "no clear gain or loss"


def _by_position(found: SpeculationFigures, place: str) -> Iterator[Block]:
    if found.statistics is None or not found.statistics.survival:
        return
    survival, conditional = found.statistics.survival, found.statistics.conditional_at
    positions = tuple(range(1, len(survival) + 1))
    rows: list[list[Text]] = [
        [
            "accepted up to here",
            *(figure(fraction, value, "survival", str(k), place) for k, value in enumerate(survival, 1)),
        ],
        [
            "of those that came so far",
            *(
                figure(fraction, value, "conditional", str(k), place) if value is not None else ""
                for k, value in enumerate(conditional, 1)
            ),
        ],
    ]
    reached = [(k, value) for k, value in zip(positions, conditional, strict=True) if value is not None]
    groups = [
        charts.Group("accepted up to here", "m1", positions, survival),
        charts.Group("of those that came so far", "m2", [k for k, _ in reached], [value for _, value in reached]),
    ]
    yield Chart(
        "Survival by position",
        "share of rounds in which the proposal was accepted up to each position",
        lambda: charts.curves(groups, "position in the proposal", "share of rounds"),
    )
    yield Table(["position in the proposal", *map(str, positions)], rows)
    if found.by_position:
        shares = [
            figure(fraction, each.accepted / each.looked_at, "by_place", str(each.first), place)
            for each in found.by_position
        ]
        columns = ["place in the answer", *(f"{each.first}-{each.last}" for each in found.by_position)]
        yield Table(columns, [["acceptance rate", *shares]])


def _lines(found: SpeculationFigures, place: str) -> Iterator[Text]:
    if found.lift is not None:
        yield text(
            "Seeing the right pictures raises acceptance by {lift}{ends}, {effect}.",
            lift=figure(fraction, found.lift.value, "lift", place),
            ends=_interval(ends(found.lift, fraction, "lift", place)),
            effect="a clear effect" if found.lift.excludes_zero else "no clear effect",
        )
    if (
        found.statistics is not None
        and found.statistics.conditional is not None
        and found.statistics.acceptance_rate is not None
    ):
        yield text(
            "Mean acceptance length {length} tokens per round, the target's own included; acceptance rate {rate}; "
            "of the proposals looked at {conditional} were accepted.",
            length=figure(hundredths, found.statistics.mean_acceptance_length, "tokens_a_round", place),
            rate=figure(fraction, found.statistics.acceptance_rate, "acceptance_rate", place),
            conditional=figure(fraction, found.statistics.conditional, "conditional", place),
        )
    each = found.by_request
    if each is not None and each.conditional is not None and each.acceptance_rate is not None:
        yield text(
            "Means over the requests: {length} tokens per round, {rate} and {conditional}.",
            length=figure(hundredths, each.mean_acceptance_length, "by_request", "tokens_a_round", place),
            rate=figure(fraction, each.acceptance_rate, "by_request", "acceptance_rate", place),
            conditional=figure(fraction, each.conditional, "by_request", "conditional", place),
        )
    if found.speedup is not None and found.slower_share is not None:
        yield text(
            "Wall clock, everything charged: {speedup}{ends}. {slower} % of the requests became slower. "
            "{identical} of {requests} answers are the target's own{ties}.",
            speedup=figure(times, found.speedup.value, "pair_speedup", place),
            ends=_interval(ends(found.speedup, times, "pair_speedup", place)),
            slower=figure(percent, found.slower_share, "slower_share", place),
            identical=str(found.identical),
            requests=str(found.requests),
            ties=f", {found.near_ties} differ from it at a near tie" if found.near_ties else "",
        )
    if found.first_token is not None:
        yield text(
            "Time to first token, target alone over pair: {factor}{ends}.",
            factor=figure(times, found.first_token.value, "first_token", place),
            ends=_interval(ends(found.first_token, times, "first_token", place)),
        )
    if found.draft_weights_bytes is not None and found.added_peak_bytes is not None:
        yield text(
            "Memory: the draft's weights, {weights}, and {added} more at the peak of a request.",
            weights=figure(with_unit, found.draft_weights_bytes, "draft_weights", place),
            added=figure(with_unit, found.added_peak_bytes, "added_peak", place),
        )


def _interval(found: Text) -> Text:
    return text(" (95 %: {ends})", ends=found) if found else ""


def _costs(found: SpeculationFigures, place: str) -> Iterator[Block]:
    """What the pieces cost, v(m) above all, and what follows from it: predicted and measured, where it pays."""
    if found.cost_model is None:
        return
    costs = found.cost_model.costs
    lengths, steps = tuple(costs.v), tuple(costs.v.values())
    yield Chart(
        "v(m): one pass of the target over m tokens",
        "cost of a pass in decoding steps of the target alone, by the number of its tokens",
        lambda: charts.curves([charts.Group("v(m)", "m2", lengths, steps)], "tokens of a pass", "decoding steps"),
    )
    shown = [m for m in SHOWN_LENGTHS if m in costs.v]
    row: list[Text] = ["v, decoding steps", *(figure(significant, costs.v[m], "v", str(m), place) for m in shown)]
    yield Table(["tokens of a pass", *map(str, shown)], [row])
    yield Sentences(list(_payoff(found, found.cost_model, place)))


def _payoff(found: SpeculationFigures, cost_model: CostModel, place: str) -> Iterator[Text]:
    yield text(
        "A drafted token takes c = {c} decoding steps of the target, which take {step} ms each.",
        c=figure(fraction, cost_model.costs.c, "c", place),
        step=figure(milliseconds, cost_model.costs.step_s, "step", place),
    )
    if cost_model.predicted is not None and found.decode_speedup is not None and found.residual is not None:
        yield text(
            "Decoding alone: measured {measured}, predicted {predicted} by tau / (gamma c + v), off by {off} %.",
            measured=figure(times, found.decode_speedup, "decode_speedup", place),
            predicted=figure(times, cost_model.predicted, "predicted", place),
            off=figure(change, found.residual, "residual", place),
        )
    if cost_model.best_gamma is not None:
        gamma, speedup = cost_model.best_gamma
        template = "Best gamma: {gamma}, {speedup}." if gamma else "Best gamma: 0, the target left alone."
        yield text(template, gamma=str(gamma), speedup=figure(times, speedup, "best_gamma", place))
    if cost_model.least_break_even is None:
        yield "A draft of this cost pays at no gamma, whatever its acceptance."
        return
    gamma, acceptance = cost_model.least_break_even
    at_gamma: Text = ""
    if gamma != found.gamma:
        template = (
            "; at gamma {gamma} from {here} on" if cost_model.break_even is not None else "; at gamma {gamma} at none"
        )
        here = figure(fraction, cost_model.break_even or 0.0, "break_even", place)
        at_gamma = text(template, gamma=str(found.gamma), here=here)
    yield text(
        "A draft of this cost pays from an acceptance of {needed} on, at gamma {least}{at_gamma}.",
        needed=figure(fraction, acceptance, "least_break_even", place),
        least=str(gamma),
        at_gamma=at_gamma,
    )
