"""The row and the seed of a board to adopt: the best on the development half."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmark.core.errors import UserError, nearest
from benchmark.records.evidence import Evidence, Score
from benchmark.records.record import Record
from benchmark.records.scores import flat_scores, mean_exact_match
from leaderboard.board.model import Board, BoardTable, Row
from leaderboard.stats.intervals import Estimate

DEVELOPMENT, TEST = "development", "test"
METRICS = {"cloze": "cloze", "acc": "choice"}  # with their names on model cards


def find_table(board: Board, **wanted: str | None) -> BoardTable:
    """The table of a board with the wanted `task`, `model` and `budget`; None for any.

    Raises:
        UserError: There is no such table, or there are several.
    """
    tables = list(board.tables)
    for name, value in wanted.items():
        known = list(dict.fromkeys(str(getattr(table, name)) for table in tables))
        if value is not None and value not in known:
            raise UserError(f"--{name} {value}: unknown; {nearest(value, known)}")
        tables = [table for table in tables if value in (None, getattr(table, name))]
        if value is None and len(known) > 1:
            raise UserError(f"the suite has several of {name}; say which with --{name}: {', '.join(known)}")
    if len(tables) > 1:
        titles = "; ".join(table.title for table in tables)
        raise UserError(f"the suite has several tables of this task, model and budget ({titles}); run them as suites")
    return tables[0]


def find_row(table: BoardTable, records: Mapping[Path, Record], method: str | None = None) -> Row:
    """The row with the highest exact match on the development half, the mean over seeds; cloze there breaks ties.

    Args:
        table: The table.
        records: The records of its rows, by path.
        method: Only rows of this method, by its name or by its label on the board.

    Raises:
        UserError: No row is of this method.
    """
    rows = [row for row in table.rows if method in (None, row.method, row.label)]
    if not rows:
        raise UserError(f"--method {method}: not in this suite; {nearest(str(method), _names(table.rows))}")

    def order(row: Row) -> tuple[float, float, str]:
        return -row.development, -(_cloze([records[file] for file in row.files]) or 0), row.label

    return min(rows, key=order)


def evidence_of(table: BoardTable, row: Row, records: Mapping[Path, Record], asked: bool) -> Evidence:
    """The best seed of a row on the development half, and what the board and its record say about it.

    Args:
        table: The table of the row.
        row: The row.
        records: The records of the table, by path.
        asked: Whether the row's method was asked for by name.
    """
    by_seed = {records[file].seed: file for file in row.files}
    seeds = {seed: mean_exact_match(records[file].scores, DEVELOPMENT, row.shots) for seed, file in by_seed.items()}
    seed = min(seeds, key=lambda number: (-seeds[number], -(_cloze([records[by_seed[number]]]) or 0), number))
    record = records[by_seed[seed]]
    development = {
        of_row.label: (of_row.development, _cloze([records[file] for file in of_row.files])) for of_row in table.rows
    }
    return Evidence(
        label=row.label,
        seed=seed,
        record=by_seed[seed],
        shots=row.shots,
        development=dict(sorted(development.items(), key=lambda item: (-item[1][0], -(item[1][1] or 0), item[0]))),
        seeds=seeds,
        asked=asked,
        questions=table.questions,
        scores=tuple(_scores(table, row, record)),
        recalled=table.recalled,
        summary=table.summary(),
    )


def _names(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.method for row in rows))


def _cloze(records: Sequence[Record]) -> float | None:
    """The mean cloze on the development half; None if it was not measured."""
    values = [value for record in records if (value := _mean(record, DEVELOPMENT, "cloze")) is not None]
    return sum(values) / len(values) if values else None


def _scores(table: BoardTable, row: Row, record: Record) -> list[Score]:
    """Exact match with each number of examples, the headline first, then cloze and choice."""
    untouched = next(iter(table.untouched), None)
    scores = []
    for shots in sorted(row.by_shots, key=lambda number: (number != row.shots, number)):
        label = f"exact match, {shots} shot{'s' * (shots != 1)}"
        before = untouched.by_shots.get(shots) if untouched else None
        scores.append(_score(label, mean_exact_match(record.scores, TEST, shots), row.by_shots[shots], before))
    for metric, label in METRICS.items():
        if metric in row.scores:
            before = untouched.scores.get(metric) if untouched else None
            scores.append(_score(label, _mean(record, TEST, metric), row.scores[metric], before))
    return scores


def _score(label: str, of_seed: float | None, score: Estimate, before: Estimate | None) -> Score:
    return Score(label, of_seed, score.mean, score.low, score.high, before.mean if before else None)


def _mean(record: Record, half: str, metric: str) -> float | None:
    """The mean of a record's scores in one metric over its lm-eval tasks; None if it was not measured."""
    scores = flat_scores(record.scores).items()
    values = [value for (_, _, of_half, name), value in scores if (of_half, name) == (half, metric)]
    return sum(values) / len(values) if values else None
