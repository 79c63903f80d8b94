"""What a page on a reproduction consists of: sections with tables."""

from dataclasses import dataclass
from pathlib import Path


class Markdown(str):
    """A cell that is Markdown already. All other cells may contain names from records and are escaped."""


@dataclass(frozen=True)
class Grid:
    """A table of plain text with notes below; `files` has the records that each row links to."""

    title: str
    headers: list[str]
    rows: list[list[str]]
    files: list[tuple[Path, ...]] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """The part of the page on one published table.

    `commands` run its missing rows; `judged` says whether it has verdicts, whose rules the page then states.
    """

    title: str
    notes: tuple[str, ...]
    grids: tuple[Grid, ...]
    commands: tuple[str, ...]
    judged: bool = True
