"""Two sides measured in pairs: how far apart they are, how sure that is, and when to stop measuring.

The unit is a pair of fresh processes, one per side, next to each other in time: slow drift falls out of their
difference. What jumps from one session to the next is in the readings of reference work
(`harness.measuring.reference_work`): by those, both sides are compared as on one and the same machine. On the scale of
`harness.figures.metrics` a difference is a log-ratio; its interval is Student's.

Looking again and again until something shows would find something in any noise. So the looks are fixed beforehand
(`looks`), and the share of misses is divided evenly among all looks (Pocock, Biometrika 64, 1977) and metrics
(Bonferroni's inequality, which holds for four pairs too): *all* intervals of *all* looks hold the truth together in at
least 95 % of comparisons, however dependent they are and whenever one stops (repeated confidence intervals: Jennison
and Turnbull, J. R. Statist. Soc. B 51, 1989).
"""

from collections.abc import Sequence

from harness.figures.intervals import ChangeVerdict, Interval, student_interval
from harness.gates.prediction import MIN_DEGREES_OF_FREEDOM, predict

ALPHA = 0.05
MIN_PAIRS = 2
# More pairs could say nothing more about a metric that is slower, faster, or neither.
DECIDED: frozenset[ChangeVerdict] = frozenset({"regressed", "improved", "same"})
# Even numbers: a drift falls out of ABBA, not of ABBAAB. Fewer than four pairs have next to no power at such levels.
FIRST_LOOK = 4


def order(pair: int) -> tuple[str, str]:
    """Return which side goes first in a pair, counted from 1: a b, b a, a b, …, together ABBA."""
    return ("a", "b") if pair % 2 else ("b", "a")


def looks(max_pairs: int) -> tuple[int, ...]:
    """Return the numbers of pairs after which the intervals are looked at: 4, 6, 8, 12, 16, 24, … and the last."""
    steps = sorted(
        each << doubled for each in (FIRST_LOOK, FIRST_LOOK * 3 // 2) for doubled in range(max_pairs.bit_length())
    )
    return (*(each for each in steps if each < max_pairs), max_pairs)


def alpha_per_look(metrics: int, max_pairs: int) -> float:
    """Return the share of misses left to one interval of one look, of `metrics` that are compared."""
    return ALPHA / (metrics * len(looks(max_pairs)))


def paired_interval(
    differences: Sequence[float],
    alpha: float,
    speeds: Sequence[Sequence[float]] = (),
    *,
    tracks_machine_speed: bool = True,
) -> Interval:
    """Return Student's interval for the mean of at least two differences; it misses the truth in a share `alpha`.

    `speeds`: for each pair by how much C readings of the machine's speed differ between its sides, or nothing. Where
    there are pairs enough, the mean is then what an analysis of covariance expects of sides without such differences;
    for `tracks_machine_speed` see `predict`.
    """
    pairs, readings = len(differences), len(speeds[0]) if speeds else 0
    freedom = pairs - 1 - readings
    if not readings or freedom < MIN_DEGREES_OF_FREEDOM:
        return student_interval(differences, alpha)
    equal = (speeds, [0.0] * readings)
    expected = predict(differences, 0.0, speeds=equal, tracks_machine_speed=tracks_machine_speed)
    centre, half_width = float(expected.centre), expected.half_width(alpha)
    return Interval(pairs, centre, centre - half_width, centre + half_width, at_equal_speed=True)
