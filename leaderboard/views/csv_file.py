"""The board as one CSV file."""

import csv
import io
from pathlib import Path

from leaderboard.board.model import Board
from leaderboard.views.column import Line, View
from leaderboard.views.columns import columns
from leaderboard.views.formats import CsvCells
from leaderboard.views.text import csv_cell


def board_csv(board: Board, folder: Path) -> str:
    """The board as CSV, a line per row of a table; paths are relative to `folder`."""
    shown = columns(View.CSV, board.tables)
    names = [name for column in shown for name in column.format.csv(csv_cell(column.csv or column.key), None)]
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for table in board.tables:
        for row in table.rows:
            cells: CsvCells = {}
            for column in shown:
                cells |= column.format.csv(csv_cell(column.csv or column.key), column.of(Line(table, row, folder)))
            writer.writerow(cells)
    return file.getvalue()
