"""The data of the page as JSON values for its script: the tables, all their rows, and token views.

Names come from submitted records, which are not trusted. Control characters and characters that change the direction
of writing are replaced here; the script inserts names as text, never as markup.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.core.errors import clean
from benchmark.data.token_views import QUANTITIES, TokenView, strongest
from benchmark.records.comparable import fact_text
from leaderboard.board.model import Board, BoardTable, RetentionChange, Row
from leaderboard.stats.comparisons import BASELINE, RANDOM, Difference
from leaderboard.stats.intervals import Estimate
from leaderboard.views.text import field_name, record_url
from leaderboard.web.pareto import pareto_front

COSTS = ("tokens", "seconds")
DIGITS = 6


def page_data(board: Board, folder: Path) -> dict[str, Any]:
    """Tables and rows of the board. Links are relative to `folder`, which the page is written to."""
    rows = [row for number, table in enumerate(board.tables) for row in _rows(number, table, folder)]
    data = {
        "baseline": BASELINE,
        "random": RANDOM,
        "tables": [_table(table, folder) for table in board.tables],
        "rows": rows,
    }
    cleaned: dict[str, Any] = _cleaned(data)
    return cleaned


def view_data(view: TokenView) -> dict[str, Any]:
    """A token view with `limits`: for each quantity of the view, the amount at which its colour is strongest.

    Control characters are replaced one by one, so the offsets of tokens stay valid.
    """
    limits = {name: strongest(values, name) for name in QUANTITIES if (values := view.values(name)) is not None}
    cleaned: dict[str, Any] = _cleaned(view.model_dump(mode="json"))
    return cleaned | {"limits": limits}


def _table(table: BoardTable, folder: Path) -> dict[str, Any]:
    return {
        "title": table.title,
        "task": table.task,
        "model": table.model,
        "budget": table.budget,
        "suites": table.suites,
        "questions": table.questions,
        "subjects": table.subjects,
        "fields": [field_name(field) for field in table.fields],
        "held_out": [
            {"label": held_out.label, "metric": held_out.metric, "before": _number(held_out.before)}
            for held_out in table.held_out
        ],
        "conditions": [[key, fact_text(value)] for key, value in table.conditions.items() if value is not None],
        "summary": f"{table.summary()} {table.alike_in()}",
        "references": [
            {
                "label": reference.label,
                "shots": reference.shots,
                "questions": reference.questions,
                "record": record_url(reference.file, folder),
                "scores": {metric: _interval(score) for metric, score in reference.scores.items()},
                "by_shots": _by_shots(reference.by_shots),
            }
            for reference in table.references
        ],
    }


def _rows(number: int, table: BoardTable, folder: Path) -> list[dict[str, Any]]:
    fronts = {cost: _front(table.rows, cost) for cost in COSTS}
    return [
        {
            "table": number,
            **_row(table, row, folder),
            "front": [cost for cost in COSTS if fronts[cost][index]],
        }
        for index, row in enumerate(table.rows)
    ]


def _row(table: BoardTable, row: Row, folder: Path) -> dict[str, Any]:
    line: dict[str, Any] = {
        "rank": row.rank,
        "among_first": row.among_first,
        "label": row.label,
        "method": row.method,
        "pair": row.pair,
        "copies": row.copies,
        "parameters": [[key, fact_text(value)] for key, value in row.parameters.items() if value is not None],
        "seeds": row.seeds,
        "records": [record_url(path, folder) for path in row.files],
        "answers": [record_url(path, folder) for path in row.answers],
        "scores": {metric: _interval(score) for metric, score in row.scores.items()},
        "fields": [_interval(row.fields.get(field)) for field in table.fields],
        "shots": row.shots,
        "by_shots": _by_shots(row.by_shots),
        "of_answered": _number(row.of_answered),
        "also": {way: _difference(difference) for way, difference in row.also.items()},
        "steps": row.steps,
        "epochs": _number(row.epochs),
        "loss_tokens": _number(row.loss_tokens),
        "texts": row.texts,
        "tokens": _number(row.tokens),
        "seconds": _number(row.seconds),
    }
    for key in ("to_baseline", "to_random"):
        if against := getattr(row, key):
            line[key] = _difference(against)
    if row.facts:
        line["facts"] = {name: _number(value) for name, value in row.facts.model_dump().items()}
    if row.confirmed:
        line["confirmed"] = True
    if row.tried > 1:
        line |= {"tried": row.tried, "chosen": [[key, fact_text(value)] for key, value in row.chosen.items()]}
    if row.retention:
        line["forgetting"] = [_interval(row.retention.get(held_out.label)) for held_out in table.held_out]
    if row.curve:
        line["curve"] = [[step, _number(value)] for step, value in row.curve.items()]
    if row.by_distance:
        line["by_distance"] = [[bin_.low, bin_.high, _interval(bin_.score), bin_.questions] for bin_ in row.by_distance]
    return line


def _by_shots(scores: Mapping[int, Estimate]) -> list[list[Any]]:
    """Pairs (number of examples, exact match with its interval)."""
    return [[shots, _interval(score)] for shots, score in scores.items()]


def _difference(against: Difference) -> dict[str, Any]:
    return {
        "other": against.other,
        "interval": _interval(against.interval),
        "seeds": against.seeds,
        "p_adjusted": _number(against.p_adjusted),
        "verdict": against.verdict,
    }


def _front(rows: Sequence[Row], cost: str) -> list[bool]:
    """Whether each row is on the Pareto front by exact match and one cost. Rows of unknown cost are not."""
    known = [(index, value) for index, row in enumerate(rows) if (value := getattr(row, cost)) is not None]
    front = [False] * len(rows)
    on_front = pareto_front([(value, rows[index].headline.mean) for index, value in known])
    for (index, _), is_on_front in zip(known, on_front, strict=True):
        front[index] = is_on_front
    return front


def _interval(score: Estimate | RetentionChange | None) -> list[float | None] | None:
    """A mean and the ends of its interval; None if it was not measured."""
    if score is None:
        return None
    return [_number(value) for value in (score.mean, score.low, score.high)]


def _number(value: float | None) -> float | None:
    return None if value is None else round(float(value), DIGITS)


def _cleaned(value: Any) -> Any:
    """The value with control characters replaced in every text, also in keys."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(inner) for key, inner in value.items()}
    return [_cleaned(inner) for inner in value] if isinstance(value, list | tuple) else value
