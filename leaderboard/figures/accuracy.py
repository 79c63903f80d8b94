"""Figure 1: how well facts are remembered by where they stand, from records."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import UserError
from benchmark.records.record import Record
from leaderboard.board.answers import Answers, read_answers
from leaderboard.board.assemble import build_board, load_records
from leaderboard.board.distance import Distances, bin_edges, by_distance, shared_distances
from leaderboard.board.model import BoardTable, Row
from leaderboard.stats.comparisons import PAPER_METHODS
from leaderboard.stats.intervals import Estimate

Line = dict[str, Any]
DistancesOf = Callable[[Record], Mapping[str, int] | None]


def accuracy_lines(folder: Path, suite: str, distances: DistancesOf) -> list[Line]:
    """A line per row of the board and field, and per row and bin of distances: exact match of the test half.

    `by` is "field" or "distance". A field's `tokens` are its mean distance from the name, a bin's the middle of `low`
    and `high`; they are empty where nobody knows the distances. `shown` says whether the row is in the chart.

    Args:
        folder: Of the records.
        suite: Name of the suite whose records count.
        distances: Gives the distances in tokens by question of a record from before distances were recorded, None
            where they cannot be had; a line's `distances` then says "task".

    Raises:
        UserError: There are no records of that suite.
    """
    found = [(path, record) for path, record in load_records(folder) if record.suite == suite]
    if not found:
        raise UserError(f"{folder}: holds no record of suite {suite!r}; run it first: benchmark run {suite}")
    records = dict(found)
    return [line for table in build_board(found).tables for line in _of_table(table, records, distances)]


def _of_table(table: BoardTable, records: dict[Path, Record], distances: DistancesOf) -> list[Line]:
    answers = {
        path: read_answers(path, records[path]).with_shots(row.shots) for row in table.rows for path in row.files
    }
    first = next(iter(answers))
    known, source = shared_distances(list(answers.values())), "records"
    if np.isnan(known).all():
        known, source = _in_order(answers[first], distances(records[first])), "task"
    edges = bin_edges(known[answers[first].measured("exact_match")])
    lines: list[Line] = []
    shown = {row.label for method, row in table.best_of_methods().items() if method in PAPER_METHODS}
    for row in table.rows:
        told = {"shown": row.label in shown, "distances": "" if np.isnan(known).all() else source}
        about = _about(table, row) | told
        for field, score in row.fields.items():
            there = known[answers[first].task.astype(str) == f"{table.task}_{field}"]
            tokens = round(float(np.nanmean(there)), 3) if not np.isnan(there).all() else None
            place = {"by": "field", "field": field, "low": None, "high": None, "tokens": tokens}
            lines.append({**about, **place, "questions": len(there), **_numbers(score)})
        for one in by_distance([answers[path] for path in row.files], known, edges):
            middle = (one.low + one.high) / 2
            place = {"by": "distance", "field": "", "low": one.low, "high": one.high, "tokens": middle}
            lines.append({**about, **place, "questions": one.questions, **_numbers(one.score)})
    return lines


def _in_order(answers: Answers, tokens: Mapping[str, int] | None) -> Distances:
    if tokens is None:
        return np.full(len(answers.question), np.nan)
    return np.array([tokens.get(question, np.nan) for question in answers.question], dtype=float)


def _about(table: BoardTable, row: Row) -> Line:
    return {
        "table": table.title,
        "model": table.model,
        "budget": table.budget,
        "row": row.label,
        "method": row.method,
        "seeds": len(row.seeds),
    }


def _numbers(score: Estimate) -> Line:
    return {"exact_match": score.mean, "ci_low": score.low, "ci_high": score.high}
