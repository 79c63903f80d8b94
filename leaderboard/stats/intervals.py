"""Means and differences with intervals that account for seeds and subjects together.

Every seed of a method answers the same questions about the same subjects (people, paragraphs), so the answers form a
crossed table, seeds by subjects. Treating the answers as independent would make the intervals far too narrow.
docs/statistics.md reports the measurements behind the choices made here.
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
BLOCK = 2**18  # numbers that are drawn and multiplied at once, so that they fit in the cache of a processor

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean and the ends of its 95% interval, rounded to nine digits.

    The last bits of a sum may differ between processors; rounding keeps them out of every file.
    """

    mean: float
    low: float
    high: float


def resampled_deviations(table: Effects, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Draw bootstrap means minus the mean; seeds and subjects are resampled independently, each as a whole.

    Of n seeds, n - 1 are drawn with replacement, and each counts n / (n - 1) times; subjects likewise. That makes the
    variance of the draws unbiased for small numbers, too (Rao & Wu 1988, "Resampling inference with complex survey
    data", Journal of the American Statistical Association 83). The deviations of seeds and subjects are added. The
    pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1(2)) multiplies the counts instead, which counts the
    interaction three times. With one seed, subjects alone are resampled.

    Args:
        table: the crossed table, decomposed.
        draws: how many to draw.
        seed: of the random stream; equal arguments give equal draws.

    Returns:
        [draws] deviations from the mean.
    """
    total = np.zeros(draws)
    for axis, deviations in enumerate((table.by_seed, table.by_subject)):
        size = len(deviations)
        if size > 1:
            blocks = _resamples(size, draws, seed, axis)
            total += np.concatenate([block @ deviations for block in blocks]) / (size - 1)
    return total


def mean_interval(
    totals: ArrayLike, counts: ArrayLike = 1, bounds: Bounds | None = (0.0, 1.0), draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """The mean over all questions, with its 95% bootstrap interval over seeds and subjects.

    This is the symmetric bootstrap interval (Hall 1988, Journal of the Royal Statistical Society B 50(1)): the mean
    plus and minus the standard error times a quantile. The quantile is the 95% quantile of the absolute deviations of
    the draws in units of their own standard deviation, but at least the normal one, since the draws of very few seeds
    take only two or three values. It is multiplied by the ratio of Student's t to the normal quantile, as Hesterberg
    (2015, The American Statistician 69(4)) does for small samples. Standard error and degrees of freedom are the
    `readings` of the spread; the wider interval counts. Between `bounds` it is computed on the logit scale, so its ends
    stay within them.

    If all values are equal, resampling shows no spread. The ends are then the means that would result if a share u of
    the subjects were at either bound, where u = 1 - .025^(1 / subjects) is the exact binomial bound (Clopper & Pearson
    1934, Biometrika 26). Without bounds, the interval has no width.

    Args:
        totals: [seeds, subjects], the sum of the values of a subject's questions under a seed.
        counts: broadcast to [seeds, subjects], the number of these questions; 0 for none.
        bounds: the least and the greatest possible value of a question; None for unbounded values.
        draws: how many bootstrap draws.
        seed: of their random stream.

    Raises:
        ValueError: as `crossed`, or the mean is not within `bounds`.
    """
    from scipy.special import expit, logit, stdtrit  # imported here, since showing a cached board does not need it

    table = effects(totals, counts)
    if bounds and not bounds[0] - 1e-9 <= table.mean <= bounds[1] + 1e-9:
        raise ValueError(f"a mean of {table.mean:g} is not between {bounds[0]:g} and {bounds[1]:g}")
    if not (table.by_seed.any() or table.by_subject.any()):
        return rounded(table.mean, *_without_spread(table, bounds))
    half = _quantile(resampled_deviations(table, draws, seed)) / normal_quantile()
    half *= max(
        math.sqrt(variance) * float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
        for variance, freedom in table.spread().readings
    )
    if bounds is None:
        return rounded(table.mean, table.mean - half, table.mean + half)
    low, high = bounds
    share = (table.mean - low) / (high - low)
    reach = half / (high - low) / (share * (1 - share))
    ends = (float(expit(logit(share) + sign * reach)) for sign in (-1, 1))
    return rounded(table.mean, *(low + (high - low) * end for end in ends))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    counts: ArrayLike = 1,
    bounds: Bounds | None = (-1.0, 1.0),
    draws: int = DRAWS,
    seed: int = 0,
) -> Estimate:
    """The mean of a minus b with its interval, for two rows that answered the same questions under the same seeds.

    Each draw takes the same seeds and subjects for both, so difficulty that a subject has for both cancels (Efron &
    Tibshirani 1993, section 8.3).

    Args:
        a: [seeds, subjects], totals of the first row.
        b: [seeds, subjects], totals of the second row.
        counts: as of `mean_interval`.
        bounds: the least and the greatest possible difference of a question.
        draws: how many bootstrap draws.
        seed: of their random stream.

    Raises:
        ValueError: the shapes differ.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"paired tables must have one shape, not {first.shape} and {second.shape}")
    return mean_interval(first - second, counts, bounds, draws, seed)


def rounded(mean: float, low: float, high: float) -> Estimate:
    """An Estimate of these numbers, to nine digits and without a negative zero."""
    return Estimate(*(round(value, 9) + 0.0 for value in (mean, low, high)))


def _quantile(deviations: Floats) -> float:
    """The 95% quantile of absolute deviations in units of their standard deviation, at least the normal quantile."""
    size = float(np.sqrt((deviations**2).mean()))
    return max(float(np.quantile(np.abs(deviations), CONFIDENCE)) / size, normal_quantile())


def normal_quantile() -> float:
    """How many standard deviations a 95% interval of a normal distribution extends to either side."""
    from scipy.special import ndtri

    return float(ndtri((1 + CONFIDENCE) / 2))


def _without_spread(table: Effects, bounds: Bounds | None) -> Bounds:
    """The ends of the interval of equal values."""
    if bounds is None:
        return table.mean, table.mean
    share = 1 - ((1 - CONFIDENCE) / 2) ** (1 / len(table.by_subject))
    return table.mean - share * (table.mean - bounds[0]), table.mean + share * (bounds[1] - table.mean)


@lru_cache(maxsize=16)
def _resamples(size: int, draws: int, seed: int, axis: int) -> list[NDArray[np.unsignedinteger[Any]]]:
    """[draws, size] in blocks of rows: how often each of `size` items occurs when size - 1 are drawn with replacement.

    To save memory with many subjects, the counts are drawn a block at a time and kept as the smallest integers that
    hold them.
    """
    rng = np.random.default_rng([seed, axis, size])
    rows = max(1, BLOCK // size)
    blocks = []
    for start in range(0, draws, rows):
        height = min(rows, draws - start)
        picks = rng.integers(size, size=(height, size - 1))
        picks += size * np.arange(height)[:, None]
        times = np.bincount(picks.ravel(), minlength=height * size).reshape(height, size)
        blocks.append(times.astype(np.min_scalar_type(times.max())))
        blocks[-1].setflags(write=False)
    return blocks
