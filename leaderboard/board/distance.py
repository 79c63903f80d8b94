"""Exact match by how far a fact stands from the name that it belongs to, in tokens of the trained model."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from leaderboard.board.answers import Answers, tally
from leaderboard.stats.intervals import Estimate, mean_interval

BINS = 6  # of about equally many questions each

Distances = NDArray[np.float64]
Edges = tuple[tuple[int, int], ...]


class DistanceBin(BaseModel):
    """The questions whose answers stand `low` to `high` tokens from the name, both included, and their exact match.

    `questions` counts them once, however many seeds answered. Less than 0 means that the answer comes before the name.
    """

    model_config = ConfigDict(frozen=True)

    low: int
    high: int
    score: Estimate
    questions: int


def shared_distances(answers: Sequence[Answers]) -> Distances:
    """The distance of every question, from whichever of the records knows it; NaN where none does.

    All must ask the same questions about the same texts and of the same model, as the records of a table do; so one
    that was made before distances were recorded takes those of the others.
    """
    found = np.full(len(answers[0].question), np.nan)
    for one in answers:
        found = np.where(np.isnan(found), one.distance, found)
    return found


def bin_edges(distances: Distances, bins: int = BINS) -> Edges:
    """Cut distances into at most so many bins of about equally many questions each, [low, high] both included.

    Equal distances are never parted: all go where the middle one of them belongs. Answers that come before the name are
    one more bin, the first, since their distance is another kind of thing.
    """
    known = distances[~np.isnan(distances)].astype(int)
    values, counts = np.unique(known[known >= 0], return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    places = (bins * middles / max(counts.sum(), 1)).astype(int)
    cut = [values[places == place] for place in np.unique(places)]
    before = known[known < 0]
    return tuple((int(part.min()), int(part.max())) for part in [before, *cut] if len(part))


def by_distance(answers: list[Answers], distances: Distances, edges: Edges) -> tuple[DistanceBin, ...]:
    """A row's exact match in every bin that has a question with one, with intervals over seeds and subjects.

    Args:
        answers: one entry per seed, all asking the same.
        distances: of every question, NaN where it is not known.
        edges: as from `bin_edges`, over all questions of a table, so that its rows share them.
    """
    found = []
    for low, high in edges:
        counted = tally(answers, "exact_match", among=(distances >= low) & (distances <= high))
        if counted:
            score = mean_interval(*counted)
            found.append(DistanceBin(low=low, high=high, score=score, questions=int(counted[1].sum())))
    return tuple(found)
