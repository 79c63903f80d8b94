"""The board as a README shows it: its largest model, main methods and references, small enough for a phone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leaderboard.board.model import Board, BoardTable, Reference, Row
from leaderboard.stats.comparisons import BASELINE
from leaderboard.stats.intervals import Estimate
from leaderboard.views.columns import OTHER_HEADINGS
from leaderboard.views.markdown import markdown_grid, markdown_text
from leaderboard.views.text import MARKS, number_text, url, with_interval

MOST_ROWS = 6
ALWAYS = ("plain", BASELINE, "contrastive_dropout")  # the paper's comparison, and the one at equal steps
DIGITS = 2
ENOUGH_SEEDS = 3
REWORDED = "paraphrased"


def small_board(board: Board, link: str) -> str:
    """Markdown of at most six rows and five columns, and a line that explains them; `link` leads to the whole board.

    Shows the largest model that was trained with `ENOUGH_SEEDS` seeds; of its tables, the one with most records. Its
    rows are the best of each of the paper's methods, then of the others, as the development half has them; the
    untouched model and the open book come last.
    """
    table = _table(board)
    rows = _main_rows(table)
    columns = _columns(rows)
    shown: list[Row | Reference] = [*rows, *table.references]
    lines = [[_name(row), _headline(table, row), *(column.cell(row) for column in columns)] for row in shown]
    headers = ["Method", "Exact match", *(column.heading for column in columns)]
    return (
        f"{markdown_grid(headers, lines)}\n\n{_explanation(board, table, rows, columns)} [All tables]({url(link)}).\n"
    )


def _table(board: Board) -> BoardTable:
    """The table to show: largest model first, then most records; those with too few seeds only if all have."""

    def order(table: BoardTable) -> tuple[int, int]:
        return table.parameters or 0, sum(len(row.seeds) for row in table.rows)

    enough = [table for table in board.tables if any(len(row.seeds) >= ENOUGH_SEEDS for row in table.rows)]
    return max(enough, key=order) if enough else max(board.tables, key=lambda table: order(table)[::-1])


@dataclass(frozen=True)
class _Column:
    """A column that is left out where nothing was measured: its heading, explanation and cell."""

    heading: str
    explanation: str
    cell: Callable[[Row | Reference], str]


def _columns(rows: Sequence[Row]) -> list[_Column]:
    """The exact match with most examples, if there were several numbers of them, and in other words; the choice."""
    columns = []
    asked = {number for row in rows for number in row.by_shots}
    if len(asked) > 1:
        most = max(asked)
        explanation = f"exact match with {most} example{'s' * (most != 1)} in the prompt."
        columns.append(_Column(f"{most}-shot", explanation, lambda row: _mean(row.by_shots.get(most))))
    if REWORDED in rows[0].scores:
        explanation = "exact match on the same questions in other words, with the row's best number of examples."
        columns.append(_Column(OTHER_HEADINGS[REWORDED], explanation, lambda row: _mean(row.scores.get(REWORDED))))
    if "acc" in rows[0].scores:
        explanation = "the true value is the likeliest of ten."
        columns.append(_Column("Choice", explanation, lambda row: _mean(row.scores.get("acc"))))
    return columns


def _mean(score: Estimate | None) -> str:
    return number_text(None if score is None else score.mean, DIGITS)


def _main_rows(table: BoardTable) -> list[Row]:
    """The rows to show, in the order of the board."""
    best = table.best_of_methods()
    named = [best[method] for method in ALWAYS if method in best]
    others = sorted((row for row in best.values() if row not in named), key=lambda row: -row.development)
    chosen = [*named, *others][: MOST_ROWS - len(table.references)]
    return [row for row in table.rows if row in chosen]


def _name(row: Row | Reference) -> str:
    """The row's label with spaces, so that a phone can break it into lines."""
    label = markdown_text(row.label.replace("_", " "))
    return f"*{label}*" if isinstance(row, Reference) else label


def _headline(table: BoardTable, row: Row | Reference) -> str:
    score = with_interval(row.scores["exact_match"], DIGITS)
    if isinstance(row, Reference):
        return score
    mark = MARKS[row.to_baseline.verdict] if row.to_baseline else ""
    mean, interval = score.split(" ", 1)
    return (f"**{mean}** {interval}" if table.is_best(row) else score) + mark


def _explanation(board: Board, table: BoardTable, rows: Sequence[Row], columns: Sequence[_Column]) -> str:
    seeds = sorted({len(row.seeds) for row in rows})
    counted = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    parts = [
        f"{markdown_text(f'{table.task}, {table.model}, {table.budget}')}; {counted} seed{'s' * (seeds[-1] > 1)}, "
        f"{table.questions} questions of the test half.",
        "*Exact match*: share of facts recalled, with the number of examples in the prompt that is best on the "
        f"development half, and its 95% interval; ▲▼: above or below {BASELINE}, p < .05 after Holm.",
    ]
    parts += [f"*{column.heading}*: {column.explanation}" for column in columns]
    if table.references:
        parts.append("*In italics*: the model before training, without and with the document in the prompt.")
    left_out = len(table.rows) - len(rows)
    if left_out or len(board.tables) > 1:
        parts.append(f"Rows not shown: {left_out}; other tables: {len(board.tables) - 1}.")
    return " ".join(parts)
