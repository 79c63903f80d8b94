"""How the values of a column are written: as text for people, in board.csv, and in the exported tables.

A `Format` knows all three for its kind of value. A new kind of value is a new class here; a new column
(see `columns.py`) usually takes one that exists.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.records.comparable import canonical
from leaderboard.board.distance import DistanceBin
from leaderboard.board.model import RetentionChange, Row
from leaderboard.stats.comparisons import Difference
from leaderboard.stats.intervals import Estimate
from leaderboard.views.text import MISSING, csv_cell, difference_text, number_text, range_text, with_interval

CsvCells = dict[str, str | int | float]  # the names of a value's columns in board.csv, each with its cell

DIGITS = 6  # of numbers in board.csv


class Exported(BaseModel):
    """A model of the exported tables."""

    model_config = ConfigDict(extra="forbid")


class Interval(Exported):
    """A mean with the ends of its 95% interval, None where there is none."""

    mean: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, score: Estimate | RetentionChange) -> "Interval":
        """The exported form of a mean with its interval."""
        return cls(mean=score.mean, low=score.low, high=score.high)


class Comparison(Exported):
    """Exact match minus that of the row labelled `other`, on the seeds that both have; `p_adjusted` is Holm's."""

    other: str
    difference: Interval
    seeds: list[int]
    p: float | None
    p_adjusted: float | None
    verdict: Literal["above", "below"] | None

    @classmethod
    def of(cls, difference: Difference) -> "Comparison":
        """The exported form of a difference."""
        return cls(
            other=difference.other,
            difference=Interval.of(difference.interval),
            seeds=list(difference.seeds),
            p=difference.p,
            p_adjusted=difference.p_adjusted,
            verdict=difference.verdict,
        )


class DistanceRow(Exported):
    """Exact match of the questions whose answer stands `low` to `high` tokens from the name."""

    low: int
    high: int
    questions: int
    exact_match: Interval

    @classmethod
    def of(cls, distance_bin: DistanceBin) -> "DistanceRow":
        """The exported form of a bin."""
        return cls(
            low=distance_bin.low,
            high=distance_bin.high,
            questions=distance_bin.questions,
            exact_match=Interval.of(distance_bin.score),
        )


def exported(value: Any) -> Any:
    """A value of the board as the exported tables hold it."""
    match value:
        case Estimate() | RetentionChange():
            return Interval.of(value)
        case Difference():
            return Comparison.of(value)
        case DistanceBin():
            return DistanceRow.of(value)
        case Mapping():
            return {key: exported(inner) for key, inner in value.items()}
        case list() | tuple():
            return [exported(inner) for inner in value]
    return value


class Format:
    """Plain values: text and whole numbers.

    Attributes:
        annotation: the value's type in the exported tables.
        kind: how the page draws the value, see `web/table.js`.
    """

    kind = "text"

    def __init__(self, annotation: Any = str) -> None:
        self.annotation = annotation

    def text(self, value: Any, row: Row, digits: int = 3) -> str:
        """The value as people read it, with so many digits; a dash if it is missing."""
        return MISSING if value is None else str(value)

    def csv(self, name: str, value: Any) -> CsvCells:
        """The value's columns in board.csv with their cells; every value of a format has the same columns."""
        if value is None:
            return {name: ""}
        return {name: int(value) if isinstance(value, bool) else csv_cell(value) if isinstance(value, str) else value}

    def types(self, name: str) -> dict[str, Any]:
        """The value's columns in the exported tables with their types."""
        return {name: self.annotation}

    def exported(self, name: str, value: Any) -> dict[str, Any]:
        """The value's columns in the exported tables with their values."""
        return {name: exported(value)}


class Number(Format):
    """A number that may be missing.

    Args:
        annotation: `float` or `float | None`.
        digits: how many digits board.csv keeps; 0 writes a whole number.
        pattern: how people read it, such as "{:,.0f} s"; without a pattern it is written as a share, such as .392.
        sign: "+" to write the sign of positive shares, too.
    """

    def __init__(self, annotation: Any, digits: int = DIGITS, pattern: str = "", sign: str = "") -> None:
        super().__init__(annotation)
        self.digits, self.pattern, self.sign = digits, pattern, sign
        self.kind = "count" if pattern else "share"

    def text(self, value: Any, row: Row, digits: int = 3) -> str:
        """By the pattern, or as a share."""
        if self.pattern and value is not None:
            return self.pattern.format(value)
        return number_text(value, digits, self.sign)

    def csv(self, name: str, value: Any) -> CsvCells:
        """Rounded; an empty cell if it is missing."""
        return {name: "" if value is None else round(value, self.digits or None)}


class Words(Format):
    """Several names or numbers; board.csv has them in a cell, with spaces between."""

    def csv(self, name: str, value: Any) -> CsvCells:
        """All in one cell."""
        return {name: csv_cell(" ".join(map(str, value or ())))}


class Json(Format):
    """Mappings and lists; board.csv has them in a cell as JSON, an interval as its three numbers.

    With `skip_empty` the cell of an empty mapping stays empty.
    """

    def __init__(self, annotation: Any, skip_empty: bool = False) -> None:
        super().__init__(annotation)
        self.skip_empty = skip_empty

    def csv(self, name: str, value: Any) -> CsvCells:
        """All in one cell."""
        return {name: "" if self.skip_empty and not value else csv_cell(canonical(_bare(value)))}


class Score(Format):
    """A mean with its interval, three columns in files. With `brief` people see the mean alone."""

    kind = "score"

    def __init__(self, annotation: Any = Interval | None, brief: bool = False) -> None:
        super().__init__(annotation)
        self.brief = brief

    def text(self, value: Any, row: Row, digits: int = 3) -> str:
        """The mean, and its interval unless the format is brief."""
        if self.brief:
            return number_text(value and value.mean, digits)
        return with_interval(value, digits)

    def csv(self, name: str, value: Any) -> CsvCells:
        """The mean and the ends of its interval."""
        ends = {"": "mean", "_low": "low", "_high": "high"}
        numbers = {name + end: getattr(value, part, None) for end, part in ends.items()}
        return {column: "" if number is None else round(number, DIGITS) for column, number in numbers.items()}


class RetentionScore(Score):
    """The change on a held-out text or task, and in board.csv the seeds that measured it."""

    def csv(self, name: str, value: Any) -> CsvCells:
        """The change, the ends of its interval, and the seeds."""
        return super().csv(name, value) | {f"{name}_seeds": " ".join(map(str, value.seeds)) if value else ""}


class DifferenceScore(Score):
    """The difference to another row: its interval, p-values, the other row and the seeds that both have."""

    kind = "difference"

    def __init__(self) -> None:
        super().__init__(Comparison | None)

    def text(self, value: Any, row: Row, digits: int = 3) -> str:
        """The difference with its interval and mark."""
        return difference_text(row, value, digits)

    def csv(self, name: str, value: Any) -> CsvCells:
        """The interval, both p-values, the other row and the seeds."""
        p_values = {part: getattr(value, part, None) for part in ("p", "p_adjusted")}
        return {
            **super().csv(name, value.interval if value else None),
            **{f"{name}_{part}": "" if p is None else f"{p:.6g}" for part, p in p_values.items()},
            f"{name}_other": csv_cell(value.other) if value else "",
            f"{name}_seeds": " ".join(map(str, value.seeds)) if value else "",
        }


class Span(Format):
    """The least and the most over the seeds, two columns in files."""

    kind = "span"

    def text(self, value: Any, row: Row, digits: int = 3) -> str:
        """Both ends, or a single number if they are equal."""
        return range_text(value)

    def csv(self, name: str, value: Any) -> CsvCells:
        """Both ends."""
        return dict(self.exported(name, value))

    def types(self, name: str) -> dict[str, Any]:
        """Two whole numbers."""
        return {f"{name}_least": int, f"{name}_most": int}

    def exported(self, name: str, value: Any) -> dict[str, Any]:
        """Both ends."""
        least, most = value or ("", "")
        return {f"{name}_least": least, f"{name}_most": most}


def _bare(value: Any) -> Any:
    """A value for JSON, with intervals as lists [mean, low, high]."""
    if isinstance(value, Estimate):
        return [value.mean, value.low, value.high]
    return {key: _bare(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value
