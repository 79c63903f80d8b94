"""The board in one table, for a README: a line per table of the board, a column per method of the paper."""

from leaderboard.board.model import Board, BoardTable, Row
from leaderboard.stats.comparisons import BASELINE, PAPER_METHODS
from leaderboard.views.markdown import markdown_grid, markdown_text
from leaderboard.views.text import MARKS, MISSING, url, with_interval


def readme_table(board: Board, link: str) -> str:
    """Exact match of the paper's methods and of the best other one in every table; `link` leads to the whole page.

    Tables in which no method recalled anything are named below, since a line of zeros compares nothing.
    """
    shown = [table for table in board.tables if any(row.headline.mean > 0 for row in table.rows)] or list(board.tables)
    empty = [table for table in board.tables if table not in shown]
    best = [table.best_of_methods() for table in shown]
    methods = [method for method in PAPER_METHODS if any(method in rows for rows in best)]
    lines = []
    for table, rows in zip(shown, best, strict=True):
        cells = [_cell(table, rows.get(method)) for method in methods]
        lines.append([markdown_text(table.title), *cells, _best_other(table, rows)])
    headers = ["Exact match", *(markdown_text(method) for method in methods), "best of the others"]
    has_others = any(line[-1] != MISSING for line in lines)
    count = len(headers) if has_others else len(headers) - 1
    return (
        f"{markdown_grid(headers[:count], [line[:count] for line in lines])}\n\n"
        "Test half, 95% intervals over seeds and subjects. Of a method's several parameters, those that are best on "
        f"the development half. **Bold**: the highest of a line. ▲▼: above or below {markdown_text(BASELINE)}, p < .05 "
        "after Holm's correction. Every row and column, the records, and how the numbers are made: "
        f"[the leaderboard]({url(link)}).{_nothing_recalled(empty)}\n"
    )


def _nothing_recalled(tables: list[BoardTable]) -> str:
    """A sentence with the names of tables whose lines are left out; empty if there are none."""
    names = "; ".join(markdown_text(table.title) for table in tables)
    return f" Left out, since no method recalled anything there: {names}." if tables else ""


def _best_other(table: BoardTable, rows: dict[str, Row]) -> str:
    """The best, by the development half, of the methods that have no column."""
    others = [row for method, row in rows.items() if method not in PAPER_METHODS]
    best = max(others, key=lambda row: row.development, default=None)
    return MISSING if best is None else f"{markdown_text(best.method)} {_cell(table, best)}"


def _cell(table: BoardTable, row: Row | None) -> str:
    if row is None:
        return MISSING
    score = with_interval(row.headline)
    parts = [f"**{score}**" if table.is_best(row) else score]
    if row.to_baseline and row.to_baseline.verdict:
        parts.append(MARKS[row.to_baseline.verdict].strip())
    if parameters := row.label.removeprefix(row.method).strip():
        parts.append(markdown_text(parameters))
    most = max(len(other.seeds) for other in table.rows)
    if len(row.seeds) < most:
        parts.append(f"({len(row.seeds)} of {most} seeds)")
    return " ".join(parts)
