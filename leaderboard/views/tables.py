"""Records and board as flat tables for other programs.

These models are the tables' only declaration: the columns of CSV and Parquet and the published JSON Schema come from
them. Every table but the board's has the column `cell`, by which they are joined.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from benchmark.records.record import METRICS, FactsInfo, Record, TrainingInfo, flat_scores
from leaderboard.board.assemble import Found, build_board
from leaderboard.board.model import BoardTable, Forgetting, MethodFacts, Reference, Row
from leaderboard.stats.comparisons import Difference
from leaderboard.stats.intervals import Estimate
from leaderboard.views.markdown import relative


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Interval(_Row):
    """A mean with the ends of its 95% interval, None where there is none."""

    mean: float
    low: float | None
    high: float | None


class Comparison(_Row):
    """Exact match minus that of the row labelled `other`, on the seeds that both have; `p_adjusted` is Holm's."""

    other: str
    difference: Interval
    seeds: list[int]
    p: float | None
    p_adjusted: float | None
    verdict: Literal["above", "below"] | None


class DistanceRow(_Row):
    """Exact match of the questions whose answer stands `low` to `high` tokens from the name."""

    low: int
    high: int
    questions: int
    exact_match: Interval


class RecordRow(_Row):
    """A record without its numbers that stand in tables of their own; `file` is relative to the folder of records.

    Of a model that was not trained (`untouched`, `open_book`) there is nothing of training.
    """

    cell: str
    suite: str
    file: str
    created: str
    task: str
    task_options: dict[str, Any]
    task_versions: dict[str, str]
    corpus_hash: str
    definition_hash: str
    pieces_hash: str | None
    texts: int
    questions: int
    clusters: int
    may_redistribute: bool
    model: str
    model_spec: dict[str, Any]
    model_fingerprint: str
    model_parameters: int | None
    pair: str | None
    pair_large: str | None
    pair_large_fingerprint: str | None
    pair_small: str | None
    pair_small_fingerprint: str | None
    method: str
    method_parameters: dict[str, Any]
    method_package: str | None
    copies: int
    training_texts: int
    seed: int
    confirms: bool
    facts_answer: float | None
    facts_answer_and_name: float | None
    facts_tokens: float | None
    budget: str | None
    recipe: dict[str, Any]
    steps: int | None
    epochs: float | None
    tokens: int | None
    loss_tokens: int | None
    rehearsal_tokens: int | None
    micro_batch: int | None
    effective_batch: int | None
    trainable_parameters: int | None
    loss_first: float | None
    loss_last: float | None
    notes: list[str]
    evaluation: dict[str, Any]
    scoring: dict[str, Any]
    stages: dict[str, str]
    choice: list[str]
    points: int
    benchmark_version: str
    code_hash: str
    commit: str | None
    dirty: bool | None
    python: str
    packages: dict[str, str]
    platform: str
    device: str
    threads: int
    sha256: str
    answers_sha256: str


class ScoreRow(_Row):
    """One mean: of an lm-eval task, number of examples, half and metric, after so many steps.

    `last` says whether training ended there; a model that was not trained has 0 steps.
    """

    cell: str
    steps: int
    last: bool
    task: str
    shots: int
    half: str
    metric: str
    value: float


class CostRow(_Row):
    """What one stage of a cell took."""

    cell: str
    stage: str
    seconds: float
    peak_memory_bytes: int


class RetentionRow(_Row):
    """What training cost on one held-out text or task; `forgetting` above 0 is a loss."""

    cell: str
    name: str
    metric: str
    higher_is_better: bool
    before: float
    after: float
    forgetting: float
    measured: dict[str, Any]
    numbers: dict[str, dict[str, float]]


class BoardRow(_Row):
    """A row of the board: a method's records, one per seed, put together. Numbers are those of the test half.

    `shots` is the number of examples that is best on the development half; `by_shots` has the exact match with each.
    """

    table: str
    task: str
    model: str
    budget: str
    suites: list[str]
    conditions: dict[str, Any]
    label: str
    method: str
    parameters: dict[str, Any]
    chosen: dict[str, Any]
    tried: int
    copies: int
    pair: str | None
    seeds: list[int]
    files: list[str]
    questions: int
    subjects: int
    best: bool
    confirmed: bool
    shots: int
    by_shots: dict[int, Interval]
    exact_match: Interval
    f1: Interval | None
    answered: Interval | None
    of_answered: float | None
    acc: Interval | None
    acc_norm: Interval | None
    cloze: Interval | None
    facts_answer: float | None
    facts_answer_and_name: float | None
    facts_tokens: float | None
    rank: int
    among_first: bool
    to_baseline: Comparison | None
    to_random: Comparison | None
    also: dict[str, Comparison]
    fields: dict[str, Interval]
    forgetting: dict[str, Interval]
    curve: dict[int, float]
    by_distance: list[DistanceRow]
    tokens: float
    loss_tokens: float | None
    epochs: float
    steps_least: int
    steps_most: int
    texts_least: int
    texts_most: int
    training_seconds: float | None


class ReferenceRow(_Row):
    """The untouched model beside a table of the board, without or with the document in the prompt."""

    table: str
    label: str
    file: str
    questions: int
    shots: int
    by_shots: dict[int, Interval]
    exact_match: Interval
    f1: Interval | None
    answered: Interval | None
    acc: Interval | None
    acc_norm: Interval | None
    cloze: Interval | None


class Export(_Row):
    """All tables."""

    schema_version: Literal[2] = 2
    records: list[RecordRow]
    scores: list[ScoreRow]
    costs: list[CostRow]
    retention: list[RetentionRow]
    board: list[BoardRow]
    references: list[ReferenceRow]


def make_export(found: Sequence[Found], folder: Path) -> Export:
    """The tables of records; paths are relative to `folder`.

    Raises UserError as `build_board` does.
    """
    board = build_board(found)
    return Export(
        records=[_record(path, record, folder) for path, record in found],
        scores=[row for _, record in found for row in _scores(record)],
        costs=[
            CostRow(cell=record.cell, stage=stage, **cost.model_dump())
            for _, record in found
            for stage, cost in record.cost.items()
        ],
        retention=[
            RetentionRow(cell=record.cell, name=name, **info.model_dump())
            for _, record in found
            for name, info in record.retention.items()
        ],
        board=[_board_row(table, row, folder) for table in board.tables for row in table.rows],
        references=[_reference(table, one, folder) for table in board.tables for one in table.references],
    )


def _record(path: Path, record: Record, folder: Path) -> RecordRow:
    task, method, training, pair = record.task, record.method, record.training, record.pair
    return RecordRow(
        **record.model_dump(include={"cell", "suite", "created", "seed", "evaluation", "scoring", "stages"}),
        **record.model_dump(include={"choice", "points", "confirms", "sha256"}),
        **task.model_dump(include={"corpus_hash", "definition_hash", "pieces_hash", "texts", "questions", "clusters"}),
        **_training(training),
        **_facts(record.facts),
        **record.environment.model_dump(exclude={"code"}),
        file=relative(path, folder),
        answers_sha256=record.answers.sha256,
        task=task.name,
        task_options=task.options,
        task_versions=task.versions,
        may_redistribute=task.may_redistribute,
        model=record.model.name,
        model_spec=record.model.spec,
        model_fingerprint=record.model.fingerprint,
        model_parameters=record.model.parameters,
        pair=pair.name if pair else None,
        pair_large=pair.large.name if pair else None,
        pair_large_fingerprint=pair.large.fingerprint if pair else None,
        pair_small=pair.small.name if pair else None,
        pair_small_fingerprint=pair.small.fingerprint if pair else None,
        method=method.name,
        method_parameters=method.parameters,
        method_package=method.package,
        copies=method.copies,
        training_texts=method.texts,
    )


def _scores(record: Record) -> Iterator[ScoreRow]:
    after = [(point.steps, False, point.scores) for point in record.curve]
    for steps, last, scores in [*after, (record.training.steps if record.training else 0, True, record.scores)]:
        for (task, shots, half, metric), value in flat_scores(scores).items():
            yield ScoreRow(
                cell=record.cell,
                steps=steps,
                last=last,
                task=task,
                shots=shots,
                half=half,
                metric=metric,
                value=value,
            )


def _facts(facts: FactsInfo | MethodFacts | None) -> dict[str, Any]:
    return {f"facts_{name}": getattr(facts, name, None) for name in ("answer", "answer_and_name", "tokens")}


def _training(training: TrainingInfo | None) -> dict[str, Any]:
    if training is None:
        return {**dict.fromkeys(TrainingInfo.model_fields), "recipe": {}, "notes": []}
    return training.model_dump()


def _board_row(table: BoardTable, row: Row, folder: Path) -> BoardRow:
    return BoardRow(
        table=table.title,
        task=table.task,
        model=table.model,
        budget=table.budget,
        suites=list(table.suites),
        conditions=table.conditions,
        label=row.label,
        method=row.method,
        parameters=row.parameters,
        chosen=row.chosen,
        tried=row.tried,
        copies=row.copies,
        pair=row.pair,
        seeds=list(row.seeds),
        files=[relative(path, folder) for path in row.files],
        questions=table.questions,
        subjects=table.subjects,
        best=table.is_best(row),
        confirmed=row.confirmed,
        shots=row.shots,
        by_shots={shots: _interval(score) for shots, score in row.by_shots.items()},
        of_answered=row.of_answered,
        **_facts(row.facts),
        **{metric: _interval(row.scores[metric]) if metric in row.scores else None for metric in METRICS},  # type: ignore[arg-type]
        rank=row.rank,
        among_first=row.among_first,
        to_baseline=_comparison(row.to_baseline),
        to_random=_comparison(row.to_random),
        also={way: _difference_row(one) for way, one in row.also.items()},
        fields={field: _interval(one) for field, one in row.fields.items()},
        forgetting={name: _interval(one) for name, one in row.forgetting.items()},
        curve=row.curve,
        by_distance=[
            DistanceRow(low=one.low, high=one.high, questions=one.questions, exact_match=_interval(one.score))
            for one in row.by_distance
        ],
        tokens=row.tokens,
        loss_tokens=row.loss_tokens,
        epochs=row.epochs,
        steps_least=row.steps[0],
        steps_most=row.steps[1],
        texts_least=row.texts[0],
        texts_most=row.texts[1],
        training_seconds=row.seconds,
    )


def _reference(table: BoardTable, one: Reference, folder: Path) -> ReferenceRow:
    return ReferenceRow(
        table=table.title,
        label=one.label,
        file=relative(one.file, folder),
        questions=one.questions,
        shots=one.shots,
        by_shots={shots: _interval(score) for shots, score in one.by_shots.items()},
        **{metric: _interval(one.scores[metric]) if metric in one.scores else None for metric in METRICS},  # type: ignore[arg-type]
    )


def _interval(score: Estimate | Forgetting) -> Interval:
    return Interval(mean=score.mean, low=score.low, high=score.high)


def _comparison(found: Difference | None) -> Comparison | None:
    return None if found is None else _difference_row(found)


def _difference_row(found: Difference) -> Comparison:
    return Comparison(
        other=found.other,
        difference=_interval(found.interval),
        seeds=list(found.seeds),
        p=found.p,
        p_adjusted=found.p_adjusted,
        verdict=found.verdict,
    )
