"""What a draft's words are worth: agreement of answers beside what chance gives, and speculative decoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.figures.replay import Replay, TokenPair, replay
from harness.figures.speculation import CostModel, Interval, SpeculationFigures, speculation_figures
from harness.figures.stages import paired, passes
from harness.records.lines import RunRecord
from harness.report import charts
from harness.report.blocks import (
    Block,
    Chart,
    Section,
    Sentences,
    Table,
    Words,
    count,
    decimal,
    factor,
    moved,
    ratio,
    seconds,
    share,
    significant,
    size,
    words,
)
from harness.report.naming import name
from harness.report.speculation_text import SEES, SHOWN_PASSES


def sections(run: RunRecord) -> Iterator[Section]:
    """Yield one section for each target that was drafted for, and one for the answers as they were written."""
    for found in speculation_figures(run):
        yield _speculation(found)
    pairs = answer_pairs(run)
    if pairs:
        yield agreement(pairs, int(run.header.options.get("gamma", 5)))


def answer_pairs(run: RunRecord) -> dict[str, list[TokenPair]]:
    """Return draft's and target's answers by target, from the first engine's whole passes.

    None of the set `full`, whose random weights agree by chance alone.
    """
    if run.header.draft is None or run.header.model_set == "full":
        return {}
    engine = run.header.engines[0]
    draft = passes(run, "whole", run.header.draft, engine)
    found = {}
    for target in run.header.targets:
        both = paired(draft, passes(run, "whole", target, engine))
        pairs = [TokenPair(mine.sample, mine.token_ids, theirs.token_ids) for mine, theirs in both]
        known = [pair for pair in pairs if pair.draft and pair.target]
        if known:
            found[target] = known
    return found


def agreement(pairs: Mapping[str, Sequence[TokenPair]], gamma: int) -> Section:
    """Return the section on answers that were written independently, beside shuffled pairs of them."""
    found = {target: replay(each, gamma) for target, each in pairs.items()}
    rows = tuple(_agreement_row(target, each) for target, each in found.items())
    columns = ("target", "samples", "mean of the samples", "all tokens", "shuffled pairs", "from the start")
    survival = tuple(
        (
            words(target),
            *(words(ratio(name("prefix", target, str(k)), value)) for k, value in enumerate(each.survival, start=1)),
        )
        for target, each in found.items()
    )
    lead = (
        "Position by position, two answers that were written independently: not the acceptance rate of speculative "
        "decoding. Shuffled pairs are answers to different samples: what is agreed on there needs no picture."
    )
    blocks = (
        Table(columns, rows),
        Table(("first tokens that all agree", *(str(k) for k in range(1, gamma + 1))), survival),
    )
    return Section("agreement", "Agreement of the answers", blocks, lead, brief=True)


def _agreement_row(target: str, found: Replay) -> tuple[Words, ...]:
    shuffled = found.shuffled_per_sample
    return (
        words(target),
        words(count(name("agreement", "samples", target), found.samples)),
        words(ratio(name("agreement", "per_sample", target), found.per_sample)),
        words(ratio(name("agreement", "all_tokens", target), found.token_weighted)),
        words(ratio(name("agreement", "shuffled", target), shuffled))
        if shuffled is not None
        else words("one sample only"),
        words(decimal(name("agreement", "prefix", target), sum(found.prefixes) / found.samples, 2), " tokens"),
    )


def _speculation(found: SpeculationFigures) -> Section:
    place = name(found.target, found.engine)
    blocks: list[Block] = []
    if found.acceptance:
        rows = tuple(
            (words(SEES.get(kind, kind)), *_ratio_cells(name("accepted", kind, place), each))
            for kind, each in found.acceptance.items()
        )
        blocks.append(Table(("the draft sees", "accepted", "95 % interval"), rows))
    more = [*_by_position(found, place), *_costs(found, place), *filter(None, [_in_words(found, place)])]
    # Charts beside each other, then tables, then words: what is of one height stands in one row.
    blocks += sorted(more, key=lambda block: [Chart, Table, Sentences].index(type(block)))
    lead = (
        f"Speculative decoding: {found.engine}, gamma {found.gamma}, {found.requests} requests. "
        "Teacher-forced: at each place, would the draft have said what the target said? "
        "The controls tell what of it comes from seeing."
    )
    heading = f"{found.draft} drafts for {found.target}"
    return Section(name("drafting", place), heading, tuple(blocks), lead, brief=True)


def _by_position(found: SpeculationFigures, place: str) -> Iterator[Block]:
    if found.views is None or not found.views.survival:
        return
    survival, conditional = found.views.survival, found.views.conditional_at
    positions = tuple(range(1, len(survival) + 1))
    rows = (
        (
            words("accepted up to here"),
            *(
                words(ratio(name("survival", str(k), place), value))
                for k, value in zip(positions, survival, strict=True)
            ),
        ),
        (
            words("of those that came so far"),
            *(
                words(ratio(name("conditional", str(k), place), value)) if value is not None else ()
                for k, value in zip(positions, conditional, strict=True)
            ),
        ),
    )
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
    yield Table(("position", *map(str, positions)), rows)


def _in_words(found: SpeculationFigures, place: str) -> Sentences | None:
    lines = tuple(_lines(found, place))
    return Sentences(lines) if lines else None


def _lines(found: SpeculationFigures, place: str) -> Iterator[Words]:
    if found.lift is not None:
        value = ratio(name("lift", place), found.lift.value)
        shown = " It is told from zero." if found.lift.excludes_zero else " It cannot be told from zero."
        yield words(
            "Its own pictures bring ",
            value,
            " over another sample's",
            _ends(name("lift", place), found.lift),
            ".",
            shown,
        )
    if found.views is not None and found.views.conditional is not None:
        yield words(
            decimal(name("tokens_a_round", place), found.views.mean_acceptance_length, 2),
            " tokens a round, the target's own included; of the proposals looked at ",
            ratio(name("conditional", place), found.views.conditional),
            " were accepted.",
        )
    if found.speedup is not None and found.slower_share is not None:
        ties = f", {found.near_ties} part from it at a near tie" if found.near_ties else ""
        yield words(
            "Wall clock, everything charged: ",
            factor(name("pair_speedup", place), found.speedup.value),
            _ends(name("pair_speedup", place), found.speedup),
            "; ",
            share(name("slower_share", place), found.slower_share),
            " % of the requests became slower; ",
            f"{found.identical} of {found.requests} answers are the target's own{ties}.",
        )
    if found.first_token is not None:
        yield words(
            "Time to the first token, target alone over pair: ",
            factor(name("first_token", place), found.first_token.value),
            _ends(name("first_token", place), found.first_token),
            ".",
        )
    if found.draft_weights_bytes is not None and found.added_peak_bytes is not None:
        yield words(
            "Memory: the draft's weights, ",
            size(name("draft_weights", place), found.draft_weights_bytes, unit=True),
            ", and ",
            size(name("added_peak", place), found.added_peak_bytes, unit=True),
            " more at the peak of a request.",
        )


def _costs(found: SpeculationFigures, place: str) -> Iterator[Block]:
    """What the pieces cost, v(m) above all, and what follows from it: predicted beside measured, where it pays."""
    if found.payoff is None:
        return
    costs = found.payoff.costs
    lengths, passes = tuple(costs.v), tuple(costs.v.values())
    yield Chart(
        "v(m): one pass of the target over m tokens",
        "cost of a pass in decoding steps of the target alone, by the number of its tokens",
        lambda: charts.curves([charts.Group("v(m)", "m2", lengths, passes)], "tokens of a pass", "decoding steps"),
    )
    shown = [count for count in SHOWN_PASSES if count in costs.v]
    row = (words("v, decoding steps"), *(words(significant(name("v", str(m), place), costs.v[m])) for m in shown))
    yield Table(("tokens of a pass", *map(str, shown)), (row,))
    yield Sentences(tuple(_payoff(found, found.payoff, place)))


def _payoff(found: SpeculationFigures, payoff: CostModel, place: str) -> Iterator[Words]:
    yield words(
        "A drafted token takes c = ",
        ratio(name("c", place), payoff.costs.c),
        " decoding steps of the target, which take ",
        seconds(name("step", place), payoff.costs.step_s),
        " ms.",
    )
    if payoff.predicted is not None and found.decode_speedup is not None and found.residual is not None:
        yield words(
            "Decoding alone: measured ",
            factor(name("decode_speedup", place), found.decode_speedup),
            ", predicted by tau / (gamma c + v) ",
            factor(name("predicted", place), payoff.predicted),
            "; measured is off by ",
            moved(name("residual", place), found.residual),
            " %.",
        )
    if payoff.best_gamma is not None:
        gamma, speedup = payoff.best_gamma
        best = words(f"Best gamma: {gamma}, ", factor(name("best_gamma", place), speedup))
        yield words(best if gamma else "Best gamma: 0, the target left alone", ".")
    if payoff.least_break_even is not None:
        gamma, acceptance = payoff.least_break_even
        needed = ratio(name("least_break_even", place), acceptance)
        yield words(
            "A draft of this cost pays from an acceptance of ",
            needed,
            f" on, at gamma {gamma}; at gamma {found.gamma} ",
            *_at_this_gamma(payoff, place),
            ".",
        )
    else:
        yield words("A draft of this cost pays at no gamma, whatever its acceptance.")


def _at_this_gamma(payoff: CostModel, place: str) -> Words:
    if payoff.break_even is None:
        return words("at none")
    return words("from ", ratio(name("break_even", place), payoff.break_even))


def _ends(of: str, found: Interval) -> Words:
    if found.low is None or found.high is None:
        return ()
    return words(" (95 %: ", ratio(f"{of}.low", found.low), " to ", ratio(f"{of}.high", found.high), ")")


def _ratio_cells(of: str, found: Interval) -> tuple[Words, Words]:
    if found.low is None or found.high is None:
        return words(ratio(of, found.value)), ()
    return words(ratio(of, found.value)), words(ratio(f"{of}.low", found.low), " to ", ratio(f"{of}.high", found.high))
