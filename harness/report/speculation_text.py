"""What speculative decoding came to, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from harness.figures.speculation import Interval, SpeculationFigures
from harness.figures.stages import MIB

SEES = {"own": "its pictures", "shuffled": "another sample's", "blind": "none", "self": "the target itself"}
SHOWN_PASSES = (1, 2, 4, 6, 8, 16, 32)


def title(found: SpeculationFigures) -> str:
    """Return who drafts for whom, and how."""
    how = f"{found.engine}, gamma {found.gamma}, {found.requests} requests"
    return f"speculative decoding: {found.draft} drafts for {found.target} ({how})"


def text(found: SpeculationFigures) -> str:
    """Return a line for each thing that was measured."""
    return "\n".join((*_acceptance_lines(found), *_round_lines(found), *_cost_lines(found), *_request_lines(found)))


def _acceptance_lines(found: SpeculationFigures) -> Iterator[str]:
    if found.acceptance:
        yield "acceptance, teacher-forced, by what the draft sees:"
        yield from (f"  {SEES.get(kind, kind)}: {interval(each)}" for kind, each in found.acceptance.items())
    if found.lift is not None:
        yield f"vision lift, its pictures over another sample's: {interval(found.lift, sign='+')}"


def _round_lines(found: SpeculationFigures) -> Iterator[str]:
    if found.views is not None and found.views.conditional is not None:
        yield (
            f"{found.views.acceptance_rate:.3f} of the drafted tokens were accepted, "
            f"{found.views.conditional:.3f} of those looked at; "
            f"{found.views.mean_acceptance_length:.2f} tokens a round, the target's own included"
        )
    if found.by_request is not None and found.by_request.conditional is not None:
        yield (
            f"mean of the requests: {found.by_request.acceptance_rate:.3f}, {found.by_request.conditional:.3f} and "
            f"{found.by_request.mean_acceptance_length:.2f}"
        )
    if found.by_place:
        shares = (f"{each.first}-{each.last}: {each.accepted / each.looked_at:.2f}" for each in found.by_place)
        yield f"accepted of those looked at, by place in the answer: {', '.join(shares)}"


def _cost_lines(found: SpeculationFigures) -> Iterator[str]:
    if found.payoff is None:
        return
    costs = found.payoff.costs
    passes = (f"{count}: {costs.v[count]:.2f}" for count in SHOWN_PASSES if count in costs.v)
    yield (
        f"in decoding steps of the target ({1000 * costs.step_s:.3g} ms): a drafted token c = {costs.c:.3f}; "
        f"v for a pass over {', '.join(passes)} tokens"
    )
    if found.payoff.predicted is not None and found.decode_speedup is not None and found.residual is not None:
        yield (
            f"decoding alone: {found.decode_speedup:.2f}x; by tau / (gamma c + v) it should be "
            f"{found.payoff.predicted:.2f}x ({100 * found.residual:+.0f} %)"
        )
    yield f"{_break_even(found)}; {_best(found)}"


def _break_even(found: SpeculationFigures) -> str:
    assert found.payoff is not None
    here, least = found.payoff.break_even, found.payoff.least_break_even
    if least is None:
        return "a draft of this cost pays at no gamma, whatever its acceptance"
    at_gamma = "at no acceptance" if here is None else f"from an acceptance of {here:.3f} on"
    earlier = "no other gamma earlier" if least[0] == found.gamma else f"gamma {least[0]} from {least[1]:.3f} on"
    return f"gamma {found.gamma} pays {at_gamma}, {earlier}"


def _best(found: SpeculationFigures) -> str:
    assert found.payoff is not None
    if found.payoff.best_gamma is None:
        return "best gamma: not known without acceptance"
    gamma, speedup = found.payoff.best_gamma
    return f"best gamma: {gamma}, {speedup:.2f}x" if gamma else "best gamma: 0, the target left alone"


def _request_lines(found: SpeculationFigures) -> Iterator[str]:
    if found.speedup is None or found.slower_share is None:
        return
    ties = f", {found.near_ties} part at a near tie" if found.near_ties else ""
    yield (
        f"wall clock, everything charged: {interval(found.speedup, unit='x')}; {100 * found.slower_share:.0f} % of "
        f"the requests became slower; {found.identical} of {found.requests} answers are the target's own{ties}"
    )
    if found.first_token is not None:
        yield f"time to first token, target alone over pair: {interval(found.first_token, unit='x')}"
    if found.draft_weights_bytes is not None and found.added_peak_bytes is not None:
        yield (
            f"memory: the draft's weights, {found.draft_weights_bytes / MIB:.0f} MiB, and "
            f"{found.added_peak_bytes / MIB:.0f} MiB more at the peak of a request"
        )


def interval(found: Interval, *, sign: str = "", unit: str = "") -> str:
    """Return a figure with its 95 % interval, where there is one."""
    if found.low is None or found.high is None:
        return f"{found.value:{sign}.3f}{unit}"
    return f"{found.value:{sign}.3f}{unit} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"
