"""The columns of the board are declared once, and every view reads the declarations."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.records.record import METRICS
from leaderboard.views import columns as declarations
from leaderboard.views.column import FILES, READ, Column, View
from leaderboard.views.columns import COLUMNS, CSV_ORDER, EXPORT_ORDER, columns
from leaderboard.views.csv_file import board_csv
from leaderboard.views.formats import Number
from leaderboard.views.markdown import markdown_page
from leaderboard.views.terminal import print_board
from tests.leaderboard.factory import board_of, write_record


def test_the_keys_of_columns_are_distinct() -> None:
    keys = [column.key for column in COLUMNS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("view", "order"), [(View.CSV, CSV_ORDER), (View.EXPORT, EXPORT_ORDER)])
def test_the_order_of_a_file_names_columns_of_that_file(view: View, order: tuple[str, ...]) -> None:
    assert len(set(order)) == len(order)
    assert set(order) <= {column.key for column in COLUMNS if view in column.views}


def test_every_metric_of_a_record_is_a_column_of_the_files() -> None:
    assert set(METRICS) <= {column.key for column in COLUMNS if FILES in column.views}


@pytest.mark.parametrize("view", list(View))
def test_a_column_that_people_read_has_a_heading(view: View) -> None:
    if view in FILES:
        return
    assert all(column.heading or column.parts for column in columns(view, []))


def test_one_entry_adds_a_column_to_every_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new = Column(
        key="passes",
        format=Number(float, digits=4, pattern="{:.1f}"),
        views=READ | FILES,
        value=lambda line: line.row.epochs,
        heading="Passes",
        explanation="how often a text was read.",
    )
    monkeypatch.setattr(declarations, "COLUMNS", (*COLUMNS, new))
    write_record(tmp_path)
    board = board_of(tmp_path)
    page = markdown_page(board, tmp_path)
    header, _, row = [line.split("|") for line in page.split("\n") if line.startswith("|")][:3]
    place = [cell.strip() for cell in header].index("Passes")
    assert row[place].strip() == "10.0"
    output = io.StringIO()
    print_board(board, Console(file=output, width=100))
    assert "passes" in output.getvalue() and "10.0" in output.getvalue()
    (line,) = csv.DictReader(io.StringIO(board_csv(board, tmp_path)))
    assert list(line)[-1] == "passes" and line["passes"] == "10.0"
    assert columns(View.EXPORT, [])[-1] is new
