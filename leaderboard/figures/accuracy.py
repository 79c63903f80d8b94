"""The numbers of Figure 1: exact match by field and by distance from name to fact, from records."""

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
    """Exact match of the test half as lines of a CSV file: for each row of the board, by field and by distance.

    `by` is "field" or "distance". `tokens` is the distance from name to fact: the mean of a field, or the middle of a
    bin from `low` to `high`; it is empty where distances are unknown. `shown` says whether the chart has the row.
    `distances` says where the distances come from: "records", or "task" for those of `distances`.

    Args:
        folder: Folder of the records.
        suite: Name of the suite whose records count.
        distances: Gives the distance in tokens of each question, for records from before distances were recorded; None
            if it is unknown.

    Raises:
        UserError: The folder has no record of that suite.
    """
    of_suite = [(path, record) for path, record in load_records(folder) if record.suite == suite]
    if not of_suite:
        raise UserError(f"{folder}: no record of suite {suite!r}; run it first: benchmark run {suite}")
    records = dict(of_suite)
    return [line for table in build_board(of_suite).tables for line in _table_lines(table, records, distances)]


def _table_lines(table: BoardTable, records: dict[Path, Record], distances: DistancesOf) -> list[Line]:
    answers = {
        path: read_answers(path, records[path]).with_shots(row.shots) for row in table.rows for path in row.files
    }
    first = next(iter(answers))
    known, source = shared_distances(list(answers.values())), "records"
    if np.isnan(known).all():
        known, source = _in_question_order(answers[first], distances(records[first])), "task"
    edges = bin_edges(known[answers[first].measured("exact_match")])
    lines: list[Line] = []
    shown = {row.label for method, row in table.best_of_methods().items() if method in PAPER_METHODS}
    for row in table.rows:
        about = _about(table, row)
        about |= {"shown": row.label in shown, "distances": "" if np.isnan(known).all() else source}
        for field, score in row.fields.items():
            asked = answers[first]
            of_field = known[(asked.task.astype(str) == f"{table.task}_{field}") | (asked.kind == field)]
            tokens = round(float(np.nanmean(of_field)), 3) if not np.isnan(of_field).all() else None
            position = {"by": "field", "field": field, "low": None, "high": None, "tokens": tokens}
            lines.append({**about, **position, "questions": len(of_field), **_numbers(score)})
        for distance in by_distance([answers[path] for path in row.files], known, edges):
            low, high = distance.low, distance.high
            position = {"by": "distance", "field": "", "low": low, "high": high, "tokens": (low + high) / 2}
            lines.append({**about, **position, "questions": distance.questions, **_numbers(distance.score)})
    return lines


def _in_question_order(answers: Answers, tokens: Mapping[str, int] | None) -> Distances:
    """Distances in the order of the answers; NaN where they are unknown."""
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
