"""Means and differences with intervals that account for seeds and subjects together.

Every seed of a method answers the same questions about the same subjects (people, paragraphs), so the answers form a
crossed table, seeds by subjects. Treating the answers as independent would make the intervals far too narrow. How the
choices made here were measured stands in docs/statistics.md.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leaderboard.stats.variance import Effects, Floats, effects

DRAWS = 2000
CONFIDENCE = 0.95
BLOCK = 2**18  # numbers that are drawn and multiplied at once: what a processor keeps near

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean and the ends of its 95% interval, rounded to nine digits.

    The rounding keeps the last bits of a sum, which may differ between processors, from ever reaching a page.
    """

    mean: float
    low: float
    high: float


def resampled_deviations(found: Effects, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Draw bootstrap means less the mean: seeds and subjects are resampled, each as a whole, independently.

    Of n seeds n - 1 are drawn with replacement, each counting n / (n - 1) times, and so for subjects; that makes the
    variance of the draws unbiased for either however few there are (Rao & Wu 1988, "Resampling inference with complex
    survey data", Journal of the American Statistical Association 83). The deviations that both bring are added; the
    pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1(2)) multiplies the counts instead, which counts what
    is particular to a seed and a subject three times. Where there is one seed, subjects alone are resampled.

    Args:
        found: the crossed table, taken apart.
        draws: how many to draw.
        seed: of the random stream; equal arguments give equal draws.
    """
    total = np.zeros(draws)
    for axis, deviations in enumerate((found.by_seed, found.by_subject)):
        size = len(deviations)
        if size > 1:
            blocks = _resamples(size, draws, seed, axis)
            total += np.concatenate([block @ deviations for block in blocks]) / (size - 1)
    return total


def mean_interval(
    totals: ArrayLike, counts: ArrayLike = 1, bounds: Bounds | None = (0.0, 1.0), draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """The mean over all questions, and its 95% bootstrap interval over seeds and subjects.

    It is the symmetric bootstrap interval (Hall 1988, Journal of the Royal Statistical Society B 50(1)): the mean plus
    and minus the standard error times the 95% quantile of the draws' absolute deviations, these measured in their own
    standard deviation. That quantile is expanded by Student's t over the normal one, as Hesterberg (2015, The American
    Statistician 69(4)) does for small samples, and never below the normal one, which so few seeds that their draws take
    two or three values would make it. Standard error and degrees of freedom are the `readings` of the spread, of which
    the wider counts. Between `bounds` it is worked out on the logit scale, so no end leaves them.

    Where all values are equal there is nothing to resample. What can be said then is that hardly more than a share u of
    subjects could be unlike those seen, u being the exact binomial bound, 1 - .025^(1 / subjects) (Clopper & Pearson
    1934, Biometrika 26), and the ends are where the mean would be with such a share at either bound. Without bounds the
    interval then has no width.

    Args:
        totals: [seeds, subjects], the sum of the values of a subject's questions under a seed.
        counts: broadcast to [seeds, subjects], the number of these questions; 0 where there is none.
        bounds: the least and the greatest possible value of a question; None where there are none.
        draws: how many bootstrap draws.
        seed: of their random stream.

    Raises:
        ValueError: as `crossed`, or if the mean is not within `bounds`.
    """
    from scipy.special import expit, logit, stdtrit  # here: a board that is there already needs none of it

    found = effects(totals, counts)
    if bounds and not bounds[0] - 1e-9 <= found.mean <= bounds[1] + 1e-9:
        raise ValueError(f"a mean of {found.mean:g} is not between {bounds[0]:g} and {bounds[1]:g}")
    if not (found.by_seed.any() or found.by_subject.any()):
        return rounded(found.mean, *_without_spread(found, bounds))
    half = _quantile(resampled_deviations(found, draws, seed)) / normal_quantile()
    half *= max(math.sqrt(part) * float(stdtrit(free, (1 + CONFIDENCE) / 2)) for part, free in found.spread().readings)
    if bounds is None:
        return rounded(found.mean, found.mean - half, found.mean + half)
    low, high = bounds
    share = (found.mean - low) / (high - low)
    reach = half / (high - low) / (share * (1 - share))
    ends = (float(expit(logit(share) + sign * reach)) for sign in (-1, 1))
    return rounded(found.mean, *(low + (high - low) * end for end in ends))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    counts: ArrayLike = 1,
    bounds: Bounds | None = (-1.0, 1.0),
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """The mean of a minus b with its interval, where both answered the same questions under the same seeds.

    `a` and `b` are totals [seeds, subjects], and `bounds` those of a difference. Each draw takes the same seeds and
    subjects for both, so what makes a subject hard for both cancels (Efron & Tibshirani 1993, section 8.3). Raises
    ValueError if their shapes differ.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"paired tables must have one shape, not {first.shape} and {second.shape}")
    return mean_interval(first - second, counts, bounds, draws, seed)


def rounded(mean: float, low: float, high: float) -> Estimate:
    """An Estimate of these numbers, to nine digits and without a negative zero."""
    return Estimate(*(round(value, 9) + 0.0 for value in (mean, low, high)))


def _quantile(deviations: Floats) -> float:
    """The 95% quantile of absolute deviations in units of their standard deviation, and no less than the normal one."""
    size = float(np.sqrt((deviations**2).mean()))
    return max(float(np.quantile(np.abs(deviations), CONFIDENCE)) / size, normal_quantile())


def normal_quantile() -> float:
    """How many standard deviations a 95% interval reaches to either side where all is normal."""
    from scipy.special import ndtri

    return float(ndtri((1 + CONFIDENCE) / 2))


def _without_spread(found: Effects, bounds: Bounds | None) -> Bounds:
    if bounds is None:
        return found.mean, found.mean
    share = 1 - ((1 - CONFIDENCE) / 2) ** (1 / len(found.by_subject))
    return found.mean - share * (found.mean - bounds[0]), found.mean + share * (bounds[1] - found.mean)


@lru_cache(maxsize=16)
def _resamples(size: int, draws: int, seed: int, axis: int) -> list[NDArray[np.unsignedinteger[Any]]]:
    """[draws, size] in blocks of rows: how often each of `size` comes up when size - 1 are drawn with replacement.

    With many subjects the numbers are many: they are drawn a block at a time and kept as the smallest whole numbers
    that hold them.
    """
    rng = np.random.default_rng([seed, axis, size])
    rows = max(1, BLOCK // size)
    blocks = []
    for done in range(0, draws, rows):
        height = min(rows, draws - done)
        picks = rng.integers(size, size=(height, size - 1))
        picks += size * np.arange(height)[:, None]
        times = np.bincount(picks.ravel(), minlength=height * size).reshape(height, size)
        blocks.append(times.astype(np.min_scalar_type(times.max())))
        blocks[-1].setflags(write=False)
    return blocks
