"""The board in a terminal."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.core.errors import clean
from leaderboard.board.labels import short_number
from leaderboard.board.model import Board, BoardTable, Row
from leaderboard.stats.comparisons import BASELINE
from leaderboard.views.markdown import (
    difference_text,
    field_name,
    forgetting_note,
    forgetting_text,
    rank_text,
    tried_text,
    with_interval,
)


def print_board(board: Board, console: Console) -> None:
    """Print every table with two digits, in columns that fit a terminal of 100 letters; the pages have all of them."""
    for table in board.tables:
        console.print(Text(f"\n{clean(table.title)}", style="bold"))
        console.print(_rich_table(table))
        for one in table.references:
            told = f"{one.label}: exact match {with_interval(one.scores['exact_match'], 2)} with {one.shots} shots"
            console.print(Text(f"  {told}", style="dim"))
        console.print(Text(clean(table.summary())))
        if table.held_out:
            console.print(Text(f"\n{forgetting_note(table, clean)}"))
            console.print(_forgetting_table(table))
    note = "Test half; 95% intervals over seeds and subjects (with one seed: over subjects)."
    told = "▲▼: above or below, p < .05 after Holm's correction; ≈: not told apart from the first."
    console.print(Text(f"\n{note} {told}", style="dim"))


def _rich_table(table: BoardTable) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0, header_style="bold")
    grid.add_column(Text("#"), justify="right", no_wrap=True)
    grid.add_column(Text("method"), max_width=24, overflow="fold")
    grid.add_column(Text("exact match"), justify="right", no_wrap=True)
    grid.add_column(Text("shots"), justify="right")
    for name in (_abbreviated(field_name(field)) for field in table.fields):
        grid.add_column(Text(name), justify="right", max_width=5)
    grid.add_column(Text(f"Δ to {BASELINE}"), justify="right", max_width=19)
    grid.add_column(Text("seeds"), justify="right")
    for row in table.rows:
        grid.add_row(*_cells(table, row), style="bold green" if table.is_best(row) else "")
    return grid


def _forgetting_table(table: BoardTable) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1), header_style="bold")
    grid.add_column(Text("method"), max_width=24, overflow="fold")
    for one in table.held_out:
        grid.add_column(Text(clean(one.label)), justify="right", overflow="fold")
    for row in table.rows:
        numbers = [forgetting_text(row, one.label) for one in table.held_out]
        grid.add_row(*(Text(text) for text in (clean(row.label), *numbers)))
    return grid


def _cells(table: BoardTable, row: Row) -> list[Text]:
    fields = [row.fields.get(field) for field in table.fields]
    numbers = ["–" if score is None else short_number(score.mean, 2) for score in fields]
    texts = [
        rank_text(row).replace(" ", ""),
        clean(row.label) + tried_text(row),
        with_interval(row.headline, 2),
        str(row.shots),
        *numbers,
        difference_text(row, row.to_baseline, 2),
        str(len(row.seeds)),
    ]
    return [Text(text) for text in texts]


def _abbreviated(name: str) -> str:
    return " ".join(word if len(word) <= 5 else f"{word[:4]}." for word in name.split())
