"""What speculative decoding came to, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from harness.speculation import Interval, SpeculationFigures

SEES = {"own": "its pictures", "shuffled": "another sample's", "blind": "none", "self": "the target itself"}


def title(found: SpeculationFigures) -> str:
    """Return who drafts for whom, and how."""
    how = f"{found.engine}, gamma {found.gamma}, {found.requests} requests"
    return f"speculative decoding: {found.draft} drafts for {found.target} ({how})"


def text(found: SpeculationFigures) -> str:
    """Return a line for each thing that was measured."""
    return "\n".join(_lines(found))


def _lines(found: SpeculationFigures) -> Iterator[str]:
    if found.acceptance:
        yield "acceptance, teacher-forced, by what the draft sees:"
        yield from (f"  {SEES.get(kind, kind)}: {interval(each)}" for kind, each in found.acceptance.items())
    if found.lift is not None:
        yield f"vision lift, its pictures over another sample's: {interval(found.lift, sign='+')}"
    if found.views is not None and found.views.conditional is not None:
        yield (
            f"{found.views.accepted_of_drafted:.3f} of the drafted tokens were accepted, "
            f"{found.views.conditional:.3f} of those looked at; {found.views.tokens_a_round:.2f} tokens a round, the "
            "target's own included"
        )
    if found.speedup is not None and found.slower_share is not None:
        yield (
            f"wall clock, everything charged: {interval(found.speedup, unit='x')}; {100 * found.slower_share:.0f} % of "
            f"the requests became slower; {found.identical} of {found.requests} answers are the target's own"
        )
    if found.c is not None and found.v is not None and found.predicted and found.decode_speedup:
        yield (
            f"decoding alone: {found.decode_speedup:.2f}x; by c = {found.c:.3f} and v = {found.v:.3f} it should be "
            f"{found.predicted:.2f}x"
        )


def interval(found: Interval, *, sign: str = "", unit: str = "") -> str:
    """Return a figure with its 95 % interval, where there is one."""
    if found.low is None or found.high is None:
        return f"{found.value:{sign}.3f}{unit}"
    return f"{found.value:{sign}.3f}{unit} ({found.low:{sign}.3f} to {found.high:{sign}.3f})"
