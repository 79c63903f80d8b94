"""How the rows of a table compare with each other: paired differences, adjusted p-values, ranks."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from benchmark.records.comparable import Facts, canonical
from leaderboard.stats.intervals import Estimate, paired_difference
from leaderboard.stats.significance import LEVEL, holm, paired_p
from leaderboard.stats.variance import Spread, effects

BASELINE = "plain_matched"
RANDOM = "random_dropout"
PAPER_METHODS = ("plain", BASELINE, RANDOM, "attention_dropout", "contrastive_dropout")  # and its matched control

Floats = NDArray[np.float64]


class Difference(BaseModel):
    """The exact match of a row minus that of another row, on the seeds that both have.

    Attributes:
        other: the label of the other row.
        interval: the difference with its interval.
        seeds: the seeds that both rows have.
        p: two-sided p-value of this pair alone; None if it cannot be computed.
        p_adjusted: p-value after Holm's correction over all rows of the table that are compared with `other`.
        spread: how the difference varies; power is computed from it.
    """

    model_config = ConfigDict(frozen=True)

    other: str
    interval: Estimate
    seeds: tuple[int, ...]
    p: float | None
    p_adjusted: float | None
    spread: Spread | None = None

    @property
    def verdict(self) -> Literal["above", "below"] | None:
        """Whether the row is above or below the other; None if the adjusted p-value is not significant."""
        if self.p_adjusted is None or self.p_adjusted >= LEVEL or self.interval.mean == 0:
            return None
        return "above" if self.interval.mean > 0 else "below"


class Candidate(Protocol):
    """What is needed of a row to choose the row to compare with."""

    @property
    def alpha(self) -> Any:
        """The highest probability of dropping a token; None for methods without such a probability."""

    @property
    def development(self) -> float:
        """The exact match on the development half."""

    @property
    def tokens(self) -> float:
        """Tokens read in training, the mean over seeds."""


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True)
class Contender:
    """A row with what is needed to compare it.

    Attributes:
        label: the row's label in its table.
        method: the name of its method.
        alpha: the highest probability of dropping a token; None for methods without such a probability.
        treatment: what makes it a row of its own, see `benchmark.records.comparable.treatment`.
        development: its exact match on the development half.
        tokens: tokens read in training, the mean over seeds.
        seeds: its seeds.
        totals: [seeds, subjects], the sum of exact matches of a subject's questions under a seed.
        counts: [subjects], the number of these questions.
    """

    label: str
    method: str
    alpha: Any
    treatment: Facts
    development: float
    tokens: float
    seeds: tuple[int, ...]
    totals: Floats
    counts: Floats

    @property
    def mean(self) -> float:
        """Exact match over all questions and seeds, rounded as intervals are."""
        return round(float(self.totals.sum() / (self.counts.sum() * len(self.seeds))), 9)


def to_baseline(contenders: Sequence[Contender]) -> list[Difference | None]:
    """Compare every row with plain_matched; of several, with the row whose treatment is most similar."""
    baselines = [row for row in contenders if row.method == BASELINE]
    return _differences(contenders, [_most_similar(row, baselines) for row in contenders])


def to_random(contenders: Sequence[Contender]) -> list[Difference | None]:
    """Compare every row with random_dropout, with the row that `opponents` chooses."""
    randoms = [row for row in contenders if row.method == RANDOM]

    def opponent(row: Contender) -> Contender | None:
        return None if row.method == RANDOM else _most_similar(row, opponents(row, randoms))

    return _differences(contenders, [opponent(row) for row in contenders])


def opponents(row: Candidate, rows: Sequence[C]) -> list[C]:
    """Those rows of another method that a row is compared with.

    Rows with the same α, or else those that are best on the development half; of these, the ones that read most nearly
    as many tokens. Random dropout of the same α may delete three times as many tokens as contrastive dropout, or, with
    `rate`, as many.
    """
    rows = [other for other in rows if row.alpha is not None and other.alpha == row.alpha] or _best(rows)
    nearest = min((abs(other.tokens - row.tokens) for other in rows), default=0)
    return [other for other in rows if abs(other.tokens - row.tokens) == nearest]


def _best(rows: Sequence[C]) -> list[C]:
    """The rows with the highest exact match on the development half."""
    highest = max((row.development for row in rows), default=0)
    return [row for row in rows if row.development == highest]


def ranks(contenders: Sequence[Contender]) -> list[int]:
    """1 + the number of rows with a higher mean."""
    means = [row.mean for row in contenders]
    rising = sorted(means)
    return [1 + len(rising) - bisect.bisect_right(rising, mean) for mean in means]


def among_first(contenders: Sequence[Contender]) -> list[bool]:
    """Whether each row does not differ significantly from the first.

    The row with the highest mean (of several, the row with most seeds) is compared with every other on the seeds that
    both have; p-values are adjusted for their number. Rows that cannot be compared count as not different.
    """
    first = max(contenders, key=lambda row: (row.mean, len(row.seeds)))
    p_values = [None if row is first else _paired_p(row, first) for row in contenders]
    return [p is None or p >= LEVEL for p in holm(p_values)]


def _differences(contenders: Sequence[Contender], others: Sequence[Contender | None]) -> list[Difference | None]:
    """The difference of each row to its other row, adjusted over the rows that share the other row."""
    differences = [_difference(row, other) for row, other in zip(contenders, others, strict=True)]
    families: dict[int, list[int]] = {}
    for index, other in enumerate(others):
        if differences[index]:
            families.setdefault(id(other), []).append(index)
    for indices in families.values():
        family = [difference for index in indices if (difference := differences[index])]
        adjusted = holm([difference.p for difference in family])
        for index, difference, p in zip(indices, family, adjusted, strict=True):
            differences[index] = difference.model_copy(update={"p_adjusted": p})
    return differences


def _difference(row: Contender, other: Contender | None) -> Difference | None:
    if other is None or other is row:
        return None
    seeds, a, b = _on_shared_seeds(row, other)
    if not seeds:
        return None
    spread = effects(a - b, row.counts).spread()
    return Difference(
        other=other.label,
        interval=paired_difference(a, b, row.counts),
        seeds=seeds,
        p=paired_p(spread),
        p_adjusted=None,
        spread=spread,
    )


def _paired_p(row: Contender, other: Contender) -> float | None:
    seeds, a, b = _on_shared_seeds(row, other)
    return paired_p(effects(a - b, row.counts).spread()) if seeds else None


def _on_shared_seeds(row: Contender, other: Contender) -> tuple[tuple[int, ...], Floats, Floats]:
    """The seeds that both rows have, and the totals [shared seeds, subjects] of each."""
    seeds = tuple(seed for seed in row.seeds if seed in other.seeds)
    a, b = (side.totals[[side.seeds.index(seed) for seed in seeds]] for side in (row, other))
    return seeds, a, b


def _most_similar(row: Contender, others: Sequence[Contender]) -> Contender | None:
    """The row whose treatment shares most facts with this row's; there are several if suites differ in pair or scoring.

    None if there is no other row.
    """

    def shared(other: Contender) -> int:
        return sum(canonical(row.treatment.get(key)) == canonical(value) for key, value in other.treatment.items())

    return max(others, key=shared, default=None)
