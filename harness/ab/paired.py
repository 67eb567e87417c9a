"""Two sides measured in pairs: the interval of their difference, and the numbers of pairs after which to evaluate it.

The unit is a pair of fresh processes, one per side, next to each other in time, so that slow drift cancels out. Jumps
of the machine's speed between sessions show in the readings of reference work
(`harness.measuring.reference_work`), by which the difference is adjusted to equal speed. On the scale of
`harness.figures.metrics` a difference is a log-ratio; its interval is Student's.

Repeated looks at the data would find a difference in any noise. So the looks are fixed beforehand (`looks`), and the
error rate is divided evenly among all looks (Pocock, Biometrika 64, 1977) and metrics (Bonferroni's inequality).
*All* intervals of *all* looks then contain the truth in at least 95 % of comparisons, whatever their dependence and
whenever one stops (repeated confidence intervals: Jennison and Turnbull, J. R. Statist. Soc. B 51, 1989).
"""

from collections.abc import Sequence

from harness.figures.intervals import ChangeVerdict, Interval, student_interval
from harness.gates.prediction import MIN_DEGREES_OF_FREEDOM, predict

ALPHA = 0.05
MIN_PAIRS = 2
# Verdicts that more pairs would not change.
DECIDED: frozenset[ChangeVerdict] = frozenset({"regressed", "improved", "same"})
# Even, since drift cancels out of ABBA, but not of ABBAAB. Fewer than four pairs have hardly any power.
FIRST_LOOK = 4


def order(pair: int) -> tuple[str, str]:
    """Return the order of the sides in a pair, counted from 1: a b, b a, a b, …, together ABBA."""
    return ("a", "b") if pair % 2 else ("b", "a")


def looks(max_pairs: int) -> tuple[int, ...]:
    """Return the numbers of pairs after which the intervals are evaluated: 4, 6, 8, 12, 16, 24, … and the last."""
    first = FIRST_LOOK, FIRST_LOOK * 3 // 2
    steps = sorted(each << doubled for each in first for doubled in range(max_pairs.bit_length()))
    return (*(each for each in steps if each < max_pairs), max_pairs)


def alpha_per_look(metrics: int, max_pairs: int) -> float:
    """Return the error rate of one interval at one look, for a number of compared `metrics`."""
    return ALPHA / (metrics * len(looks(max_pairs)))


def paired_interval(
    differences: Sequence[float],
    alpha: float,
    speeds: Sequence[Sequence[float]] = (),
    *,
    tracks_machine_speed: bool = True,
) -> Interval:
    """Return Student's interval for the mean of at least two differences, with error rate `alpha`.

    `speeds`: for each pair the differences of C readings of the machine's speed between its sides, or nothing. With
    enough pairs, the mean is adjusted to equal speed by an analysis of covariance; for `tracks_machine_speed` see
    `predict`.
    """
    pairs, readings = len(differences), len(speeds[0]) if speeds else 0
    freedom = pairs - 1 - readings
    if not readings or freedom < MIN_DEGREES_OF_FREEDOM:
        return student_interval(differences, alpha)
    equal = (speeds, [0.0] * readings)
    expected = predict(differences, 0.0, speeds=equal, tracks_machine_speed=tracks_machine_speed)
    centre, half_width = float(expected.centre), expected.half_width(alpha)
    return Interval(pairs, centre, centre - half_width, centre + half_width, at_equal_speed=True)
