"""The records of one row, and the choice among them by the development half.

A suite may try several values of a parameter, or several budgets. Each combination is a point, with one record per
seed. The row shows the point that is best on the development half, with its results on the test half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.records.comparable import Facts, canonical, point, treatment
from benchmark.records.record import Record
from benchmark.records.scores import best_shots

RecordFile = tuple[Path, Record]
Point = list[RecordFile]  # the records of one point, by seed


@dataclass(frozen=True)
class RowRecords:
    """The records of one row: those of every point that was tried."""

    points: list[Point]

    @cached_property
    def shown(self) -> Point:
        """The records to show: those that confirm the best point with other seeds, or else the point's own."""
        best = max(self._complete, key=lambda records: _on_development(_chosen_with(records))[1])
        return [file for file in best if file[1].confirms] or best

    @cached_property
    def records(self) -> list[Record]:
        """The records to show, without their paths."""
        return [record for _, record in self.shown]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the records to show."""
        return tuple(record.seed for record in self.records)

    @cached_property
    def treatment(self) -> Facts:
        """What makes the records a row of their own."""
        return treatment(self.records[0])

    @cached_property
    def shots(self) -> int:
        """The number of examples that is best on the development half, for the point and seeds it is chosen with."""
        return max(self._candidates, key=lambda candidate: candidate[1])[0]

    @cached_property
    def development(self) -> float:
        """The exact match on the development half that point and number of examples were chosen by."""
        return max(score for _, score in self._candidates)

    @property
    def tried(self) -> int:
        """How many points were tried, including those that a search stopped early."""
        return max(len(self.points), *(record.points for records in self.points for _, record in records))

    @cached_property
    def _complete(self) -> list[Point]:
        """The points with the most seeds to choose with; the others were stopped or are not finished."""
        most = max(len(_chosen_with(records)) for records in self.points)
        return [records for records in self.points if len(_chosen_with(records)) == most]

    @cached_property
    def _candidates(self) -> list[tuple[int, float]]:
        """For every complete point its best number of examples and the exact match with it."""
        return [_on_development(_chosen_with(records)) for records in self._complete]


def rows_of(group: Sequence[RecordFile]) -> list[RowRecords]:
    """Split the records of a table into rows by treatment, points by what a suite chooses over, and seeds.

    Raises:
        UserError: two records have the same cell and seed, or are of the same training under two seeds.
    """
    trained: dict[str, RecordFile] = {}
    rows: dict[str, dict[str, dict[int, RecordFile]]] = {}
    for path, record in group:
        seeds = rows.setdefault(canonical(treatment(record)), {}).setdefault(canonical(point(record)), {})
        if record.seed in seeds:
            raise UserError(f"{seeds[record.seed][0]} and {path}: the same cell and seed twice; remove one of the two")
        seeds[record.seed] = (path, record)
        other, same = trained.setdefault(record.stages.get("train", str(path)), (path, record))
        if same.seed != record.seed:
            raise UserError(f"{other} and {path}: the same training under two seeds; remove one of the two")
    return [
        RowRecords([[file for _, file in sorted(seeds.items())] for _, seeds in sorted(points.items())])
        for points in rows.values()
    ]


def _chosen_with(records: Point) -> Point:
    """The records that a point is chosen with: those that do not confirm it, if there are any."""
    return [file for file in records if not file[1].confirms] or records


def _on_development(records: Point) -> tuple[int, float]:
    """The best number of examples on the development half, and the exact match with it; the mean over seeds."""
    return best_shots([record.scores for _, record in records], "development")
