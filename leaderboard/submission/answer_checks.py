"""Checks on the answers beside a record: they are complete, belong to its task, and give the record's scores.

Every check raises ValueError with the column or field; `leaderboard.submission.content` adds the file and the remedy.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.core.untrusted import steers
from benchmark.records.questions import Gold, Questions
from benchmark.records.record import (
    ANSWER_COLUMNS,
    CHOSEN,
    CLOZED,
    DISTANCE_COLUMNS,
    HALVES,
    KIND_COLUMN,
    METRICS,
    OPEN_BOOK,
    WRITTEN,
    Record,
)
from benchmark.records.scores import flat_scores
from leaderboard.board.answers import with_new_columns

MAX_ID = 300  # characters of a question's or subject's id
MAX_ANSWER = 10_000  # characters; the tasks generate at most 96 tokens
TOLERANCE = 1e-6  # scores have six digits

_KINDS = {**dict.fromkeys(METRICS, pa.float32()), "shots": pa.int32()}
SCHEMA = [(name, _KINDS.get(name, pa.string())) for name in ANSWER_COLUMNS]
# Records of version 1 have one number of examples and fewer metrics.
OLD_SCHEMA = [(name, kind) for name, kind in SCHEMA if name not in ("shots", "answered", "cloze")]
DISTANCES = [(name, pa.int32()) for name in DISTANCE_COLUMNS]
KIND = [(KIND_COLUMN, pa.string())]
MOST_KINDS, LONGEST_KIND = 20, 40  # as the task `corpus` allows


def check_table(record: Record, table: pa.Table) -> None:
    """Check columns, halves, values and counts of the answers."""
    columns = [(field.name, field.type) for field in table.schema]
    schema = OLD_SCHEMA if record.schema_version == 1 else SCHEMA
    if columns not in [schema + more + kind for more in ([], DISTANCES) for kind in ([], KIND)]:
        found = ", ".join(f"{name[:40]!a} {kind}" for name, kind in columns[:12])
        raise ValueError(f"columns: {found} are not those of a record's answers")
    for name in ("question", "task", "cluster", "half"):
        if table[name].null_count:
            raise ValueError(f"{name}: missing in {table[name].null_count} rows")
        for value in pc.unique(table[name]).to_pylist():
            if not 0 < len(value) <= MAX_ID or steers(value):
                raise ValueError(f"{name}: {value[:60]!a} is empty, longer than {MAX_ID}, or has control characters")
    if KIND_COLUMN in table.column_names:
        _check_kinds(record, table)
    if unknown := set(pc.unique(table["half"]).to_pylist()) - set(HALVES):
        raise ValueError(f"half: {min(unknown)!r} is none of {', '.join(HALVES)}")
    for counted, field, claimed in (
        (table.num_rows, "answers.rows", record.answers.rows),
        (table.num_rows, "task.questions", record.task.questions),
        (pc.count_distinct(table["cluster"]).as_py(), "task.clusters", record.task.clusters),
    ):
        if counted != claimed:
            raise ValueError(f"{field}: the record says {claimed}, but the answers have {counted}")
    asked = [name for name in ("task", "question", "shots") if name in table.column_names]
    if "shots" in asked and (table["shots"].null_count or (pc.min(table["shots"]).as_py() or 0) < 0):
        raise ValueError("shots: a number of examples is missing or below 0")
    if table.group_by(asked).aggregate([]).num_rows < table.num_rows:
        raise ValueError("question: the same question of the same task is answered twice")
    if table.group_by(["cluster", "half"]).aggregate([]).num_rows > record.task.clusters:
        raise ValueError("half: questions about one subject are in both halves")
    _check_values(table)
    _check_texts(record, table)


def _check_kinds(record: Record, table: pa.Table) -> None:
    """Check that kinds of questions are few and short, and that a question has the same one whenever it is asked."""
    if record.task.name != "corpus":  # kinds take the place of the fields, in all rows of a table
        raise ValueError(f"{KIND_COLUMN}: only questions about a user's own documents are of kinds")
    kinds = [kind for kind in pc.unique(table[KIND_COLUMN]).to_pylist() if kind is not None]
    for kind in kinds:
        if not 0 < len(kind) <= LONGEST_KIND or steers(kind):
            raise ValueError(
                f"{KIND_COLUMN}: {kind[:60]!a} is empty, longer than {LONGEST_KIND}, or has control characters"
            )
    if len(kinds) > MOST_KINDS:
        raise ValueError(f"{KIND_COLUMN}: {len(kinds)} kinds of questions, more than {MOST_KINDS}")
    asked = table.group_by(["question"]).aggregate([]).num_rows
    if table.group_by(["question", KIND_COLUMN]).aggregate([]).num_rows > asked:
        raise ValueError(f"{KIND_COLUMN}: a question is of two kinds")


def _metrics(table: pa.Table) -> tuple[str, ...]:
    return tuple(metric for metric in METRICS if metric in table.column_names)


def _check_values(table: pa.Table) -> None:
    for metric in _metrics(table):
        values = table[metric].drop_null()
        wrong = pc.or_(pc.invert(pc.is_finite(values)), pc.or_(pc.less(values, 0.0), pc.greater(values, 1.0)))
        if metric != "f1":
            wrong = pc.or_(wrong, pc.and_(pc.not_equal(values, 0.0), pc.not_equal(values, 1.0)))
        if invalid := values.filter(wrong).to_pylist():
            raise ValueError(f"{metric}: {invalid[0]} is not {'from 0 to 1' if metric == 'f1' else '0 or 1'}")
    measured = {metric: np.asarray(table[metric].is_valid()) for metric in _metrics(table)}
    tasks = np.asarray(table["task"])
    for task in set(tasks.tolist()):
        at_task = tasks == task
        of_task = [metric for metric in measured if measured[metric][at_task].any()]
        for metric in of_task:
            if not measured[metric][at_task].all():
                raise ValueError(f"{metric}: missing for some questions of {task}")
        if not of_task:
            raise ValueError(f"task: {task} has no value of any metric ({', '.join(METRICS)})")


def _check_texts(record: Record, table: pa.Table) -> None:
    """Check that exactly those answers have text that were written by the model and may be published."""
    written = table["exact_match"].is_valid()
    expected = written if record.task.may_redistribute else pc.and_(written, False)
    present = table["answer"].is_valid()
    if pc.any(pc.and_(present, pc.invert(expected))).as_py():
        raise ValueError(
            "answer: has text where none may be (task.may_redistribute is false, or the question has no exact_match)"
        )
    if not pc.all(pc.or_(present, pc.invert(expected))).as_py():
        raise ValueError("answer: missing for questions with an exact_match")
    # A model can write any character, so code that shows an answer cleans it first.
    if (longest := pc.max(pc.utf8_length(table["answer"])).as_py() or 0) > MAX_ANSWER:
        raise ValueError(f"answer: {longest:,} characters, more than {MAX_ANSWER:,}")


def check_gold(record: Record, table: pa.Table, known: Gold, questions: Questions) -> None:
    """Check that the answers are to exactly the task's questions and that their scores are correct.

    Each question must be answered with each number of examples. For a reference with the document in the prompt,
    questions may be missing: those for which the context was too short.

    Args:
        record: The record.
        table: The answers beside it.
        known: The task's questions with their gold answers.
        questions: Computes the score of an answer.
    """
    keys = list(zip(table["task"].to_pylist(), table["question"].to_pylist(), strict=True))
    shots = table["shots"].to_pylist() if "shots" in table.column_names else [0] * len(keys)
    numbers = set(record.evaluation.get("num_fewshot") or [0]) if "shots" in table.column_names else {0}
    wanted = {(*key, k) for key, gold in known.items() for k in (numbers if gold.kind == "written" else {0})}
    answered = {(*key, k) for key, k in zip(keys, shots, strict=True)}
    if unknown := answered - wanted:
        raise ValueError(f"question: {min(unknown)} (task, question, examples) is none of the task's")
    if record.method.name != OPEN_BOOK and (missing := wanted - answered):
        raise ValueError(
            f"question: {min(missing)} (task, question, examples) and {len(missing) - 1} others of the task are not "
            "answered"
        )
    for key, cluster, half in zip(keys, table["cluster"].to_pylist(), table["half"].to_pylist(), strict=True):
        if (cluster, half) != (known[key].cluster, known[key].half):
            raise ValueError(
                f"cluster, half: {key}: {cluster[:60]!a}, {half}; the task has {known[key].cluster}, {known[key].half}"
            )
    kinds = np.array([known[key].kind for key in keys])
    for kind, metrics in (("written", WRITTEN), ("chosen", CHOSEN), ("clozed", CLOZED)):
        for metric in (name for name in metrics if name in table.column_names):
            wrong = np.asarray(table[metric].is_valid()) != (kinds == kind)
            if wrong.any():
                raise ValueError(
                    f"{metric}: {keys[int(wrong.argmax())]} has a value but the task has none, or the reverse"
                )
    earning = [name for name in WRITTEN if name in table.column_names]
    columns = (table[name].to_pylist() for name in ("answer", *earning))
    for key, answer, *values in zip(keys, *columns, strict=True):
        if answer is not None:
            earned = questions.earned(answer, known[key])
            for metric, value, correct in zip(earning, values, earned, strict=False):
                if abs(value - correct) > TOLERANCE:
                    raise ValueError(f"{metric}: {key}: {value}, but {answer[:60]!a} earns {correct:.6f}")


def check_scores(record: Record, table: pa.Table) -> None:
    """Check that the record's scores are the means of the answers, one for every metric that was measured."""
    table = with_new_columns(table, record)
    wanted: dict[tuple[str, int, str, str], float] = {}
    metrics = _metrics(table)
    means = table.group_by(["task", "shots", "half"]).aggregate([(metric, "mean") for metric in metrics])
    for row in means.to_pylist():
        wanted |= {
            (row["task"], row["shots"], row["half"], metric): row[f"{metric}_mean"]
            for metric in metrics
            if row[f"{metric}_mean"] is not None
        }
    claimed = flat_scores(record.scores)
    for key in dict.fromkeys([*claimed, *wanted]):
        if key not in wanted or key not in claimed or not abs(claimed[key] - wanted[key]) <= TOLERANCE:
            given = f"{wanted[key]:.6f}" if key in wanted else "nothing"
            raise ValueError(f"scores.{'.'.join(map(str, key))}: {claimed.get(key)}, but the answers give {given}")
