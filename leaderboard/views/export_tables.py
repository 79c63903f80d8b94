"""The exported tables: records, scores, costs, retention, board and references, as flat rows for other programs.

The models of the rows are the only declaration: the columns of CSV and Parquet and the published JSON Schema come from
them. The rows of `records` are derived from the schema of a record, the rows of `board` from the columns of the board
(`columns.py`). All tables but `board` and `references` have the column `cell`, by which they are joined.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, create_model

from benchmark.core.environment import Environment
from benchmark.records.record import METRICS, Record, TrainingInfo
from benchmark.records.scores import flat_scores
from leaderboard.board.assemble import build_board
from leaderboard.board.choice import RecordFile
from leaderboard.board.model import BoardTable, Reference
from leaderboard.views.column import Line, View
from leaderboard.views.columns import columns, other_questions
from leaderboard.views.formats import Exported, Interval, exported
from leaderboard.views.text import relative

# The columns of `records` → the dotted path of the value in a record, which also gives its type.
RECORD_PATHS = {
    **{name: name for name in ("cell", "suite", "created")},
    "task": "task.name",
    "task_options": "task.options",
    "task_versions": "task.versions",
    **{name: f"task.{name}" for name in ("corpus_hash", "definition_hash", "pieces_hash", "texts", "questions")},
    **{name: f"task.{name}" for name in ("clusters", "may_redistribute")},
    "model": "model.name",
    "model_spec": "model.spec",
    "model_fingerprint": "model.fingerprint",
    "model_parameters": "model.parameters",
    "pair": "pair.name",
    "pair_large": "pair.large.name",
    "pair_large_fingerprint": "pair.large.fingerprint",
    "pair_small": "pair.small.name",
    "pair_small_fingerprint": "pair.small.fingerprint",
    "method": "method.name",
    "method_parameters": "method.parameters",
    "method_package": "method.package",
    "copies": "method.copies",
    "training_texts": "method.texts",
    **{name: name for name in ("seed", "confirms")},
    **{f"facts_{name}": f"facts.{name}" for name in ("answer", "answer_and_name", "tokens")},
    **{name: f"training.{name}" for name in TrainingInfo.model_fields},
    **{name: name for name in ("evaluation", "scoring", "stages", "choice", "points")},
    **{name: f"environment.{name}" for name in Environment.model_fields if name != "code"},
    "sha256": "sha256",
    "answers_sha256": "answers.sha256",
    "writer": "written.writer",
    "writer_spec": "written.model.spec",
    "writer_fingerprint": "written.model.fingerprint",
    "writer_api_model": "written.api_model",
    "writer_sampling": "written.sampling",
    **{f"written_{name}": f"written.{name}" for name in ("texts", "samples", "left_out", "drawn_again")},
    **{f"written_{name}": f"written.{name}" for name in ("gold_questions", "prompt_tokens", "tokens", "sha256")},
    "invented": "written.invented",
}


def _annotation(path: str) -> Any:
    """The type of the value at a dotted path of a record.

    A value below a part that may be missing, such as the pair, may be None; mappings and lists are then empty.
    """
    *parents, last = path.split(".")
    model: Any = Record
    may_be_missing = False
    for name in parents:
        annotation = model.model_fields[name].annotation
        model, *missing = get_args(annotation) or (annotation,)
        may_be_missing |= bool(missing)
    annotation = model.model_fields[last].annotation
    return annotation | None if may_be_missing and get_origin(annotation) not in (dict, list) else annotation


def _value(record: Record, path: str) -> Any:
    """The value at a dotted path of a record, as the exported table holds it."""
    value: Any = record
    for name in path.split("."):
        value = getattr(value, name, None)
    empty = get_origin(_annotation(path))
    return empty() if value is None and empty in (dict, list) else value


def _record_types() -> dict[str, Any]:
    """The columns of `records` with their types; the path of the file follows the suite."""
    types: dict[str, Any] = {}
    for name, path in RECORD_PATHS.items():
        types[name] = _annotation(path)
        if name == "suite":
            types["file"] = str
    return types


def _board_types() -> dict[str, Any]:
    """The columns of `board` with their types."""
    types: dict[str, Any] = {}
    for column in columns(View.EXPORT, []):
        types |= column.format.types(column.export or column.key)
    return types


class ScoreRow(Exported):
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


class CostRow(Exported):
    """What one stage of a cell took."""

    cell: str
    stage: str
    seconds: float
    peak_memory_bytes: int


class RetentionRow(Exported):
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


class ReferenceRow(Exported):
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
    other_questions: dict[str, Interval]


def _model(name: str, doc: str, types: dict[str, Any], base: type[BaseModel] = Exported) -> Any:
    """A model of the export whose fields are only known when the program runs; all fields are required."""
    fields: dict[str, Any] = {field: (annotation, ...) for field, annotation in types.items()}
    return create_model(name, __base__=base, __doc__=doc, **fields)


RecordRow = _model(
    "RecordRow",
    "A record without its numbers that stand in tables of their own; `file` is relative to the folder of records.\n\n"
    "Of a model that was not trained (`untouched`, `open_book`) there is nothing of training.",
    _record_types(),
)

BoardRow = _model(
    "BoardRow",
    "A row of the board: a method's records, one per seed, put together. Numbers are those of the test half.\n\n"
    "`shots` is the number of examples that is best on the development half; `by_shots` has the exact match with each.",
    _board_types(),
)

ROW_MODELS: dict[str, type[BaseModel]] = {
    "records": RecordRow,
    "scores": ScoreRow,
    "costs": CostRow,
    "retention": RetentionRow,
    "board": BoardRow,
    "references": ReferenceRow,
}


class _Versioned(Exported):
    schema_version: Literal[2] = 2


Export = _model("Export", "All tables.", {name: list[model] for name, model in ROW_MODELS.items()}, _Versioned)  # type: ignore[valid-type]


def export_tables(records: Sequence[RecordFile], folder: Path) -> Any:
    """The tables of records, as an `Export`; paths are relative to `folder`.

    Raises:
        UserError: as `build_board` does.
    """
    tables = build_board(records).tables
    return Export(
        records=[_record_row(path, record, folder) for path, record in records],
        scores=[row for _, record in records for row in _score_rows(record)],
        costs=[
            CostRow(cell=record.cell, stage=stage, **cost.model_dump())
            for _, record in records
            for stage, cost in record.cost.items()
        ],
        retention=[
            RetentionRow(cell=record.cell, name=name, **info.model_dump())
            for _, record in records
            for name, info in record.retention.items()
        ],
        board=[_board_row(Line(table, row, folder)) for table in tables for row in table.rows],
        references=[_reference_row(table, reference, folder) for table in tables for reference in table.references],
    )


def _record_row(path: Path, record: Record, folder: Path) -> Any:
    values = {name: _value(record, dotted) for name, dotted in RECORD_PATHS.items()}
    return RecordRow(**values, file=relative(path, folder))


def _score_rows(record: Record) -> Iterator[ScoreRow]:
    """Every mean of a record: those of its checkpoints, then those after the last step."""
    last_step = record.training.steps if record.training else 0
    after = [*((point.steps, False, point.scores) for point in record.curve), (last_step, True, record.scores)]
    for steps, last, scores in after:
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


def _board_row(line: Line) -> Any:
    values: dict[str, Any] = {}
    for column in columns(View.EXPORT, [line.table]):
        values |= column.format.exported(column.export or column.key, column.of(line))
    return BoardRow(**values)


def _reference_row(table: BoardTable, reference: Reference, folder: Path) -> ReferenceRow:
    return ReferenceRow(
        table=table.title,
        label=reference.label,
        file=relative(reference.file, folder),
        questions=reference.questions,
        shots=reference.shots,
        by_shots=exported(reference.by_shots),
        **{metric: exported(reference.scores.get(metric)) for metric in METRICS},
        other_questions=exported(other_questions(reference.scores)),
    )
