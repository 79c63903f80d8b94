"""The data of the page as JSON values for its script: the tables, all their rows, and token views.

Names come from submitted records, which are not trusted. Control characters and characters that change the direction
of writing are replaced here; the script inserts names as text, never as markup.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.core.errors import clean
from benchmark.data.token_views import QUANTITIES, TokenView, strongest
from benchmark.records.comparable import fact_text
from leaderboard.board.model import Board, BoardTable, Reference, RetentionChange, Row, with_shots
from leaderboard.stats.comparisons import BASELINE, Difference
from leaderboard.stats.intervals import Estimate
from leaderboard.views.column import Line, View
from leaderboard.views.columns import columns
from leaderboard.views.notes import notes
from leaderboard.views.text import record_url
from leaderboard.web.pareto import pareto_front

COSTS = ("tokens", "seconds")
WITH_WRITING = "seconds_with_writing"  # a cost of tables in which a writer wrote for a method
DIGITS = 6
PAGE_NOTES = (  # terms with their explanations, in which `code` stands in backticks
    (
        "Whiskers",
        "show the 95% interval. All whiskers of a table share the scale in the heading; the dashed line is "
        f"`{BASELINE}`.",
    ),
    (
        "Pareto front",
        "◆ marks rows for which no other row of the table is at least as good in both exact match and training tokens "
        "and better in one.",
    ),
    ("Sheet", "Open a row to see all its records, answers and parameters."),
)


def page_data(board: Board, folder: Path) -> dict[str, Any]:
    """Tables and rows of the board. Links are relative to `folder`, which the page is written to."""
    rows = [row for number, table in enumerate(board.tables) for row in _rows(number, table, folder)]
    data = {
        "baseline": BASELINE,
        "columns": [column for column in _columns(board.tables) if not column["part_of"]],
        "notes": [*notes(), *PAGE_NOTES],
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
        "suites": table.suites,
        "questions": table.questions,
        "subjects": table.subjects,
        "columns": _columns([table]),
        "held_out": [
            {"label": held_out.label, "metric": held_out.metric, "before": _json(held_out.before)}
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
                "scores": {key: _json(score) for key, score in _reference_scores(reference).items()},
            }
            for reference in table.references
        ],
    }


def _rows(number: int, table: BoardTable, folder: Path) -> list[dict[str, Any]]:
    costs = (*COSTS, WITH_WRITING) if any(row.writing for row in table.rows) else COSTS
    fronts = {cost: _front(table.rows, cost) for cost in costs}
    return [
        {
            "table": number,
            **_row(table, row, folder),
            **({WITH_WRITING: _json(row.seconds_with_writing)} if WITH_WRITING in costs else {}),
            "front": [cost for cost in costs if fronts[cost][index]],
        }
        for index, row in enumerate(table.rows)
    ]


def _row(table: BoardTable, row: Row, folder: Path) -> dict[str, Any]:
    """The values of a row: those of its columns by their keys, then what the sheet and the charts need."""
    values = {column.key: _json(column.of(Line(table, row, folder))) for column in columns(View.PAGE_WIDE, [table])}
    values |= {
        "among_first": row.among_first,
        "best": table.is_best(row),
        "method": row.method,
        "pair": row.pair,
        "copies": row.copies,
        "parameters": [[key, fact_text(value)] for key, value in row.parameters.items() if value is not None],
        "records": [record_url(path, folder) for path in row.files],
        "answers": [record_url(path, folder) for path in row.answers],
        "also": _json(row.also),
        "epochs": _json(row.epochs),
        "loss_tokens": _json(row.loss_tokens),
    }
    if row.facts:
        values["facts"] = _json(row.facts.model_dump())
    if row.confirmed:
        values["confirmed"] = True
    if row.tried > 1:
        values |= {"tried": row.tried, "chosen": [[key, fact_text(value)] for key, value in row.chosen.items()]}
    if row.retention:
        changes = [row.retention.get(held_out.label) for held_out in table.held_out]
        values |= {
            "retention": _json(changes),
            "retention_seeds": [change and list(change.seeds) for change in changes],
        }
    if row.curve:
        values["curve"] = [[step, _json(value)] for step, value in row.curve.items()]
    if row.by_distance:
        values["by_distance"] = [
            [distance.low, distance.high, _json(distance.score), distance.questions] for distance in row.by_distance
        ]
    return values


def _columns(tables: Sequence[BoardTable]) -> list[dict[str, Any]]:
    """The columns of the page in their order, with the parts that the tables have."""
    return [
        {
            "key": column.key,
            "heading": column.heading,
            "explanation": column.explanation,
            "kind": column.format.kind,
            "rising": column.rising,
            "wide": View.PAGE not in column.views,
            "part_of": column.part_of,
        }
        for column in columns(View.PAGE_WIDE, tables)
    ]


def _reference_scores(reference: Reference) -> dict[str, Estimate]:
    """The scores of a reference by the keys of their columns."""
    fields = {f"exact_match_{field}": score for field, score in reference.fields.items()}
    return reference.scores | fields | {with_shots(shots): score for shots, score in reference.by_shots.items()}


def _front(rows: Sequence[Row], cost: str) -> list[bool]:
    """Whether each row is on the Pareto front by exact match and one cost. Rows of unknown cost are not."""
    known = [(index, value) for index, row in enumerate(rows) if (value := getattr(row, cost)) is not None]
    front = [False] * len(rows)
    on_front = pareto_front([(value, rows[index].headline.mean) for index, value in known])
    for (index, _), is_on_front in zip(known, on_front, strict=True):
        front[index] = is_on_front
    return front


def _json(value: Any) -> Any:
    """A value of the board as JSON: a mean with its interval as [mean, low, high], numbers with DIGITS digits."""
    match value:
        case Estimate() | RetentionChange():
            return _json([value.mean, value.low, value.high])
        case Difference():
            return {
                "other": value.other,
                "interval": _json(value.interval),
                "seeds": value.seeds,
                "p_adjusted": _json(value.p_adjusted),
                "verdict": value.verdict,
            }
        case float():
            return round(value, DIGITS)
        case dict():
            return {key: _json(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_json(inner) for inner in value]
    return value


def _cleaned(value: Any) -> Any:
    """The value with control characters replaced in every text, also in keys."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(key): _cleaned(inner) for key, inner in value.items()}
    return [_cleaned(inner) for inner in value] if isinstance(value, list | tuple) else value
