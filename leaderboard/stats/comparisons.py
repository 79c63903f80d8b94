"""The rows of a table against each other: paired differences, p-values for their number, ranks."""

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
    """The exact match of a row minus that of the row labelled `other`, on the seeds that both have.

    `interval` is that difference and its ends. `p` is two-sided, for this pair alone, None where it cannot be had;
    `p_adjusted` is Holm's, for all rows of the table that are compared with `other` as the same kind of baseline.
    `spread` is how the difference varies, from which power is worked out.
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
        """On which side of the other row this one is, or None where the adjusted p-value cannot tell them apart."""
        if self.p_adjusted is None or self.p_adjusted >= LEVEL or self.interval.mean == 0:
            return None
        return "above" if self.interval.mean > 0 else "below"


class Candidate(Protocol):
    """What it takes of a row to choose the one to compare with."""

    @property
    def alpha(self) -> Any:
        """The highest probability of dropping a token; None where the method has none."""

    @property
    def development(self) -> float:
        """The exact match on the development half."""


C = TypeVar("C", bound=Candidate)


@dataclass(frozen=True)
class Contender:
    """A row as it is compared: what it is, and its totals [seeds, subjects] of exact match over counts [subjects].

    `development` is its exact match on the development half.
    """

    label: str
    method: str
    alpha: Any
    treatment: Facts
    development: float
    seeds: tuple[int, ...]
    totals: Floats
    counts: Floats

    @property
    def mean(self) -> float:
        """Exact match over all questions and seeds, rounded as intervals are."""
        return round(float(self.totals.sum() / (self.counts.sum() * len(self.seeds))), 9)


def to_baseline(contenders: Sequence[Contender]) -> list[Difference | None]:
    """Each one against plain_matched: the one that shares most with it, where there are several."""
    baselines = [one for one in contenders if one.method == BASELINE]
    return _against(contenders, [_closest(one, baselines) for one in contenders])


def to_random(contenders: Sequence[Contender]) -> list[Difference | None]:
    """Each one against random_dropout.

    That is the one with the same probability of dropping where there is one, else the best on the development half.
    """
    randoms = [one for one in contenders if one.method == RANDOM]
    best = best_on_development(randoms)

    def opponent(one: Contender) -> Contender | None:
        return None if one.method == RANDOM else _closest(one, with_alpha(one.alpha, randoms) or best)

    return _against(contenders, [opponent(one) for one in contenders])


def with_alpha(alpha: Any, others: Sequence[C]) -> list[C]:
    """Those with this α: what a row is compared with, of a method's several, where there are any."""
    return [other for other in others if alpha is not None and other.alpha == alpha]


def best_on_development(others: Sequence[C]) -> list[C]:
    """Those that are best on the development half: what a row is compared with where none has its α."""
    most = max((other.development for other in others), default=0)
    return [other for other in others if other.development == most]


def ranks(contenders: Sequence[Contender]) -> list[int]:
    """1 + the number of rows with a higher mean."""
    means = [one.mean for one in contenders]
    rising = sorted(means)
    return [1 + len(rising) - bisect.bisect_right(rising, mean) for mean in means]


def among_first(contenders: Sequence[Contender]) -> list[bool]:
    """Which are not told apart from the first.

    The row with the highest mean (of several, the one with most seeds) is compared with every other on the seeds that
    both have, and p-values are adjusted for their number. What cannot be compared is not told apart.
    """
    first = max(contenders, key=lambda one: (one.mean, len(one.seeds)))
    values = [None if one is first else _p(one, first) for one in contenders]
    return [value is None or value >= LEVEL for value in holm(values)]


def _against(contenders: Sequence[Contender], others: Sequence[Contender | None]) -> list[Difference | None]:
    made = [_compare(one, other) for one, other in zip(contenders, others, strict=True)]
    families: dict[int, list[int]] = {}
    for place, other in enumerate(others):
        if made[place]:
            families.setdefault(id(other), []).append(place)
    for places in families.values():
        some = [one for place in places if (one := made[place])]
        for place, one, value in zip(places, some, holm([one.p for one in some]), strict=True):
            made[place] = one.model_copy(update={"p_adjusted": value})
    return made


def _compare(one: Contender, other: Contender | None) -> Difference | None:
    if other is None or other is one:
        return None
    seeds, a, b = _shared(one, other)
    if not seeds:
        return None
    spread = effects(a - b, one.counts).spread()
    return Difference(
        other=other.label,
        interval=paired_difference(a, b, one.counts),
        seeds=seeds,
        p=paired_p(spread),
        p_adjusted=None,
        spread=spread,
    )


def _p(one: Contender, other: Contender) -> float | None:
    seeds, a, b = _shared(one, other)
    return paired_p(effects(a - b, one.counts).spread()) if seeds else None


def _shared(one: Contender, other: Contender) -> tuple[tuple[int, ...], Floats, Floats]:
    """The seeds that both have, and the totals of either under them."""
    seeds = tuple(seed for seed in one.seeds if seed in other.seeds)
    a, b = (side.totals[[side.seeds.index(seed) for seed in seeds]] for side in (one, other))
    return seeds, a, b


def _closest(one: Contender, others: Sequence[Contender]) -> Contender | None:
    """The one that shares most with this one: where suites differ in pair or scoring there may be several."""

    def shared(other: Contender) -> int:
        return sum(canonical(one.treatment.get(key)) == canonical(value) for key, value in other.treatment.items())

    return max(others, key=shared, default=None)
