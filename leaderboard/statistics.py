"""Means and differences with intervals that account for seeds and subjects together.

Every seed of a method answers the same questions about the same subjects (people, paragraphs), so the answers form a
crossed table, seeds by subjects. Treating the answers as independent would make the intervals far too narrow.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leaderboard.variance import crossed

DRAWS = 2000
LEVEL = 0.95
BLOCK = 2**18  # numbers that are drawn and multiplied at once: what a processor keeps near

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95% interval, rounded to nine digits.

    The rounding keeps the last bits of a sum, which may differ between processors, from ever reaching a page.
    """

    mean: float
    low: float
    high: float


def resampled_means(totals: ArrayLike, counts: ArrayLike = 1, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Draw bootstrap means from a crossed table: seeds and subjects are resampled independently of each other.

    This is the pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2)): every
    draw weighs the cell (s, c) with the number of times seed s was drawn times the number of times subject c was drawn.
    With a single seed it is the ordinary bootstrap over subjects (Efron & Tibshirani 1993, chapter 6).

    Args:
        totals: [seeds, subjects], as of `crossed`.
        counts: as of `crossed`.
        draws: how many means to draw.
        seed: of the random stream; equal arguments give equal draws.

    Returns:
        [draws]; NaN for a draw that happened to hold no question at all.

    Raises:
        ValueError: if `totals` does not have two dimensions, or there is no question in it.
    """
    table, weights = crossed(totals, counts)
    of_seeds = np.concatenate(_resamples(table.shape[0], draws, seed, 0)).astype(np.float64)
    sums, sizes = [], []
    for block in _resamples(table.shape[1], draws, seed, 1):
        of_subjects = block.astype(np.float64)
        sums.append(of_subjects @ table.T)
        sizes.append(of_subjects @ weights.T)
    numerator = (np.concatenate(sums) * of_seeds).sum(axis=1)
    denominator = (np.concatenate(sizes) * of_seeds).sum(axis=1)
    means = np.full(draws, np.nan)
    np.divide(numerator, denominator, out=means, where=denominator > 0)
    return means


def mean_interval(totals: ArrayLike, counts: ArrayLike = 1, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean over all questions, and its 95% percentile-bootstrap interval over seeds and subjects.

    The ends are the 2.5% and 97.5% quantiles of `resampled_means`, which see for the arguments (Efron & Tibshirani
    1993, chapter 13). Where all values are equal there is nothing to resample, and the interval has no width.
    """
    table, weights = crossed(totals, counts)
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(resampled_means(table, weights, draws, seed), [tail, 1 - tail])
    return Interval(*(round(float(value), 9) + 0.0 for value in (table.sum() / weights.sum(), low, high)))


def paired_difference(a: ArrayLike, b: ArrayLike, counts: ArrayLike = 1, draws: int = DRAWS, seed: int = 0) -> Interval:
    """The mean of a minus b with its interval, where both answered the same questions under the same seeds.

    `a` and `b` are totals [seeds, subjects] as in `resampled_means`. Each draw takes the same seeds and subjects for
    both, so what makes a subject hard for both cancels (Efron & Tibshirani 1993, section 8.3). Raises ValueError if
    their shapes differ.
    """
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"paired tables must have one shape, not {first.shape} and {second.shape}")
    return mean_interval(first - second, counts, draws, seed)


@lru_cache(maxsize=16)
def _resamples(size: int, draws: int, seed: int, axis: int) -> list[NDArray[np.unsignedinteger[Any]]]:
    """[draws, size] in blocks of rows: how often each of `size` things comes up when `size` are drawn with replacement.

    With many subjects the numbers are many: they are drawn a block at a time and kept as the smallest whole numbers
    that hold them.
    """
    rng = np.random.default_rng([seed, axis, size])
    rows = max(1, BLOCK // size)
    blocks = []
    for done in range(0, draws, rows):
        height = min(rows, draws - done)
        picks = rng.integers(size, size=(height, size))
        picks += size * np.arange(height)[:, None]
        times = np.bincount(picks.ravel(), minlength=height * size).reshape(height, size)
        blocks.append(times.astype(np.min_scalar_type(times.max())))
        blocks[-1].setflags(write=False)
    return blocks
