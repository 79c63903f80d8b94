"""The board in one table, for a README: a line per table of the board, a column per method of the paper."""

from leaderboard.board.model import Board, BoardTable, Row
from leaderboard.stats.comparisons import BASELINE, PAPER_METHODS
from leaderboard.views.markdown import markdown_grid, markdown_text
from leaderboard.views.text import MARKS, url, with_interval


def readme_table(board: Board, link: str) -> str:
    """Exact match of the paper's methods and of the best other one in every table; `link` leads to the whole page.

    Tables in which no method recalled anything are named below, since a line of zeros compares nothing.
    """
    told = [table for table in board.tables if any(row.headline.mean > 0 for row in table.rows)] or list(board.tables)
    empty = [table for table in board.tables if table not in told]
    best = [table.best_of_methods() for table in told]
    shown = [method for method in PAPER_METHODS if any(method in rows for rows in best)]
    lines = []
    for table, rows in zip(told, best, strict=True):
        cells = [_cell(table, rows.get(method)) for method in shown]
        lines.append([markdown_text(table.title), *cells, _others(table, rows)])
    headers = ["Exact match", *(markdown_text(method) for method in shown), "best of the others"]
    kept = len(headers) if any(line[-1] != "–" for line in lines) else -1
    return (
        f"{markdown_grid([*headers][:kept], [line[:kept] for line in lines])}\n\n"
        "Test half, 95% intervals over seeds and subjects. Of a method's several parameters, those that are best on "
        f"the development half. **Bold**: the highest of a line. ▲▼: above or below {markdown_text(BASELINE)}, p < .05 "
        "after Holm's correction. Every row and column, the records, and how the numbers are made: "
        f"[the leaderboard]({url(link)}).{_nothing_recalled(empty)}\n"
    )


def _nothing_recalled(tables: list[BoardTable]) -> str:
    """A sentence with the names of tables whose lines are left out; empty if there are none."""
    names = "; ".join(markdown_text(table.title) for table in tables)
    return f" Left out, since no method recalled anything there: {names}." if tables else ""


def _others(table: BoardTable, rows: dict[str, Row]) -> str:
    """The best, by the development half, of the methods that have no column."""
    others = [row for method, row in rows.items() if method not in PAPER_METHODS]
    best = max(others, key=lambda row: row.development, default=None)
    return "–" if best is None else f"{markdown_text(best.method)} {_cell(table, best)}"


def _cell(table: BoardTable, row: Row | None) -> str:
    if row is None:
        return "–"
    score = with_interval(row.headline)
    told = [f"**{score}**" if table.is_best(row) else score]
    told += [MARKS[row.to_baseline.verdict].strip()] if row.to_baseline and row.to_baseline.verdict else []
    given = row.label.removeprefix(row.method).strip()
    told += [markdown_text(given)] if given else []
    most = max(len(other.seeds) for other in table.rows)
    told += [f"({len(row.seeds)} of {most} seeds)"] if len(row.seeds) < most else []
    return " ".join(told)
