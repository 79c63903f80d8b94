"""From records to the board: a table for the records of equal conditions, a row for those of equal treatment.

Numbers are of the test half; the development half serves to choose, and is never shown.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import UserError
from benchmark.data.fields import field_order
from benchmark.records.comparable import Facts, asked_of, canonical, conditions
from benchmark.records.record import Record, read_record
from benchmark.records.scores import best_shots
from leaderboard.board.answers import BOARD_METRICS, OTHER_METRICS, Answers, read_answers, tally
from leaderboard.board.choice import RecordFile, RowRecords, rows_of
from leaderboard.board.distance import Distances, Edges, bin_edges, shared_distances
from leaderboard.board.labels import row_label, tell_apart
from leaderboard.board.model import UNTOUCHED, Board, BoardTable, HeldOut, Reference, Row, with_shots
from leaderboard.board.rows import (
    TableData,
    estimate,
    make_row,
    measurement,
    score_by_field,
    score_by_shots,
    training_of,
)
from leaderboard.stats.comparisons import Contender, Difference, among_first, ranks, to_baseline, to_random
from leaderboard.stats.significance import LEVEL, holm, more_right_p


def load_records(folder: Path) -> list[RecordFile]:
    """Read and verify every record (`*.json`) in a folder tree, in the order of their paths.

    Raises:
        UserError: the folder is missing, it holds no record, or a file is not a valid record.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of the records, or run a suite to make one")
    paths = sorted(path for path in folder.rglob("*.json") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise UserError(f"{folder}: holds no record; run a suite first")
    return [(path, read_record(path)) for path in paths]


def build_board(records: Sequence[RecordFile]) -> Board:
    """Combine records that differ in their seed alone into rows, and rows of equal conditions into tables.

    Raises:
        UserError: two records have the same cell and seed, or the records of a table answer different questions.
    """
    groups: dict[str, list[RecordFile]] = {}
    references: dict[str, list[RecordFile]] = {}
    for path, record in records:
        if record.is_reference:
            references.setdefault(canonical(asked_of(record)), []).append((path, record))
        else:
            groups.setdefault(canonical(conditions(record)), []).append((path, record))
    tables = [_table(group, references.get(canonical(asked_of(group[0][1])), [])) for group in groups.values()]
    titles = _titles(tables)
    named = [table.model_copy(update={"title": title}) for table, title in zip(tables, titles, strict=True)]
    return Board(tables=tuple(sorted(named, key=_table_order)))


def _titles(tables: Sequence[BoardTable]) -> list[str]:
    """Task, model and budget; tables that share these also get their suites, and what differs within a suite."""
    times = Counter(table.title for table in tables)
    titles = [
        f"{table.title} ({', '.join(table.suites)})" if times[table.title] > 1 else table.title for table in tables
    ]
    return tell_apart(titles, [table.conditions for table in tables])


def _table_order(table: BoardTable) -> tuple[str, str, int, str]:
    return table.task, table.model, max(row.steps[1] for row in table.rows), table.title


def _table(group: list[RecordFile], references: list[RecordFile]) -> BoardTable:
    data = _table_data(group)
    rows = rows_of(group)
    facts = [row.treatment for row in rows]
    labels = tell_apart([row_label(row.records[0]) for row in rows], facts)
    compared = [
        {**standing, "also": differences}
        for standing, differences in zip(_standings(labels, rows, data), _other_ways(labels, rows, data), strict=True)
    ]
    shown = [found for path, record in references if (found := _reference(path, record, data.fields))]
    path, first = group[0]
    asked = data.answers[path].with_shots(rows[0].shots)
    questions = int(asked.measured("exact_match").sum())
    made = [make_row(label, row, data) for label, row in zip(labels, rows, strict=True)]
    made = [
        row.model_copy(update={**update, "above_floor": above})
        for row, update, above in zip(made, compared, _above_floor(made, questions, shown), strict=True)
    ]
    budget = "budget chosen" if "training.budget" in first.choice else training_of(first).budget
    return BoardTable(
        title=f"{first.task.name}, {first.model.name}, {budget}",
        task=first.task.name,
        model=first.model.name,
        parameters=first.model.parameters,
        budget=budget,
        suites=tuple(sorted({record.suite for _, record in group})),
        conditions=conditions(first),
        questions=questions,
        subjects=len(set(asked.subject[asked.measured("exact_match")])),
        fields=tuple(data.fields),
        rows=tuple(sorted(made, key=lambda row: (-row.headline.mean, row.label))),
        references=tuple(shown),
        held_out=tuple(data.held_out.values()),
    )


def _table_data(group: list[RecordFile]) -> TableData:
    answers = {path: read_answers(path, record) for path, record in group}
    _check_questions(answers)
    answers = _with_shared_kinds(answers)
    path, first = group[0]
    distances, edges = _distances(list(answers.values()))
    return TableData(answers, _fields(first.task.name, answers[path]), _held_out(group), distances, edges)


def _with_shared_kinds(answers: dict[Path, Answers]) -> dict[Path, Answers]:
    """The answers with the kinds of questions from any record that has them; all are to the same questions."""
    kinds = next((each.kind for each in answers.values() if each.kind.astype(bool).any()), None)
    return answers if kinds is None else {path: replace(each, kind=kinds) for path, each in answers.items()}


def _check_questions(answers: dict[Path, Answers]) -> None:
    first, *others = answers
    for path in others:
        if not answers[path].asks_the_same_as(answers[first]):
            raise UserError(f"{path}: answers other questions than {first}, yet names the same task; run both again")


def _fields(task: str, answers: Answers) -> dict[str, str | None]:
    """The fields of a task and the lm-eval task of each, in the order of the task; unlisted fields follow by name.

    Where questions are of kinds, these take the place of the fields, with None.
    """
    generated = answers.measured("exact_match")
    if not generated.any():
        raise UserError(f"task {task!r}: its answers lack the exact match that orders the board; evaluate that too")
    if kinds := {kind for kind in answers.kind[generated].tolist() if kind}:
        return dict.fromkeys(sorted(kinds))
    names = {name.removeprefix(f"{task}_"): name for name in set(answers.task[generated]) if name != task}
    listed = [field for field in field_order(task) if field in names]
    return {field: names[field] for field in dict.fromkeys([*listed, *sorted(names)])}


def _held_out(group: list[RecordFile]) -> dict[str, HeldOut]:
    """The held-out texts and tasks that the records of a table measured, by `measurement`, with distinct labels."""
    measured: dict[str, tuple[Facts, HeldOut]] = {}
    for _, record in group:
        for name, info in record.retention.items():
            held_out = HeldOut(label=name, metric=info.metric, before=info.before)
            facts = {**info.measured, "metric": info.metric, "higher_is_better": info.higher_is_better}
            measured.setdefault(measurement(info), (facts, held_out))
    labels = tell_apart(
        [held_out.label for _, held_out in measured.values()], [facts for facts, _ in measured.values()]
    )
    return {
        key: held_out.model_copy(update={"label": label})
        for (key, (_, held_out)), label in zip(measured.items(), labels, strict=True)
    }


def _distances(answers: list[Answers]) -> tuple[Distances, Edges]:
    """How far the answers of a table's questions stand from the name, and the bins of those with an exact match."""
    shots = int(answers[0].shots[answers[0].measured("exact_match")][0])  # the questions are the same with any number
    asked = [of_record.with_shots(shots) for of_record in answers]
    distances = shared_distances(asked)
    return distances, bin_edges(distances[asked[0].measured("exact_match")])


def _reference(path: Path, record: Record, fields: dict[str, str | None]) -> Reference | None:
    """A reference of a table; None if no document fitted into a prompt."""
    if not record.answers.rows:
        return None
    answers = read_answers(path, record)
    shots, _ = best_shots([record.scores], "development")
    asked = answers.with_shots(shots)
    scores = {metric: estimate(tally([asked], metric)) for metric in BOARD_METRICS}
    if scores["exact_match"] is None:
        return None
    return Reference(
        label=record.method.name,
        shots=shots,
        by_shots=score_by_shots([answers]),
        scores={metric: score for metric, score in scores.items() if score},
        fields=score_by_field([asked], fields),
        questions=int(asked.measured("exact_match").sum()),
        file=path,
    )


def _standings(labels: list[str], rows: list[RowRecords], data: TableData) -> list[dict[str, Any]]:
    """How each row compares with the others, as fields of a Row."""
    contenders = [
        _contender(label, row, data.with_shots(row, row.shots), "exact_match")
        for label, row in zip(labels, rows, strict=True)
    ]
    names = ("to_baseline", "to_random", "rank", "among_first")
    standings = (to_baseline(contenders), to_random(contenders), ranks(contenders), among_first(contenders))
    return [dict(zip(names, standing, strict=True)) for standing in zip(*standings, strict=True)]


def _above_floor(rows: Sequence[Row], questions: int, references: Sequence[Reference]) -> list[bool]:
    """Whether each row recalls more than the untouched model does; more than nothing, where that was not asked.

    Its whole interval lies above the untouched model's exact match, and it has significantly more right answers in
    proportion, by Fisher's exact test with Holm's correction: a lucky guess or two are no recall. Of so few questions
    that the test cannot be significant, the interval alone decides.
    """
    untouched = next((found for found in references if found.label == UNTOUCHED), None)
    floor = untouched.scores["exact_match"].mean if untouched else 0.0
    of_untouched = round(floor * questions)
    p_values, attainable = [], []
    for row in rows:
        asked = questions * len(row.seeds)
        p_values.append(more_right_p(round(row.headline.mean * asked), asked, of_untouched, questions))
        attainable.append(more_right_p(asked, asked, of_untouched, questions) * len(rows) < LEVEL)
    significant = [p is not None and p < LEVEL for p in holm(p_values)]
    return [
        row.headline.low > floor and (clearly or not possible)
        for row, clearly, possible in zip(rows, significant, attainable, strict=True)
    ]


def _other_ways(labels: list[str], rows: list[RowRecords], data: TableData) -> list[dict[str, Difference]]:
    """Every row against plain_matched in the other ways of asking, by the name of the way."""
    differences: list[dict[str, Difference]] = [{} for _ in rows]
    first = data.of(rows[0])[0]
    numbers = np.unique(first.shots[first.measured("exact_match")]).tolist()
    ways: list[tuple[str, str, int | None]] = [(with_shots(shots), "exact_match", shots) for shots in numbers]
    ways += [(metric, metric, None) for metric in ("answered", "acc", "cloze", *OTHER_METRICS)]
    for name, metric, shots in ways:
        asked = [data.with_shots(row, row.shots if shots is None else shots) for row in rows]
        if not all(tally(answers, metric) for answers in asked):
            continue
        contenders = [
            _contender(label, row, answers, metric) for label, row, answers in zip(labels, rows, asked, strict=True)
        ]
        for index, difference in enumerate(to_baseline(contenders)):
            if difference:
                differences[index][name] = difference
    return differences


def _contender(label: str, row: RowRecords, answers: list[Answers], metric: str) -> Contender:
    counted = tally(answers, metric)
    assert counted is not None  # callers ask only for metrics that were measured
    first = row.records[0]
    return Contender(
        label=label,
        method=first.method.name,
        alpha=_dropping(first),
        treatment=row.treatment,
        development=row.development,
        tokens=sum(training_of(record).tokens for record in row.records) / len(row.records),
        seeds=row.seeds,
        totals=counted[0],
        counts=counted[1],
    )


def _dropping(record: Record) -> float | None:
    """The highest probability of dropping a token, for methods that have one; α of released_random is for keeping."""
    alpha = record.method.parameters.get("alpha")
    is_keeping = record.method.name == "released_random"
    return round(1 - alpha, 9) if is_keeping and isinstance(alpha, float) else alpha
