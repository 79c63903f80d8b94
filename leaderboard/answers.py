"""The answers to a record's test questions, as arrays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import UserError, one_line
from benchmark.record import DISTANCE_COLUMNS, METRICS, Record
from leaderboard.untrusted import read_table

HALF = "test"
DISTANCE = DISTANCE_COLUMNS[1]  # in tokens
Tally = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Answers:
    """What one record answered in the test half, sorted by lm-eval task and question.

    `task`, `question` and `subject` are [questions] strings; `values` is [metrics, questions] in the order of METRICS,
    NaN where a metric is not measured. `distance` is [questions], the tokens from the subject's name to the answer, NaN
    where the record does not say.
    """

    task: NDArray[Any]
    question: NDArray[Any]
    subject: NDArray[Any]
    values: NDArray[np.float64]
    distance: NDArray[np.float64]

    def measured(self, metric: str) -> NDArray[np.bool_]:
        """Which of the questions have a value of this metric."""
        there: NDArray[np.bool_] = ~np.isnan(self.values[METRICS.index(metric)])
        return there

    def asks_the_same_as(self, other: "Answers") -> bool:
        """Whether both hold the same questions of the same tasks and subjects, measured by the same metrics."""
        return (
            np.array_equal(self.task, other.task)
            and np.array_equal(self.question, other.question)
            and np.array_equal(self.subject, other.subject)
            and np.array_equal(np.isnan(self.values), np.isnan(other.values))
        )


def read_answers(path: Path, record: Record) -> Answers:
    """Read the test half of the answers beside the record at `path`.

    Raises UserError naming the file if it is not the table that the record describes, or if its means are not the
    record's scores.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    file = path.parent / record.answers.file
    try:
        stored = read_table(file)
        distances = [DISTANCE] if DISTANCE in stored.column_names else []
        whole = stored.select(["question", "task", "cluster", "half", *METRICS, *distances])
        table = whole.filter(pc.equal(whole["half"], HALF)).sort_by([("task", "ascending"), ("question", "ascending")])
        values = np.stack([table[metric].cast(pa.float64()).to_numpy() for metric in METRICS])
        unknown = np.full(table.num_rows, np.nan)
        distance = table[DISTANCE].cast(pa.float64()).to_numpy() if distances else unknown
    except (pa.ArrowException, KeyError) as error:
        raise UserError(f"{file}: not a table of answers ({one_line(error)}); run the suite again") from None
    if whole.num_rows != record.answers.rows:
        raise UserError(f"{file}: {whole.num_rows} rows, its record says {record.answers.rows}; run the suite again")
    task, question, subject = (table[name].to_numpy() for name in ("task", "question", "cluster"))
    if not len(task):
        raise UserError(f"{file}: half: no question of the {HALF} half, which the board is made of")
    if ((task[1:] == task[:-1]) & (question[1:] == question[:-1])).any():
        raise UserError(f"{file}: question: the same question stands there twice; run the suite again to make it anew")
    answers = Answers(task, question, subject, values, distance)
    _check_scores(path, record, answers)
    return answers


def tally(
    answers: list[Answers], metric: str, task: str | None = None, among: NDArray[np.bool_] | None = None
) -> Tally | None:
    """Sum answers per seed and subject: the totals [seeds, subjects] and the counts [subjects] of their questions.

    `answers` has one entry per seed, all asking the same. `task` limits the sum to one lm-eval task, `among` to
    the questions where it is true. None if `metric` is not measured there.
    """
    first, row = answers[0], METRICS.index(metric)
    asked = first.measured(metric)
    if task is not None:
        asked &= first.task == task
    if among is not None:
        asked &= among
    if not asked.any():
        return None
    subjects, code = np.unique(first.subject[asked].astype(str), return_inverse=True)
    size = len(subjects)
    counts = np.bincount(code, minlength=size).astype(np.float64)
    totals = [np.bincount(code, weights=one.values[row, asked], minlength=size) for one in answers]
    return np.stack(totals), counts


def _check_scores(path: Path, record: Record, answers: Answers) -> None:
    for task in np.unique(answers.task.astype(str)):
        at_task = answers.task == task
        for metric, row in zip(METRICS, answers.values[:, at_task], strict=True):
            if np.isnan(row).all():
                continue
            told = record.scores.get(task, {}).get(HALF, {}).get(metric)
            if told is None or not abs(told - row.mean()) <= 1e-6:
                where = f"scores.{task}.{HALF}.{metric}"
                raise UserError(f"{path}: {where}: {told}, but the answers give {row.mean():.6f}; run the suite again")
