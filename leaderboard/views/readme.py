"""The board as a README shows it: the largest table, its main methods, floor and ceiling, small enough for a phone."""

from leaderboard.board.labels import short_number
from leaderboard.board.model import Board, BoardTable, Reference, Row
from leaderboard.stats.comparisons import BASELINE
from leaderboard.views.markdown import markdown_grid, markdown_text
from leaderboard.views.text import MARKS, url, with_interval

MOST_ROWS = 6
ALWAYS = ("plain", BASELINE, "contrastive_dropout")  # the paper's comparison, and the one at equal steps
DIGITS = 2


def small_board(board: Board, link: str) -> str:
    """Markdown of at most six rows and four columns, and a line that explains them; `link` leads to the whole board.

    Shows the table with most records. Its rows are the best of each of the paper's methods, then of the others, as the
    development half has them; the untouched model and the open book come last.
    """
    table = max(board.tables, key=lambda table: sum(len(row.seeds) for row in table.rows))
    rows = _main_rows(table)
    asked = {number for row in rows for number in row.by_shots}
    shots = max(asked) if len(asked) > 1 else None
    choice = "acc" in rows[0].scores
    shown: list[Row | Reference] = [*rows, *table.references]
    lines = [[_name(row), _headline(table, row), *_shots(row, shots), *_choice(row, choice)] for row in shown]
    headers = ["Method", "Exact match", *([f"{shots}-shot"] if shots else []), *(["Choice"] if choice else [])]
    return (
        f"{markdown_grid(headers, lines)}\n\n{_explanation(board, table, shots, choice)} [All tables]({url(link)}).\n"
    )


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


def _shots(row: Row | Reference, shots: int | None) -> list[str]:
    if shots is None:
        return []
    return [short_number(row.by_shots[shots].mean, DIGITS) if shots in row.by_shots else "–"]


def _choice(row: Row | Reference, shown: bool) -> list[str]:
    if not shown:
        return []
    return [short_number(row.scores["acc"].mean, DIGITS) if "acc" in row.scores else "–"]


def _explanation(board: Board, table: BoardTable, shots: int | None, choice: bool) -> str:
    most = max(len(row.seeds) for row in table.rows)
    parts = [
        f"{markdown_text(f'{table.task}, {table.model}, {table.budget}')}; {most} seed{'s' if most > 1 else ''}, "
        f"{table.questions} questions of the test half.",
        "*Exact match*: share of facts recalled, with the number of examples in the prompt that is best on the "
        f"development half, and its 95% interval; ▲▼: above or below {BASELINE}, p < .05 after Holm.",
    ]
    if shots:
        parts.append(f"*{shots}-shot*: exact match with {shots} examples in the prompt.")
    if choice:
        parts.append("*Choice*: the true value is the likeliest of ten.")
    if table.references:
        parts.append("*In italics*: the model before training, without and with the document in the prompt.")
    left_out = len(table.rows) - len(_main_rows(table))
    if left_out or len(board.tables) > 1:
        parts.append(f"Not shown here: rows: {left_out}, other tables: {len(board.tables) - 1}.")
    return " ".join(parts)
