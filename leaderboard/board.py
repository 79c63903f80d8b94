"""From records to the board: a table per set of equal conditions, a row per method, seeds put together.

Every display (Markdown, CSV, terminal) shows the one Board made here, and every number in it comes from the answers of
the test half. The development half is for choosing parameters, and never shown.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from benchmark.errors import UserError
from benchmark.people import FIELDS
from benchmark.record import METRICS, Record, RetentionInfo, mean_exact_match, read_record
from leaderboard.answers import HALF, Answers, Tally, read_answers, tally
from leaderboard.compare import Facts, canonical, conditions, point, treatment
from leaderboard.comparisons import BASELINE as BASELINE
from leaderboard.comparisons import Comparison as Comparison
from leaderboard.comparisons import Contender, among_first, ranks, to_baseline, to_random
from leaderboard.distance import DistanceBin, Distances, Edges, bin_edges, by_distance, shared_distances
from leaderboard.statistics import Interval, mean_interval

GREEK = {"alpha": "α", "beta": "β"}

Found = tuple[Path, Record]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Forgetting(_Frozen):
    """What training cost on one held-out text or task: the change for the worse, by the metric named at the table.

    `low` and `high` are the ends of the 95% interval over the seeds that measured it, None where that is one seed.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: tuple[int, ...]


class HeldOut(_Frozen):
    """A held-out text or task that records of a table measured, `before` being the untouched model's value."""

    label: str
    metric: str
    before: float


class Row(_Frozen):
    """A method's records, one per seed, put together.

    `scores` maps each measured metric to its mean over all fields, `fields` each field to its exact match.
    `to_baseline` compares the exact match with that of plain_matched, `to_random` with that of random_dropout (the row
    that drops with the same probability where there is one, else the best on the development half). `rank` is 1 + the
    number of rows with a higher exact match, and `among_first` says that the row is not told apart from the first.
    `steps` and `texts` are the least and the most over the seeds; `tokens` and `seconds` are the means of what training
    read and took.
    `answers` are the files beside `files`. Where a suite chose among `tried` points by the development half, these are
    the results of the best, and `chosen` says what it was. `forgetting` is by the label of the table's `held_out`.
    `curve` maps steps to the exact match of that checkpoint, the mean over seeds and lm-eval tasks; the last step is
    among them. `by_distance` is the exact match by how far the answer stands from the name, in bins that the rows of a
    table share; empty where no record of the table says. `development` is the exact match of the development half, for
    choosing among rows, no result.
    """

    label: str
    method: str
    parameters: Facts
    copies: int
    pair: str | None
    seeds: tuple[int, ...]
    files: tuple[Path, ...]
    answers: tuple[Path, ...]
    scores: dict[str, Interval]
    fields: dict[str, Interval]
    steps: tuple[int, int]
    texts: tuple[int, int]
    tokens: float
    seconds: float | None
    to_baseline: Comparison | None = None
    to_random: Comparison | None = None
    rank: int = 1
    among_first: bool = True
    tried: int = 1
    chosen: Facts = {}
    forgetting: dict[str, Forgetting] = {}
    curve: dict[int, float] = {}
    by_distance: tuple[DistanceBin, ...] = ()
    development: float = 0.0

    @property
    def headline(self) -> Interval:
        """The exact match over all fields, by which rows are ordered."""
        return self.scores["exact_match"]


class BoardTable(_Frozen):
    """Rows made under equal conditions, best first.

    `questions` counts the test half's questions that have an exact match, `subjects` the people or paragraphs there.
    """

    title: str
    task: str
    model: str
    budget: str
    suites: tuple[str, ...]
    conditions: Facts
    questions: int
    subjects: int
    fields: tuple[str, ...]
    rows: tuple[Row, ...]
    held_out: tuple[HeldOut, ...] = ()

    def is_best(self, row: Row) -> bool:
        """Whether no row of this table has a higher exact match."""
        return row.headline.mean == self.rows[0].headline.mean

    def best_of_methods(self) -> dict[str, Row]:
        """Every method's row with the highest exact match on the development half, of those with most seeds."""
        found: dict[str, Row] = {}
        for row in sorted(self.rows, key=lambda row: (-len(row.seeds), -row.development, row.label)):
            found.setdefault(row.method, row)
        return found

    def summary(self, name: Callable[[str], str] = str) -> str:
        """The best method, those not told apart from it, and those told to be above plain_matched.

        `name` renders a label for the display that the line is meant for.
        """
        best = ", ".join(name(row.label) for row in self.rows if self.is_best(row))
        line = f"Best: {best} (exact match {short_number(self.rows[0].headline.mean)})."
        alike = [name(row.label) for row in self.rows if row.among_first and not self.is_best(row)]
        line += f" Not told apart from it: {', '.join(alike)}." if alike else ""
        if not any(row.to_baseline for row in self.rows):
            return f"{line} Nothing here to compare with {name(BASELINE)}."
        above = [name(row.label) for row in self.rows if row.to_baseline and row.to_baseline.verdict == "above"]
        return f"{line} Above {name(BASELINE)}: {', '.join(above) or 'none'}."


class Board(_Frozen):
    """All tables, in the order of task, model and budget."""

    tables: tuple[BoardTable, ...]


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
    for found in records:
        groups.setdefault(canonical(conditions(found[1])), []).append(found)
    tables = [_table(group) for group in groups.values()]
    titles = tell_apart([table.title for table in tables], [table.conditions for table in tables])
    named = [table.model_copy(update={"title": title}) for table, title in zip(tables, titles, strict=True)]
    return Board(tables=tuple(sorted(named, key=_table_order)))


def short_number(value: float, digits: int = 3, sign: str = "") -> str:
    """A number as tables show it, without the zero before the point: .392, -.050, with sign "+" also +.050."""
    text = f"{round(value, digits) + 0.0:{sign}.{digits}f}"
    return re.sub(r"^([+-]?)0\.", r"\1.", text)


def tell_apart(labels: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    """Make equal labels unequal by adding the facts in which their owners differ, no more of them than it takes."""
    told = list(labels)
    for label in [label for label, times in Counter(labels).items() if times > 1]:
        members = [i for i, other in enumerate(labels) if other == label]
        for key in dict.fromkeys(key for i in members for key in facts[i]):
            if len({told[i] for i in members}) == len(members):
                break
            if len({canonical(facts[i].get(key)) for i in members}) > 1:
                for i in members:
                    if facts[i].get(key) is not None:
                        told[i] += f" {key.rpartition('.')[2]}={_short(facts[i][key])}"
        # What differs beyond what a label shows of it is told by a hash.
        if len({told[i] for i in members}) < len(members):
            for i in members:
                told[i] += f" #{hashlib.sha256(canonical(facts[i]).encode()).hexdigest()[:6]}"
    return told


def _table_order(table: BoardTable) -> tuple[str, str, int, str]:
    return table.task, table.model, max(row.steps[1] for row in table.rows), table.title


def _table(group: list[Found]) -> BoardTable:
    answers = {path: read_answers(path, record) for path, record in group}
    _check_questions(answers)
    points = _by_treatment(group)
    members = [best_point(some) for some in points]
    facts = [treatment(some[0][1]) for some in members]
    labels = tell_apart([_label(some[0][1]) for some in members], facts)
    path, first = group[0]
    budget = "budget chosen" if "training.budget" in first.choice else first.training.budget
    fields = _fields(first.task.name, answers[path])
    held_out = _held_out(group)
    distances = _distances(list(answers.values()))
    contenders = [_contender(*one, answers) for one in zip(labels, facts, members, strict=True)]
    rows = [
        _row(label, some, answers, fields, held_out, distances).model_copy(
            update={"tried": _tried(candidates), "chosen": point(some[0][1]), **standing}
        )
        for label, some, candidates, standing in zip(labels, members, points, _standings(contenders), strict=True)
    ]
    return BoardTable(
        title=f"{first.task.name}, {first.model.name}, {budget}",
        task=first.task.name,
        model=first.model.name,
        budget=budget,
        suites=tuple(sorted({record.suite for _, record in group})),
        conditions=conditions(first),
        questions=int((~np.isnan(answers[path].values[METRICS.index("exact_match")])).sum()),
        subjects=len(set(answers[path].subject)),
        fields=tuple(fields),
        rows=tuple(sorted(rows, key=lambda row: (-row.headline.mean, row.label))),
        held_out=tuple(held_out.values()),
    )


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


def _forgetting(records: list[Record], key: str) -> Forgetting | None:
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
    return Forgetting(
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


def best_point(points: list[list[Found]]) -> list[Found]:
    """The point with the highest exact match on the development half, of those that have most seeds.

    The exact match is the mean over lm-eval tasks and seeds; of equal ones the first counts.
    """
    most = max(map(len, points))
    return max((seeds for seeds in points if len(seeds) == most), key=_development_score)


def _development_score(members: list[Found]) -> float:
    return sum(record.development_score for _, record in members) / len(members)


def _tried(points: list[list[Found]]) -> int:
    """How many points were tried, those included that a search gave up before they got here."""
    return max(len(points), *(record.points for seeds in points for _, record in seeds))


def _row(
    label: str,
    members: list[Found],
    answers: dict[Path, Answers],
    fields: dict[str, str],
    held_out: dict[str, HeldOut],
    distances: tuple[Distances, Edges],
) -> Row:
    records = [record for _, record in members]
    first = records[0]
    mine = [answers[path] for path, _ in members]
    scores = {metric: _interval(tally(mine, metric)) for metric in METRICS}
    of_fields = {field: _interval(tally(mine, "exact_match", task)) for field, task in fields.items()}
    forgetting = {one.label: _forgetting(records, key) for key, one in held_out.items()}
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
        scores={metric: score for metric, score in scores.items() if score},
        fields={field: score for field, score in of_fields.items() if score},
        steps=_range(record.training.steps for record in records),
        texts=_range(record.method.texts for record in records),
        tokens=sum(record.training.tokens for record in records) / len(records),
        seconds=sum(seconds) / len(seconds) if seconds else None,
        forgetting={label: change for label, change in forgetting.items() if change},
        curve=_curve(records),
        development=_development_score(members),
        by_distance=by_distance(mine, *distances),
    )


def _distances(answers: list[Answers]) -> tuple[Distances, Edges]:
    """How far the answers of a table's questions stand from the name, and the bins of those with an exact match."""
    known = shared_distances(answers)
    asked = ~np.isnan(answers[0].values[METRICS.index("exact_match")])
    return known, bin_edges(known[asked])


def _curve(records: list[Record]) -> dict[int, float]:
    """Exact match by step where every seed has checkpoints at the same ones; else nothing."""
    curves = [
        {
            **{one.steps: mean_exact_match(one.scores, HALF) for one in record.curve},
            record.training.steps: mean_exact_match(record.scores, HALF),
        }
        for record in records
    ]
    if len(curves[0]) == 1 or any(curve.keys() != curves[0].keys() for curve in curves):
        return {}
    return {step: sum(curve[step] for curve in curves) / len(curves) for step in sorted(curves[0])}


def _contender(label: str, facts: Facts, members: list[Found], answers: dict[Path, Answers]) -> Contender:
    counted = tally([answers[path] for path, _ in members], "exact_match")
    assert counted is not None  # a table without exact match is refused before
    first = members[0][1]
    return Contender(
        label=label,
        method=first.method.name,
        alpha=_dropping(first),
        treatment=facts,
        development=_development_score(members),
        seeds=tuple(record.seed for _, record in members),
        totals=counted[0],
        counts=counted[1],
    )


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
    """The fields of a task with an lm-eval task per field, in the order of the text; field → lm-eval task."""
    generated = ~np.isnan(answers.values[METRICS.index("exact_match")])
    if not generated.any():
        raise UserError(f"task {task!r}: its answers lack the exact match that orders the board; evaluate that too")
    names = {name.removeprefix(f"{task}_"): name for name in set(answers.task[generated]) if name != task}
    return {field: names[field] for field in sorted(names, key=lambda field: (_place(field), field))}


def _place(field: str) -> int:
    return FIELDS.index(field) if field in FIELDS else len(FIELDS)


def _interval(counted: Tally | None) -> Interval | None:
    return mean_interval(*counted) if counted else None


def _range(numbers: Iterable[int]) -> tuple[int, int]:
    ordered = sorted(numbers)
    return ordered[0], ordered[-1]


def _label(record: Record) -> str:
    given = record.method.parameters
    known = [f"{sign}={_short(given[name])}" for name, sign in GREEK.items() if name in given]
    others = {key: value for key, value in point(record).items() if key.rpartition(".")[2] not in GREEK}
    chosen = [f"{key.rpartition('.')[2]}={_short(value)}" for key, value in others.items()]
    named = [given["label"]] if isinstance(given.get("label"), str) else []
    return " ".join([record.method.name, *known, *named, *chosen])


def _short(value: Any) -> str:
    """A fact as it stands in a label: numbers without the leading zero, hashes by their first eight digits."""
    if isinstance(value, float):
        return re.sub(r"^(-?)0\.", r"\1.", f"{value:g}")
    text = value if isinstance(value, str) else canonical(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{16,}", text) else text[:40]
