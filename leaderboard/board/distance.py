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
    """Exact match of the questions whose answers stand `low` to `high` tokens from the name, both included.

    Below 0 the answer stands before the name. `questions` counts each question once, however many seeds answered it.
    """

    model_config = ConfigDict(frozen=True)

    low: int
    high: int
    score: Estimate
    questions: int


def shared_distances(answers: Sequence[Answers]) -> Distances:
    """[questions] the distance of every question, taken from any record that has it; NaN if no record has it.

    All records must ask the same questions about the same texts with the same model, as the records of a table do. So
    records from before distances were recorded use those of the others.
    """
    distances = np.full(len(answers[0].question), np.nan)
    for of_record in answers:
        distances = np.where(np.isnan(distances), of_record.distance, distances)
    return distances


def bin_edges(distances: Distances, bins: int = BINS) -> Edges:
    """Split distances into at most `bins` bins [low, high], both included, with about equal numbers of questions.

    Equal distances stay together, in the bin of their median. Answers that stand before the name have a bin of their
    own, the first, since their distances mean something else.
    """
    known = distances[~np.isnan(distances)].astype(int)
    values, counts = np.unique(known[known >= 0], return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    bin_of = (bins * middles / max(counts.sum(), 1)).astype(int)
    cut = [values[bin_of == number] for number in np.unique(bin_of)]
    before = known[known < 0]
    return tuple((int(part.min()), int(part.max())) for part in [before, *cut] if len(part))


def by_distance(answers: list[Answers], distances: Distances, edges: Edges) -> tuple[DistanceBin, ...]:
    """A row's exact match in every bin, with intervals over seeds and subjects; bins without questions are left out.

    Args:
        answers: one entry per seed, all to the same questions.
        distances: [questions], NaN if unknown.
        edges: of the bins, from all questions of a table, so that its rows share them.
    """
    result = []
    for low, high in edges:
        counted = tally(answers, "exact_match", among=(distances >= low) & (distances <= high))
        if counted:
            score = mean_interval(*counted)
            result.append(DistanceBin(low=low, high=high, score=score, questions=int(counted[1].sum())))
    return tuple(result)
