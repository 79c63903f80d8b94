"""What a column of the board is, and where a column can be shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from pathlib import Path
from typing import Any

from leaderboard.board.model import BoardTable, Row
from leaderboard.views.formats import Format


class View(Flag):
    """Where a column is shown."""

    TERMINAL = auto()
    TERMINAL_WAYS = auto()  # the table below it, where other questions were asked
    MARKDOWN = auto()  # the first table of a section
    MARKDOWN_WAYS = auto()  # "Asked in other ways"
    MARKDOWN_COPIES = auto()  # "Kept of the facts in the copies"
    MARKDOWN_WRITERS = auto()  # "Texts by a writer"
    PAGE = auto()  # the web page
    PAGE_WIDE = auto()  # the web page with "all columns" chosen; has the columns of PAGE as well
    CSV = auto()
    EXPORT = auto()


NOWHERE = View(0)
PAGE = View.PAGE | View.PAGE_WIDE
READ = View.TERMINAL | View.MARKDOWN | PAGE
FILES = View.CSV | View.EXPORT


@dataclass(frozen=True)
class Line:
    """A row of the board in its table, and the folder that the paths in a view are relative to."""

    table: BoardTable
    row: Row
    folder: Path = Path()


@dataclass(frozen=True)
class Column:
    """A column of the board.

    Attributes:
        key: names the column among all.
        format: how its values are written.
        views: where it is shown.
        value: the value of a line; the row's attribute `key` unless given.
        heading: its heading for people.
        explanation: a sentence for people who read the heading, with code in backticks; the notes of the board have it.
        csv: its name in board.csv, if that is not the key.
        export: its name in the exported table `board`, if that is not the key.
        short: its heading in the terminal, if that is not the heading in small letters.
        width: how wide it may be in the terminal before its text is folded; None if it never folds.
        rising: whether people want the least first.
        parts: for a column that people see as several, makes these of the tables shown, such as one for each field.
        parts_in: the views that show the parts.
        part_of: for a part, the key of the column that it belongs to.
    """

    key: str
    format: Format
    views: View
    value: Callable[[Line], Any] | None = None
    heading: str = ""
    explanation: str = ""
    csv: str = ""
    export: str = ""
    short: str = ""
    width: int | None = None
    rising: bool = False
    parts: Callable[[Sequence[BoardTable]], list["Column"]] | None = None
    parts_in: View = NOWHERE
    part_of: str = ""

    def of(self, line: Line) -> Any:
        """The column's value of a line."""
        return self.value(line) if self.value else getattr(line.row, self.key)
