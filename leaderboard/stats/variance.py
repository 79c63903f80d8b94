"""How much a mean over a crossed table (seeds by subjects) would vary if both were drawn again.

The model is the two-way random-effects model: value = mean + seed effect + subject effect + interaction. If subjects
have different numbers of questions, the mean is a ratio of sums; it is linearised first (Cochran 1977, "Sampling
Techniques", section 6.4), so that the table holds one value per seed and subject, and their plain mean is the ratio.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NOTHING = 1e-12  # rounding leaves deviations below this between equal values

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """The mean of a crossed table and its mean squares.

    Attributes:
        mean: the mean over all questions and seeds.
        seeds: number of seeds.
        subjects: number of subjects.
        of_seeds: mean square between seeds; 0 for a single seed.
        of_subjects: mean square between subjects; 0 for a single subject.
        of_both: mean square of the interaction; 0 for a single seed or subject.
    """

    mean: float
    seeds: int
    subjects: int
    of_seeds: float
    of_subjects: float
    of_both: float

    @property
    def variance(self) -> float:
        """The unbiased estimate of the mean's variance, but never less than what seeds or subjects alone give.

        With both random, the estimate is (of_seeds + of_subjects - of_both) / cells. Either of the first two alone is
        a lower bound of its expectation; taking the maximum keeps the estimate from falling below 0.
        """
        both = self.of_seeds + self.of_subjects - self.of_both
        return max(both, self.of_seeds, self.of_subjects) / (self.seeds * self.subjects)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of `variance` (Satterthwaite 1946, Biometrics Bulletin 2(6)); 0 without any spread."""
        parts = [
            (self.of_seeds, self.seeds - 1),
            (self.of_subjects, self.subjects - 1),
            (self.of_both, (self.seeds - 1) * (self.subjects - 1)),
        ]
        below = sum(square**2 / freedom for square, freedom in parts if freedom > 0)
        total = self.variance * self.seeds * self.subjects
        return total**2 / below if below > 0 else 0.0

    @property
    def readings(self) -> list[tuple[float, float]]:
        """The two estimates of the mean's error, each as (variance, degrees of freedom); a claim must hold in both.

        The first is `variance` with `freedom`. Satterthwaite's degrees are too many if few seeds happen to lie close
        together. So with several seeds, the second treats the means of the seeds as a plain sample with `seeds` - 1
        degrees of freedom.
        """
        seeds_alone = (self.of_seeds / (self.seeds * self.subjects), float(self.seeds - 1))
        return [estimate for estimate in ((self.variance, self.freedom), seeds_alone) if min(estimate) > 0]


@dataclass(frozen=True)
class Effects:
    """A crossed table, decomposed.

    Attributes:
        mean: the mean over all questions and seeds.
        by_seed: [seeds], deviations of the seeds from the mean.
        by_subject: [subjects], deviations of the subjects from the mean.
        rest: [seeds, subjects], the interaction.
    """

    mean: float
    by_seed: Floats
    by_subject: Floats
    rest: Floats

    def spread(self) -> Spread:
        """The mean squares of the table."""
        seeds, subjects = self.rest.shape
        return Spread(
            mean=self.mean,
            seeds=seeds,
            subjects=subjects,
            of_seeds=float((self.by_seed**2).sum()) * subjects / max(seeds - 1, 1),
            of_subjects=float((self.by_subject**2).sum()) * seeds / max(subjects - 1, 1),
            of_both=float((self.rest**2).sum()) / max((seeds - 1) * (subjects - 1), 1),
        )


def effects(totals: ArrayLike, counts: ArrayLike = 1) -> Effects:
    """Decompose a crossed table; `totals` and `counts` are those of `crossed`."""
    table, weights = crossed(totals, counts)
    mean = float(table.sum() / weights.sum())
    values = (table - mean * weights) * (table.size / weights.sum())
    by_seed, by_subject = values.mean(axis=1), values.mean(axis=0)
    for part in (values, by_seed, by_subject):
        part[np.abs(part) < NOTHING] = 0.0
    return Effects(mean, by_seed, by_subject, values - by_seed[:, None] - by_subject)


def crossed(totals: ArrayLike, counts: ArrayLike = 1) -> tuple[Floats, Floats]:
    """A crossed table and the number of questions in each of its cells, without subjects that have no question.

    Args:
        totals: [seeds, subjects], the sum of the values of a subject's questions under a seed.
        counts: broadcast to [seeds, subjects], the number of these questions; 0 for none.

    Returns:
        Both as arrays [seeds, subjects].

    Raises:
        ValueError: `totals` does not have two dimensions, or no cell has a question.
    """
    table = np.asarray(totals, dtype=float)
    if table.ndim != 2:
        raise ValueError(f"expected a table [seeds, subjects], got {table.ndim} dimensions")
    weights = np.broadcast_to(np.asarray(counts, dtype=float), table.shape)
    asked = weights.sum(axis=0) > 0
    if not asked.any():
        raise ValueError("there is no question to take a mean over")
    return table[:, asked], weights[:, asked]
