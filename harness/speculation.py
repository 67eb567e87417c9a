"""What a log of speculative rounds says: acceptance under each of its names, and what a draft gains or costs.

The same letter stands for different figures in different tools; here each has a name of its own:

    accepted_of_drafted     accepted / drafted: falls with gamma. vLLM's "draft acceptance rate"
    conditional             accepted / (accepted + rejections): the chance of a proposal that is looked at
    tokens_a_round          emitted / rounds, the target's own token counted, as vLLM's "mean acceptance length" and
                            Spec-Bench's; gpt-fast leaves it out: there it is less by one
    survival[k]             share of rounds in which more than k proposals were accepted: vLLM's per-position rate
    conditional_at[k]       of the rounds in which k were accepted and one more was proposed, those in which it was,
                            too: EAGLE's
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from harness.records import AgreementRecord, RoundLog, RunRecord, SpeculationRecord
from harness.statistics import mean
from harness.student import t_quantile


class Views(msgspec.Struct, frozen=True):
    """One round log, or several together, in the words above; None where nothing was proposed."""

    rounds: int
    accepted_of_drafted: float | None
    conditional: float | None
    tokens_a_round: float
    survival: tuple[float, ...]
    conditional_at: tuple[float | None, ...]


class Interval(msgspec.Struct, frozen=True):
    """A figure over samples with its 95 % interval; the bounds are None for fewer than two samples."""

    value: float
    low: float | None
    high: float | None
    samples: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class SpeculationFigures(msgspec.Struct, frozen=True):
    """One target's speculative decoding: `acceptance` by what the draft was shown, `lift` of the right pictures.

    `speedup`: total time of the target alone over that of the pair, everything charged; `predicted` is that of the
    decoding alone, tokens_a_round / (gamma c + v), from the measured c and v beside `decode_speedup`, what it was.
    """

    target: str
    draft: str
    engine: str
    gamma: int
    acceptance: dict[str, Interval]
    lift: Interval | None
    views: Views | None
    identical: int
    requests: int
    speedup: Interval | None
    slower_share: float | None
    c: float | None
    v: float | None
    predicted: float | None
    decode_speedup: float | None


def views(rounds: Sequence[RoundLog]) -> Views:
    """Return the four views of at least one round."""
    proposing = [each for each in rounds if each.drafted]
    drafted = sum(each.drafted for each in proposing)
    accepted = sum(each.accepted for each in proposing)
    rejections = sum(each.accepted < each.drafted for each in proposing)
    deepest = max((each.drafted for each in proposing), default=0)
    return Views(
        rounds=len(rounds),
        accepted_of_drafted=accepted / drafted if drafted else None,
        conditional=accepted / (accepted + rejections) if drafted else None,
        tokens_a_round=sum(each.emitted for each in rounds) / len(rounds),
        survival=tuple(mean([float(each.accepted > k) for each in proposing]) for k in range(deepest)),
        conditional_at=tuple(_conditional_at(proposing, k) for k in range(deepest)),
    )


def _conditional_at(rounds: Sequence[RoundLog], k: int) -> float | None:
    reached = [each for each in rounds if each.accepted >= k and each.drafted > k]
    return mean([float(each.accepted > k) for each in reached]) if reached else None


def pooled_share(counts: Sequence[tuple[int, int]]) -> Interval:
    """Return part / whole over all samples together, with an interval by sample.

    The ratio estimator's variance (Cochran, Sampling Techniques, 6.3), with Student's t.
    """
    return _ratio([float(part) for part, _ in counts], [float(whole) for _, whole in counts])


def _ratio(parts: Sequence[float], wholes: Sequence[float]) -> Interval:
    total, n = math.fsum(wholes), len(wholes)
    value = math.fsum(parts) / total
    if n < 2:
        return Interval(value, None, None, n)
    squares = math.fsum((part - value * whole) ** 2 for part, whole in zip(parts, wholes, strict=True))
    half = t_quantile(0.975, n - 1) * math.sqrt(n / (n - 1) * squares) / total
    return Interval(value, value - half, value + half, n)


def speculation_figures(run: RunRecord) -> list[SpeculationFigures]:
    """Return the figures of every target and engine that was measured, in the order of the header."""
    found = []
    for engine in run.header.engines:
        for target in run.header.targets:
            agreements = [each for each in run.agreements if (each.target, each.engine) == (target, engine)]
            requests = [each for each in run.speculations if (each.target, each.engine) == (target, engine)]
            if agreements or requests:
                found.append(_figures(run, target, engine, agreements, requests))
    return found


def _figures(
    run: RunRecord,
    target: str,
    engine: str,
    agreements: Sequence[AgreementRecord],
    requests: Sequence[SpeculationRecord],
) -> SpeculationFigures:
    counts = {kind: [_counted(each.agrees[kind]) for each in agreements] for kind in _kinds(agreements)}
    rounds = [each for request in requests for each in request.rounds]
    pace = _pace(requests)
    seen = views(rounds) if rounds else None
    return SpeculationFigures(
        target=target,
        draft=run.header.draft or "",
        engine=engine,
        gamma=int(run.header.options["gamma"]),
        acceptance={kind: pooled_share(each) for kind, each in counts.items() if sum(whole for _, whole in each)},
        lift=_lift(counts),
        views=seen,
        identical=sum(each.identical for each in requests),
        requests=len(requests),
        speedup=_ratio([each.alone_s for each in requests], [each.pair_s for each in requests]) if requests else None,
        slower_share=mean([float(each.pair_s > each.alone_s) for each in requests]) if requests else None,
        c=pace and pace[0],
        v=pace and pace[1],
        predicted=_predicted(rounds, seen, pace),
        decode_speedup=_decode_speedup(requests),
    )


def _kinds(agreements: Iterable[AgreementRecord]) -> list[str]:
    return list(dict.fromkeys(kind for each in agreements for kind in each.agrees))


def _counted(agrees: Sequence[bool]) -> tuple[int, int]:
    """Agreeing and all places; the first is the target's own and never proposed."""
    return sum(agrees[1:]), len(agrees) - 1


def _lift(counts: Mapping[str, Sequence[tuple[int, int]]]) -> Interval | None:
    """What the right pictures bring over those of another sample, with an interval by sample."""
    if not counts.get("own") or not counts.get("shuffled"):
        return None
    pairs = list(zip(counts["own"], counts["shuffled"], strict=True))
    if not sum(whole for (_, whole), _ in pairs):
        return None
    return _ratio([float(mine - theirs) for (mine, _), (theirs, _) in pairs], [float(whole) for (_, whole), _ in pairs])


def _pace(requests: Sequence[SpeculationRecord]) -> tuple[float, float] | None:
    """Return c, a drafted token, and v, a verification, in decoding steps of the target alone."""
    steps = sum(each.alone_steps for each in requests)
    rounds = [each for request in requests for each in request.rounds]
    drafted = sum(each.drafted for each in rounds)
    if not steps or not drafted:
        return None
    step_s = math.fsum(each.alone_decode_s for each in requests) / steps
    c = math.fsum(each.draft_s for each in rounds) / drafted / step_s
    return c, math.fsum(each.verify_s for each in rounds) / len(rounds) / step_s


def _predicted(rounds: Sequence[RoundLog], seen: Views | None, pace: tuple[float, float] | None) -> float | None:
    if seen is None or pace is None:
        return None
    drafted_a_round = sum(each.drafted for each in rounds) / len(rounds)
    return seen.tokens_a_round / (drafted_a_round * pace[0] + pace[1])


def _decode_speedup(requests: Sequence[SpeculationRecord]) -> float | None:
    pair = math.fsum(each.loop_s for each in requests)
    return math.fsum(each.alone_decode_s for each in requests) / pair if pair else None
