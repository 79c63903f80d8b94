"""The answers to a record's test questions, as arrays."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.core.errors import UserError, one_line
from benchmark.core.untrusted import read_table
from benchmark.records.record import DISTANCE_COLUMNS, KIND_COLUMN, METRICS, Record
from benchmark.records.scores import OTHER_QUESTIONS, old_shots, other_metric

HALF = "test"
OTHER_METRICS = tuple(OTHER_QUESTIONS.values())
BOARD_METRICS = (*METRICS, *OTHER_METRICS)  # those of records, then the exact match of other questions
DISTANCE = DISTANCE_COLUMNS[1]  # in tokens
Tally = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Answers:
    """The answers of one record to the test half, sorted by lm-eval task, number of examples and question.

    Attributes:
        task: [answers] names of lm-eval tasks.
        question: [answers] ids of questions.
        subject: [answers] ids of the people or paragraphs that questions are about.
        shots: [answers] numbers of examples before the question.
        values: [metrics, answers] in the order of BOARD_METRICS; NaN for a metric that was not measured. Other
            questions have a metric of their own for their exact match (`benchmark.records.scores.OTHER_QUESTIONS`).
        distance: [answers] tokens from the subject's name to the answer; NaN if the record does not say.
        kind: [answers] kinds of questions; "" if the record does not say.
    """

    task: NDArray[Any]
    question: NDArray[Any]
    subject: NDArray[Any]
    shots: NDArray[np.int64]
    values: NDArray[np.float64]
    distance: NDArray[np.float64]
    kind: NDArray[Any]

    def measured(self, metric: str) -> NDArray[np.bool_]:
        """[answers] whether each has a value of this metric."""
        is_measured: NDArray[np.bool_] = ~np.isnan(self.values[BOARD_METRICS.index(metric)])
        return is_measured

    def with_shots(self, shots: int) -> "Answers":
        """The answers after `shots` examples, and those to questions that take no examples (choice and cloze).

        For records that ask the same questions, the order of the answers does not depend on the number of examples.
        """
        takes_examples = np.any([self.measured(metric) for metric in ("exact_match", *OTHER_METRICS)], axis=0)
        kept = (self.shots == shots) | ~takes_examples
        return Answers(
            self.task[kept],
            self.question[kept],
            self.subject[kept],
            self.shots[kept],
            self.values[:, kept],
            self.distance[kept],
            self.kind[kept],
        )

    def asks_the_same_as(self, other: "Answers") -> bool:
        """Whether both answer the same questions of the same tasks and subjects, measured by the same metrics."""
        return (
            np.array_equal(self.task, other.task)
            and np.array_equal(self.question, other.question)
            and np.array_equal(self.subject, other.subject)
            and np.array_equal(self.shots, other.shots)
            and np.array_equal(np.isnan(self.values), np.isnan(other.values))
        )


def read_answers(path: Path, record: Record) -> Answers:
    """Read the test half of the answers beside the record at `path`.

    Raises:
        UserError: the file is not the table that the record describes, or its means are not the record's scores.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    file = path.parent / record.answers.file
    try:
        stored = read_table(file)
        stored = with_new_columns(stored, record)
        optional = [name for name in (DISTANCE, KIND_COLUMN) if name in stored.column_names]
        whole = stored.select(["question", "task", "cluster", "half", "shots", *METRICS, *optional])
        order = [(name, "ascending") for name in ("task", "shots", "question")]
        table = whole.filter(pc.equal(whole["half"], HALF)).sort_by(order)
        values = np.stack([table[metric].cast(pa.float64()).to_numpy() for metric in METRICS])
        shots = table["shots"].cast(pa.int64()).to_numpy()
        unknown = np.full(table.num_rows, np.nan)
        distance = table[DISTANCE].cast(pa.float64()).to_numpy() if DISTANCE in optional else unknown
        kinds = table[KIND_COLUMN].fill_null("").to_pylist() if KIND_COLUMN in optional else [""] * table.num_rows
    except (pa.ArrowException, KeyError) as error:
        raise UserError(f"{file}: not a table of answers ({one_line(error)}); run the suite again") from None
    if whole.num_rows != record.answers.rows:
        raise UserError(f"{file}: {whole.num_rows} rows, its record says {record.answers.rows}; run the suite again")
    task, question, subject = (table[name].to_numpy() for name in ("task", "question", "cluster"))
    if not len(task):
        raise UserError(
            f"{file}: half: it has no question of the {HALF} half, which the board is made of; run the suite again"
        )
    if ((task[1:] == task[:-1]) & (shots[1:] == shots[:-1]) & (question[1:] == question[:-1])).any():
        raise UserError(f"{file}: question: a question is listed twice; run the suite again")
    answers = Answers(task, question, subject, shots, values, distance, np.array(kinds, dtype=object))
    _check_scores(path, record, answers)
    return replace(answers, values=_with_other_metrics(task, values))


def _with_other_metrics(task: NDArray[Any], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values in the order of BOARD_METRICS: the exact match of other questions moves to a metric of its own."""
    others = np.full((len(OTHER_METRICS), len(task)), np.nan)
    direct = values.copy()
    for name in set(task.tolist()):
        if metric := other_metric(name):
            asked = task == name
            others[OTHER_METRICS.index(metric), asked] = values[METRICS.index("exact_match"), asked]
            direct[:, asked] = np.nan
    return np.vstack([direct, others])


def tally(
    answers: list[Answers], metric: str, task: str | None = None, among: NDArray[np.bool_] | None = None
) -> Tally | None:
    """Sum the answers by seed and subject.

    Args:
        answers: one entry per seed, all to the same questions.
        metric: the metric to sum.
        task: limits the sum to one lm-eval task.
        among: [answers], limits the sum to the questions for which it is true.

    Returns:
        The totals [seeds, subjects] and the counts [subjects] of their questions; None if nothing was measured.
    """
    first, row = answers[0], BOARD_METRICS.index(metric)
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
    totals = [np.bincount(code, weights=seed.values[row, asked], minlength=size) for seed in answers]
    return np.stack(totals), counts


def with_new_columns(table: Any, record: Record) -> Any:
    """A table of answers with all current columns; version 1 lacks the number of examples and some metrics."""
    if record.schema_version > 1:
        return table
    import pyarrow as pa

    asked = record.evaluation.get("num_fewshot")
    shots = [old_shots(task, asked) for task in table["task"].to_pylist()]
    table = table.append_column("shots", pa.array(shots, pa.int32()))
    for metric in METRICS:
        if metric not in table.column_names:
            table = table.append_column(metric, pa.nulls(table.num_rows, pa.float32()))
    return table


def _check_scores(path: Path, record: Record, answers: Answers) -> None:
    """Raise UserError unless the scores of the test half are the means of its answers."""
    asked = sorted(set(zip(answers.task.astype(str).tolist(), answers.shots.tolist(), strict=True)))
    for task, shots in asked:
        selected = (answers.task == task) & (answers.shots == shots)
        for metric, row in zip(METRICS, answers.values[:, selected], strict=True):
            if np.isnan(row).all():
                continue
            score = record.scores.get(task, {}).get(str(shots), {}).get(HALF, {}).get(metric)
            if score is None or not abs(score - row.mean()) <= 1e-6:
                field = f"scores.{task}.{shots}.{HALF}.{metric}"
                raise UserError(f"{path}: {field}: {score}, but the answers give {row.mean():.6f}; run the suite again")
