"""From records to the board: seeds put together, and rows of equal conditions into one table.

The development half is for choosing parameters, and never shown.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.core.errors import UserError
from benchmark.data.fields import field_order
from benchmark.records.comparable import Facts, asked_of, canonical, conditions, point, treatment
from benchmark.records.record import METRICS, Record, RetentionInfo, TrainingInfo, read_record
from benchmark.records.scores import best_shots, mean_exact_match
from leaderboard.board.answers import HALF, Answers, Tally, read_answers, tally
from leaderboard.board.distance import Distances, Edges, bin_edges, by_distance, shared_distances
from leaderboard.board.labels import row_label, tell_apart
from leaderboard.board.model import Board, BoardTable, HeldOut, MethodFacts, Reference, RetentionChange, Row, with_shots
from leaderboard.stats.comparisons import Contender, Difference, among_first, ranks, to_baseline, to_random
from leaderboard.stats.intervals import Estimate, mean_interval

Found = tuple[Path, Record]


def load_records(folder: Path) -> list[Found]:
    """Read and verify every `*.json` in a folder tree as a record, in the order of their paths.

    Raises UserError if the folder is absent or holds no record, or naming the file that is not a valid record.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of the records, or run a suite to make one")
    paths = sorted(path for path in folder.rglob("*.json") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise UserError(f"{folder}: holds no record; run a suite first")
    return [(path, read_record(path)) for path in paths]


def build_board(records: Sequence[Found]) -> Board:
    """Put records together that differ in their seed alone, and tables of those made under equal conditions.

    Of the points that a suite chooses among, the row shows the best of the development half.

    Raises UserError naming both files if two records are the same but for their suite, or if records of one table do
    not answer the same questions.
    """
    groups: dict[str, list[Found]] = {}
    references: dict[str, list[Found]] = {}
    for found in records:
        if found[1].is_reference:
            references.setdefault(canonical(asked_of(found[1])), []).append(found)
        else:
            groups.setdefault(canonical(conditions(found[1])), []).append(found)
    tables = [_table(group, references.get(canonical(asked_of(group[0][1])), [])) for group in groups.values()]
    titles = _titles(tables)
    named = [table.model_copy(update={"title": title}) for table, title in zip(tables, titles, strict=True)]
    return Board(tables=tuple(sorted(named, key=_table_order)))


def _titles(tables: Sequence[BoardTable]) -> list[str]:
    """Task, model and budget; where tables share these the suites too, and what differs within a suite."""
    times = Counter(table.title for table in tables)
    suites = [
        f"{table.title} ({', '.join(table.suites)})" if times[table.title] > 1 else table.title for table in tables
    ]
    return tell_apart(suites, [table.conditions for table in tables])


def _table_order(table: BoardTable) -> tuple[str, str, int, str]:
    return table.task, table.model, max(row.steps[1] for row in table.rows), table.title


def _table(group: list[Found], references: list[Found]) -> BoardTable:
    answers = {path: read_answers(path, record) for path, record in group}
    _check_questions(answers)
    points = _by_treatment(group)
    members = [_best_point(some) for some in points]
    facts = [treatment(some[0][1]) for some in members]
    labels = tell_apart([row_label(some[0][1]) for some in members], facts)
    path, first = group[0]
    budget = "budget chosen" if "training.budget" in first.choice else _training(first).budget
    fields = _fields(first.task.name, answers[path])
    held_out = _held_out(group)
    distances = _distances(list(answers.values()))
    chosen = [_best_shots(candidates) for candidates in points]
    asked = [[answers[path].with_shots(shots) for path, _ in some] for some, shots in zip(members, chosen, strict=True)]
    contenders = [_contender(*one, "exact_match") for one in zip(labels, facts, members, points, asked, strict=True)]
    others = _other_ways(labels, facts, members, points, asked, answers)
    rows = [
        _row(label, some, shots, answers, fields, held_out, distances).model_copy(
            update={
                "tried": _tried(candidates),
                "chosen": point(some[0][1]),
                "confirmed": some[0][1].confirms,
                "development": _development_score(candidates),
                "also": also,
                **standing,
            }
        )
        for label, some, shots, candidates, also, standing in zip(
            labels, members, chosen, points, others, _standings(contenders), strict=True
        )
    ]
    return BoardTable(
        title=f"{first.task.name}, {first.model.name}, {budget}",
        task=first.task.name,
        model=first.model.name,
        budget=budget,
        suites=tuple(sorted({record.suite for _, record in group})),
        conditions=conditions(first),
        questions=int(asked[0][0].measured("exact_match").sum()),
        subjects=len(set(answers[path].subject)),
        fields=tuple(fields),
        rows=tuple(sorted(rows, key=lambda row: (-row.headline.mean, row.label))),
        references=tuple(made for one in references if (made := _reference(*one, fields))),
        held_out=tuple(held_out.values()),
    )


def _training(record: Record) -> TrainingInfo:
    assert record.training is not None  # references are no rows
    return record.training


def _reference(path: Path, record: Record, fields: dict[str, str]) -> Reference | None:
    """The row of a reference; None where no document had room in a prompt."""
    if not record.answers.rows:
        return None
    answers = read_answers(path, record)
    shots, _ = best_shots([record.scores], "development")
    asked = answers.with_shots(shots)
    scores = {metric: _estimate(tally([asked], metric)) for metric in METRICS}
    of_fields = {field: _estimate(tally([asked], "exact_match", task)) for field, task in fields.items()}
    if scores["exact_match"] is None:
        return None
    return Reference(
        label=record.method.name,
        shots=shots,
        by_shots=_by_shots([answers]),
        scores={metric: score for metric, score in scores.items() if score},
        fields={field: score for field, score in of_fields.items() if score},
        questions=int(asked.measured("exact_match").sum()),
        file=path,
    )


def _by_shots(answers: list[Answers]) -> dict[int, Estimate]:
    """Exact match with every number of examples."""
    numbers = np.unique(answers[0].shots[answers[0].measured("exact_match")]).tolist()
    found = {shots: _estimate(tally([one.with_shots(shots) for one in answers], "exact_match")) for shots in numbers}
    return {shots: score for shots, score in found.items() if score}


def _held_out(group: list[Found]) -> dict[str, HeldOut]:
    """What the records of a table measured beside the task, by what tells one from another, labels made unequal."""
    found: dict[str, tuple[Facts, HeldOut]] = {}
    for _, record in group:
        for name, info in record.retention.items():
            held_out = HeldOut(label=name, metric=info.metric, before=info.before)
            facts = {**info.measured, "metric": info.metric, "higher_is_better": info.higher_is_better}
            found.setdefault(_measured(info), (facts, held_out))
    labels = tell_apart([one.label for _, one in found.values()], [facts for facts, _ in found.values()])
    return {
        key: one.model_copy(update={"label": label})
        for (key, (_, one)), label in zip(found.items(), labels, strict=True)
    }


def _measured(info: RetentionInfo) -> str:
    return canonical([info.measured, info.metric, info.higher_is_better])


def _retention(records: list[Record], key: str) -> RetentionChange | None:
    """The mean over the seeds that measured it, with the bootstrap interval over seeds where there are several."""
    values = {
        record.seed: info.forgetting
        for record in records
        for info in record.retention.values()
        if _measured(info) == key
    }
    if not values:
        return None
    interval, several = mean_interval([[value] for value in values.values()], bounds=None), len(values) > 1
    return RetentionChange(
        mean=interval.mean,
        low=interval.low if several else None,
        high=interval.high if several else None,
        seeds=tuple(values),
    )


def _by_treatment(group: list[Found]) -> list[list[list[Found]]]:
    """A table's records by row, each row's by point (one, unless a suite chooses), each point's by seed."""
    rows: dict[str, dict[str, dict[int, Found]]] = {}
    for path, record in group:
        seeds = rows.setdefault(canonical(treatment(record)), {}).setdefault(canonical(point(record)), {})
        if record.seed in seeds:
            raise UserError(f"{seeds[record.seed][0]} and {path}: the same cell and seed twice; remove one of the two")
        seeds[record.seed] = (path, record)
    return [
        [[found for _, found in sorted(seeds.items())] for _, seeds in sorted(points.items())]
        for points in rows.values()
    ]


def _best_point(points: list[list[Found]]) -> list[Found]:
    """The records to show of a row: those that confirm its best point, or else those of the best point itself."""
    best = max(_of_most_seeds(points), key=lambda seeds: _on_development(_to_choose_by(seeds))[1])
    return [found for found in best if found[1].confirms] or best


def _of_most_seeds(points: list[list[Found]]) -> list[list[Found]]:
    """The points with most of the seeds that points are chosen with: others were given up, or are not done."""
    most = max(len(_to_choose_by(seeds)) for seeds in points)
    return [seeds for seeds in points if len(_to_choose_by(seeds)) == most]


def _to_choose_by(seeds: list[Found]) -> list[Found]:
    return [found for found in seeds if not found[1].confirms] or seeds


def _on_development(members: list[Found]) -> tuple[int, float]:
    """The number of examples that is best on the development half, and the exact match there; the mean over seeds."""
    return best_shots([record.scores for _, record in members], "development")


def _best_shots(points: list[list[Found]]) -> int:
    """The number of examples of a row: the best on the development half at the point and the seeds it is chosen by."""
    return max((_on_development(_to_choose_by(seeds)) for seeds in _of_most_seeds(points)), key=lambda one: one[1])[0]


def _development_score(points: list[list[Found]]) -> float:
    """What a row's point and number of examples were chosen by: its exact match on the development half."""
    return max(_on_development(_to_choose_by(seeds))[1] for seeds in _of_most_seeds(points))


def _tried(points: list[list[Found]]) -> int:
    """How many points were tried, those included that a search gave up before they got here."""
    return max(len(points), *(record.points for seeds in points for _, record in seeds))


def _row(
    label: str,
    members: list[Found],
    shots: int,
    answers: dict[Path, Answers],
    fields: dict[str, str],
    held_out: dict[str, HeldOut],
    distances: tuple[Distances, Edges],
) -> Row:
    records = [record for _, record in members]
    first = records[0]
    trained = [_training(record) for record in records]
    mine = [answers[path].with_shots(shots) for path, _ in members]
    scores = {metric: _estimate(tally(mine, metric)) for metric in METRICS}
    of_fields = {field: _estimate(tally(mine, "exact_match", task)) for field, task in fields.items()}
    retention = {one.label: _retention(records, key) for key, one in held_out.items()}
    seconds = [record.cost["train"].seconds for record in records if "train" in record.cost]
    return Row(
        label=label,
        method=first.method.name,
        parameters=first.method.parameters,
        copies=first.method.copies,
        pair=first.pair.name if first.pair else None,
        seeds=tuple(record.seed for record in records),
        files=tuple(path for path, _ in members),
        answers=tuple(path.parent / record.answers.file for path, record in members),
        shots=shots,
        by_shots=_by_shots([answers[path] for path, _ in members]),
        scores={metric: score for metric, score in scores.items() if score},
        of_answered=_of_answered(mine),
        fields={field: score for field, score in of_fields.items() if score},
        steps=_range(one.steps for one in trained),
        epochs=_mean(one.epochs for one in trained) or 0.0,
        texts=_range(record.method.texts for record in records),
        tokens=_mean(one.tokens for one in trained) or 0.0,
        loss_tokens=_mean(one.loss_tokens for one in trained),
        seconds=_mean(seconds),
        facts=_facts(records),
        retention={label: change for label, change in retention.items() if change},
        curve=_curve(records, shots),
        by_distance=by_distance(mine, *distances),
    )


def _of_answered(answers: list[Answers]) -> float | None:
    """Exact match among the questions that were answered at all, of all seeds together."""
    right, answered = (
        np.concatenate([one.values[METRICS.index(m)] for one in answers]) for m in ("exact_match", "answered")
    )
    there = answered == 1
    return round(float(right[there].mean()), 9) if there.any() else None


def _facts(records: list[Record]) -> MethodFacts | None:
    """What copies keep of the facts, the mean over seeds; None where there are no copies or nothing was counted."""
    known = [record.facts for record in records if record.facts]
    if not known:
        return None
    names = ("answer", "answer_and_name", "tokens")
    return MethodFacts(**{name: _mean(getattr(one, name) for one in known) for name in names})


def _mean(numbers: Iterable[float | None]) -> float | None:
    """The mean; None if there is no number, or one is not known."""
    known = list(numbers)
    given = [number for number in known if number is not None]
    return sum(given) / len(given) if given and len(given) == len(known) else None


def _distances(answers: list[Answers]) -> tuple[Distances, Edges]:
    """How far the answers of a table's questions stand from the name, and the bins of those with an exact match."""
    shots = int(answers[0].shots[answers[0].measured("exact_match")][0])  # any will do: the questions are the same
    asked = [one.with_shots(shots) for one in answers]
    known = shared_distances(asked)
    return known, bin_edges(known[asked[0].measured("exact_match")])


def _curve(records: list[Record], shots: int) -> dict[int, float]:
    """Exact match by step where every seed has checkpoints at the same ones; else nothing."""
    curves = [
        {
            **{one.steps: mean_exact_match(one.scores, HALF, shots) for one in record.curve},
            _training(record).steps: mean_exact_match(record.scores, HALF, shots),
        }
        for record in records
    ]
    if len(curves[0]) == 1 or any(curve.keys() != curves[0].keys() for curve in curves):
        return {}
    return {step: sum(curve[step] for curve in curves) / len(curves) for step in sorted(curves[0])}


def _contender(
    label: str, facts: Facts, members: list[Found], points: list[list[Found]], asked: list[Answers], metric: str
) -> Contender:
    counted = tally(asked, metric)
    assert counted is not None  # a table without exact match is refused before, and other metrics are looked for
    first = members[0][1]
    return Contender(
        label=label,
        method=first.method.name,
        alpha=_dropping(first),
        treatment=facts,
        development=_development_score(points),
        seeds=tuple(record.seed for _, record in members),
        totals=counted[0],
        counts=counted[1],
    )


def _other_ways(
    labels: list[str],
    facts: list[Facts],
    members: list[list[Found]],
    points: list[list[list[Found]]],
    asked: list[list[Answers]],
    answers: dict[Path, Answers],
) -> list[dict[str, Difference]]:
    """Every row against plain_matched in the other ways of asking, by their names."""
    found: list[dict[str, Difference]] = [{} for _ in members]
    every = [[answers[path] for path, _ in some] for some in members]
    numbers = np.unique(every[0][0].shots[every[0][0].measured("exact_match")]).tolist()
    ways = [(with_shots(shots), "exact_match", shots) for shots in numbers]
    ways += [(metric, metric, None) for metric in ("answered", "acc", "cloze")]
    for name, metric, shots in ways:
        given = asked if shots is None else [[one.with_shots(shots) for one in some] for some in every]
        if all(tally(some, metric) for some in given):
            rows = zip(labels, facts, members, points, given, strict=True)
            for place, difference in enumerate(to_baseline([_contender(*row, metric) for row in rows])):
                if difference:
                    found[place][name] = difference
    return found


def _dropping(record: Record) -> float | None:
    """The highest probability of dropping a token, where a method has one; released_random's α is that of keeping."""
    alpha = record.method.parameters.get("alpha")
    kept = record.method.name == "released_random"
    return round(1 - alpha, 9) if kept and isinstance(alpha, float) else alpha


def _standings(contenders: list[Contender]) -> list[dict[str, Any]]:
    """How each row stands to the others, as fields of a Row."""
    found = (to_baseline(contenders), to_random(contenders), ranks(contenders), among_first(contenders))
    names = ("to_baseline", "to_random", "rank", "among_first")
    return [dict(zip(names, one, strict=True)) for one in zip(*found, strict=True)]


def _check_questions(answers: dict[Path, Answers]) -> None:
    paths = list(answers)
    for path in paths[1:]:
        if not answers[path].asks_the_same_as(answers[paths[0]]):
            raise UserError(f"{path}: answers other questions than {paths[0]}, yet names the same task; run both again")


def _fields(task: str, answers: Answers) -> dict[str, str]:
    """The fields of a task and the lm-eval task of each, in the order of the task; unlisted fields follow by name."""
    generated = answers.measured("exact_match")
    if not generated.any():
        raise UserError(f"task {task!r}: its answers lack the exact match that orders the board; evaluate that too")
    names = {name.removeprefix(f"{task}_"): name for name in set(answers.task[generated]) if name != task}
    listed = [field for field in field_order(task) if field in names]
    return {field: names[field] for field in dict.fromkeys([*listed, *sorted(names)])}


def _estimate(counted: Tally | None) -> Estimate | None:
    return mean_interval(*counted) if counted else None


def _range(numbers: Iterable[int]) -> tuple[int, int]:
    ordered = sorted(numbers)
    return ordered[0], ordered[-1]
