"""Whether a paired difference is more than chance, alone and among several.

Seeds and subjects are both samples, so a difference has to stand out from what either would change by being drawn anew.
"""

from collections.abc import Sequence

from leaderboard.stats.variance import Spread

LEVEL = 0.05


def paired_p(found: Spread) -> float | None:
    """Two-sided p-value of a mean paired difference being 0; None where seeds and subjects are one of each.

    `found` is the spread of one row's totals minus the other's. The mean over its standard error is held against
    Student's t with Satterthwaite's degrees of freedom, the test of two crossed random factors (Clark 1973, "The
    language-as-fixed-effect fallacy", Journal of Verbal Learning and Verbal Behavior 12). With several seeds a t-test
    over their means has to agree: the greater p-value counts. With one seed this is the paired t-test over subjects. No
    p-value is less than a sign test on as many subjects could give, so a few that all
    differ alike prove no more than they can. Rounded to nine digits.
    """
    from scipy.special import stdtr

    least = least_p(found.seeds, found.subjects)
    if least == 1:
        return None
    if not found.readings:
        return 1.0 if found.mean == 0 else round(least, 9)
    tails = [float(stdtr(freedom, -abs(found.mean) / variance**0.5)) for variance, freedom in found.readings]
    return round(max(2 * max(tails), least), 9)


def least_p(seeds: int, subjects: int) -> float:
    """The least p-value that so many may give: a sign test's on all subjects (on the seeds, where there is one)."""
    return 2.0 ** (1 - (subjects if subjects > 1 else seeds))


def holm(values: Sequence[float | None]) -> list[float | None]:
    """P-values adjusted for there being several (Holm 1979, Scandinavian Journal of Statistics 6); None stays None.

    Declaring all below a level keeps the chance of one false claim or more under that level, however they depend on
    each other.
    """
    told = sorted((value, place) for place, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, place) in enumerate(told):
        highest = max(highest, min(1.0, value * (len(told) - rank)))
        adjusted[place] = round(highest, 9)
    return adjusted
