"""Tests of paired differences, alone and corrected for their number.

Seeds and subjects are both samples. A difference is significant only if it exceeds what drawing either of them again
would change.
"""

from collections.abc import Sequence

from leaderboard.stats.variance import Spread

LEVEL = 0.05


def paired_p(spread: Spread) -> float | None:
    """Two-sided p-value of the hypothesis that a mean paired difference is 0; None for one seed and one subject.

    The mean over its standard error is compared with Student's t with Satterthwaite's degrees of freedom, the test for
    two crossed random factors (Clark 1973, "The language-as-fixed-effect fallacy", Journal of Verbal Learning and
    Verbal Behavior 12). With several seeds, a t-test over the means of the seeds must agree: the greater p-value
    counts. With one seed, this is the paired t-test over subjects. The p-value is never less than a sign test on as
    many subjects could give, so a few subjects that all differ alike do not prove more than they can.

    Args:
        spread: of the totals of one row minus those of the other.

    Returns:
        The p-value, rounded to nine digits.
    """
    from scipy.special import stdtr

    least = least_p(spread.seeds, spread.subjects)
    if least == 1:
        return None
    if not spread.readings:
        return 1.0 if spread.mean == 0 else round(least, 9)
    tails = [float(stdtr(freedom, -abs(spread.mean) / variance**0.5)) for variance, freedom in spread.readings]
    return round(max(2 * max(tails), least), 9)


def least_p(seeds: int, subjects: int) -> float:
    """The least p-value possible: that of a sign test on all subjects (with one subject: on the seeds)."""
    return 2.0 ** (1 - (subjects if subjects > 1 else seeds))


def more_right_p(right: int, asked: int, other_right: int, other_asked: int) -> float:
    """One-sided p-value of Fisher's exact test that a share of right answers is greater than another one."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(right - 1, asked + other_asked, right + other_right, asked))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted for their number (Holm 1979, Scandinavian Journal of Statistics 6); None stays None.

    If every adjusted value below a level is declared significant, the chance of at least one false claim stays below
    that level, however the tests depend on each other.
    """
    rising = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(rising):
        highest = max(highest, min(1.0, p * (len(rising) - rank)))
        adjusted[index] = round(highest, 9)
    return adjusted
