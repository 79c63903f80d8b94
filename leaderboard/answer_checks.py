"""Whether the answers beside a record are whole, are those of its task, and give the record's scores.

Every check raises ValueError naming the column or field; `leaderboard.content` adds the file and the remedy.
"""

from collections import Counter
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmark.record import ANSWER_COLUMNS, DISTANCE_COLUMNS, HALVES, METRICS, Record, flat_scores
from leaderboard.gold import Gold
from leaderboard.untrusted import steers
from tasks.biography import biography

MAX_ID = 300  # characters of a question's or subject's id
MAX_ANSWER = 10_000  # characters; the tasks generate at most 96 tokens
TOLERANCE = 1e-6  # scores have six digits
WRITTEN, CHOSEN = ("exact_match", "f1"), ("acc", "acc_norm")

SCHEMA = [(name, pa.float32() if name in METRICS else pa.string()) for name in ANSWER_COLUMNS]
DISTANCES = [(name, pa.int32()) for name in DISTANCE_COLUMNS]


def check_table(record: Record, table: pa.Table) -> None:
    """Columns, halves, values and counts of the answers."""
    columns = [(field.name, field.type) for field in table.schema]
    if columns not in (SCHEMA, SCHEMA + DISTANCES):
        told = ", ".join(f"{name[:40]!a} {kind}" for name, kind in columns[:12])
        raise ValueError(f"columns: {told} are not those of a record's answers")
    for name in ("question", "task", "cluster", "half"):
        if table[name].null_count:
            raise ValueError(f"{name}: missing in {table[name].null_count} rows")
        for value in pc.unique(table[name]).to_pylist():
            if not 0 < len(value) <= MAX_ID or steers(value):
                raise ValueError(f"{name}: {value[:60]!a} is empty, longer than {MAX_ID}, or has control characters")
    if strange := set(pc.unique(table["half"]).to_pylist()) - set(HALVES):
        raise ValueError(f"half: {min(strange)!r} is none of {', '.join(HALVES)}")
    for counted, field, claimed in (
        (table.num_rows, "answers.rows", record.answers.rows),
        (table.num_rows, "task.questions", record.task.questions),
        (pc.count_distinct(table["cluster"]).as_py(), "task.clusters", record.task.clusters),
    ):
        if counted != claimed:
            raise ValueError(f"{field}: the record says {claimed}, but there are {counted} here")
    if table.group_by(["task", "question"]).aggregate([]).num_rows < table.num_rows:
        raise ValueError("question: the same question of the same task stands there twice")
    if table.group_by(["cluster", "half"]).aggregate([]).num_rows > record.task.clusters:
        raise ValueError("half: questions about one subject stand in both halves")
    _check_values(table)
    _check_texts(record, table)


def _check_values(table: pa.Table) -> None:
    for metric in METRICS:
        values = table[metric].drop_null()
        wrong = pc.or_(pc.invert(pc.is_finite(values)), pc.or_(pc.less(values, 0.0), pc.greater(values, 1.0)))
        if metric != "f1":
            wrong = pc.or_(wrong, pc.and_(pc.not_equal(values, 0.0), pc.not_equal(values, 1.0)))
        if found := values.filter(wrong).to_pylist():
            raise ValueError(f"{metric}: {found[0]} is not {'from 0 to 1' if metric == 'f1' else '0 or 1'}")
    measured = {metric: np.asarray(table[metric].is_valid()) for metric in METRICS}
    tasks = np.asarray(table["task"])
    for task in set(tasks.tolist()):
        at_task = tasks == task
        some = [metric for metric in METRICS if measured[metric][at_task].any()]
        for metric in some:
            if not measured[metric][at_task].all():
                raise ValueError(f"{metric}: missing for some questions of {task}")
        if not some:
            raise ValueError(f"task: no answer of {task} is measured by any of {', '.join(METRICS)}")


def _check_texts(record: Record, table: pa.Table) -> None:
    """Answers in words stand where an exact match is measured and may be published, and nowhere else."""
    written = table["exact_match"].is_valid()
    expected = written if record.task.may_redistribute else pc.and_(written, False)
    there = table["answer"].is_valid()
    if pc.any(pc.and_(there, pc.invert(expected))).as_py():
        raise ValueError(
            "answer: has text where none may be (task.may_redistribute is false, or nothing was written there)"
        )
    if not pc.all(pc.or_(there, pc.invert(expected))).as_py():
        raise ValueError("answer: missing for questions whose answers were written")
    # What a model writes may hold any character; whoever shows an answer has to clean it.
    if (longest := pc.max(pc.utf8_length(table["answer"])).as_py() or 0) > MAX_ANSWER:
        raise ValueError(f"answer: {longest:,} characters, more than {MAX_ANSWER:,}")


def check_gold(table: pa.Table, known: Gold) -> None:
    """The questions are all those of the task and no others; what was written earns what is said."""
    keys = list(zip(table["task"].to_pylist(), table["question"].to_pylist(), strict=True))
    there = set(keys)
    if missing := known.keys() - there:
        raise ValueError(f"question: {min(missing)} and {len(missing) - 1} others of the task are not answered")
    if strange := there - known.keys():
        raise ValueError(f"question: {min(strange)} is none of the task's")
    for key, cluster, half in zip(keys, table["cluster"].to_pylist(), table["half"].to_pylist(), strict=True):
        if (cluster, half) != (known[key].cluster, known[key].half):
            raise ValueError(f"cluster, half: of {key} they are {known[key].cluster}, {known[key].half} in the task")
    written = np.array([bool(known[key].golds) for key in keys])
    for metric in METRICS:
        wrong = np.asarray(table[metric].is_valid()) != (written if metric in WRITTEN else ~written)
        if wrong.any():
            raise ValueError(
                f"{metric}: measured of {keys[int(wrong.argmax())]}, or missing, where the task has it else"
            )
    given = (table[name].to_pylist() for name in ("answer", *WRITTEN))
    for key, answer, *told in zip(keys, *given, strict=True):
        if answer is not None:
            for metric, value, earned in zip(WRITTEN, told, _earned(answer, known[key].golds), strict=True):
                if abs(value - earned) > TOLERANCE:
                    raise ValueError(f"{metric}: {key}: {value}, but {answer[:60]!a} earns {earned:.6f}")


@lru_cache(maxsize=2**16)
def _earned(generation: str, golds: tuple[str, ...]) -> tuple[float, float]:
    """Exact match and F1 as the tasks define them, written anew so that each text is normalised once."""
    answer = _words(biography.extract_answer(generation))
    best = 0.0
    for gold in map(_words, golds):
        if shared := (Counter(answer) & Counter(gold)).total():
            best = max(best, 2 * shared / (len(answer) + len(gold)))
    return float(answer in map(_words, golds)), best


@lru_cache(maxsize=2**16)
def _words(text: str) -> tuple[str, ...]:
    return tuple(biography.normalise(text).split())


def check_scores(record: Record, table: pa.Table) -> None:
    """Every mean of the record is that of the answers, and there is one for all that was measured."""
    wanted: dict[tuple[str, str, str], float] = {}
    means = table.group_by(["task", "half"]).aggregate([(metric, "mean") for metric in METRICS])
    for row in means.to_pylist():
        wanted |= {
            (row["task"], row["half"], metric): row[f"{metric}_mean"]
            for metric in METRICS
            if row[f"{metric}_mean"] is not None
        }
    told = flat_scores(record.scores)
    for key in dict.fromkeys([*told, *wanted]):
        if key not in wanted or key not in told or not abs(told[key] - wanted[key]) <= TOLERANCE:
            given = f"{wanted[key]:.6f}" if key in wanted else "nothing"
            raise ValueError(f"scores.{'.'.join(key)}: {told.get(key)}, but the answers give {given}")
