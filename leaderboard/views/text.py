"""Numbers, names and links of the board as text.

Names come from records that anyone may submit, so every view shows them as text and never as markup.
"""

import os
from pathlib import Path
from urllib.parse import quote

from benchmark.core.errors import clean
from leaderboard.board.labels import short_number
from leaderboard.board.model import RetentionChange, Row
from leaderboard.stats.comparisons import Difference
from leaderboard.stats.intervals import Estimate

MISSING = "–"
MARKS = {"above": " ▲", "below": " ▼", None: ""}


def number_text(value: float | None, digits: int = 3, sign: str = "") -> str:
    """A number such as .392 (with sign "+": +.392), or a dash if it is missing."""
    return MISSING if value is None else short_number(value, digits, sign)


def with_interval(score: Estimate | None, digits: int = 3, sign: str = "") -> str:
    """A mean with its interval, such as ".392 [.351, .433]", or a dash if it is missing."""
    if score is None:
        return MISSING
    mean, low, high = (short_number(value, digits, sign) for value in (score.mean, score.low, score.high))
    return f"{mean} [{low}, {high}]"


def difference_text(row: Row, difference: Difference | None, digits: int) -> str:
    """A difference to another row with its mark, and its number of seeds if the row itself has more."""
    if difference is None:
        return MISSING
    return with_interval(difference.interval, digits, "+") + MARKS[difference.verdict] + _fewer(row, difference.seeds)


def retention_text(row: Row, change: RetentionChange | None) -> str:
    """A row's change for the worse on a held-out text or task (above 0 is a loss), or a dash if it was not measured."""
    if change is None:
        return MISSING
    fewer = _fewer(row, change.seeds)
    if change.low is None or change.high is None:
        return number_text(change.mean, sign="+") + fewer
    return with_interval(Estimate(change.mean, change.low, change.high), sign="+") + fewer


def rank_text(row: Row) -> str:
    """A row's rank, with ≈ if the row does not differ significantly from the first."""
    return f"{row.rank} ≈" if row.among_first else f"{row.rank}"


def tried_text(row: Row) -> str:
    """How many points the row is the best of, and whether other seeds confirmed it; empty for a single point."""
    if row.tried == 1:
        return " (confirmed)" if row.confirmed else ""
    return f" (best of {row.tried}{', confirmed' if row.confirmed else ''})"


def range_text(ends: tuple[int, int]) -> str:
    """The least and the most, such as "300–400", or a single number if they are equal."""
    low, high = (f"{end:,}" for end in ends)
    return low if low == high else f"{low}–{high}"


def field_name(field: str) -> str:
    """A field as the heading of a column: "birth_date" → "birth date"."""
    return clean(field.replace("_", " "))


def csv_cell(text: str) -> str:
    """Text for a cell of a CSV file; text that a spreadsheet would run as a formula gets a quote in front."""
    return f"'{clean(text)}" if text.startswith(("=", "+", "-", "@")) else clean(text)


def relative(path: Path, folder: Path) -> str:
    """The path as seen from a folder, with slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()


def record_url(path: Path, folder: Path) -> str:
    """The address of a file for a link in a page of `folder`: always relative, never with a scheme or host."""
    return url(relative(path, folder))


def url(path: str) -> str:
    """A path as the address of a link."""
    return quote(path, errors="surrogateescape")


def _fewer(row: Row, seeds: tuple[int, ...]) -> str:
    return f" ({len(seeds)} of {len(row.seeds)} seeds)" if seeds != row.seeds else ""
