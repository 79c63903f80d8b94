"""The board in a terminal."""

import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.core.errors import clean
from leaderboard.board.model import Board, BoardTable, Row
from leaderboard.views.column import Column, Line, View
from leaderboard.views.columns import columns
from leaderboard.views.markdown import retention_note
from leaderboard.views.text import number_text, rank_text, retention_text, tried_text, with_interval

DIGITS = 2
WIDTH = 100  # letters that the tables need


def terminal(width: int) -> Console:
    """Standard output: as wide as the terminal, or `width` letters wide if it is a file or a pipe."""
    return Console(width=None if sys.stdout.isatty() else width)


def print_board(board: Board, console: Console) -> None:
    """Print every table with two digits, in columns that fit `WIDTH` letters; the pages have all of them."""
    for table in board.tables:
        console.print(Text(f"\n{clean(table.title)}", style="bold"))
        console.print(_grid(table))
        for reference in table.references:
            score = with_interval(reference.scores["exact_match"], DIGITS)
            console.print(Text(f"  {reference.label}: exact match {score} with {reference.shots} shots", style="dim"))
        console.print(Text(clean(table.summary())))
        if ways := columns(View.TERMINAL_WAYS, [table]):
            console.print(Text("\nExact match of other questions:"))
            console.print(_ways_grid(table, ways))
        if table.held_out:
            console.print(Text(f"\n{retention_note(table, clean)}"))
            console.print(_retention_grid(table))
    note = "Test half; 95% intervals over seeds and subjects (with one seed: over subjects)."
    marks = "▲▼: above or below, p < .05 after Holm's correction; ≈: not significantly different from the first."
    console.print(Text(f"\n{note} {marks}", style="dim"))


def _grid(table: BoardTable) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style="bold")
    shown = columns(View.TERMINAL, [table])
    for column in shown:
        grid.add_column(
            Text(column.short or column.heading.lower()),
            justify="left" if column.key == "label" else "right",
            max_width=column.width,
            no_wrap=column.width is None,
            overflow="fold" if column.key == "label" else "ellipsis",
        )
    for row in table.rows:
        cells = [Text(_cell(column, Line(table, row))) for column in shown]
        grid.add_row(*cells, style="bold green" if table.is_best(row) else "")
    return grid


def _cell(column: Column, line: Line) -> str:
    """A row's cell in a column; ranks, labels and seeds are written for the terminal."""
    match column.key:
        case "rank":
            return rank_text(line.row).replace(" ", "")
        case "label":
            return clean(line.row.label) + tried_text(line.row)
        case "seeds":
            return str(len(line.row.seeds))
    return column.format.text(column.of(line), line.row, DIGITS)


def _ways_grid(table: BoardTable, ways: Sequence[Column]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1), header_style="bold")
    grid.add_column(Text("method"), max_width=24, overflow="fold")
    for column in ways:
        grid.add_column(Text(column.heading.lower()), justify="right")
    for row in table.rows:
        scores = (column.of(Line(table, row)) for column in ways)
        cells = (Text(number_text(score and score.mean, DIGITS)) for score in scores)
        grid.add_row(Text(clean(row.label)), *cells)
    return grid


def _retention_grid(table: BoardTable) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1), header_style="bold")
    grid.add_column(Text("method"), max_width=24, overflow="fold")
    for held_out in table.held_out:
        grid.add_column(Text(clean(held_out.label)), justify="right", overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(text) for text in _retention_cells(table, row)))
    return grid


def _retention_cells(table: BoardTable, row: Row) -> list[str]:
    changes = (row.retention.get(held_out.label) for held_out in table.held_out)
    return [clean(row.label), *(retention_text(row, change) for change in changes)]
