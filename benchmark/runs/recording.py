"""The folder of a suite's records: write a cell's record, find good records, remove replaced ones."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash, remove_abandoned, replacing, write_atomically
from benchmark.core.signals import finishing
from benchmark.records.record import DISTANCE_COLUMNS, KIND_COLUMN, AnswersInfo, Record, read_record
from benchmark.runs.assembly import assemble
from benchmark.runs.distances import distances
from benchmark.stages import files
from benchmark.store.artifacts import Store
from benchmark.suite.plan import Cell, Plan

ANSWERS = ".answers.parquet"  # end of the name of a record's answers
LOCK = "records"  # name of the store's lock for writing records


def record_path(records: Path, plan: Plan, cell: Cell) -> Path:
    """The path of a cell's record in a folder of records."""
    return records / plan.suite.name / f"{cell.name}.json"


def good_record(path: Path, plan: Plan, cell: Cell) -> Record | None:
    """The cell's record if it exists, is unchanged and belongs to this cell; None if it has to be written (again)."""
    if not path.is_file():
        return None
    try:
        record = read_record(path)
    except UserError:
        return None
    # No key contains the number of points: a larger grid needs no new training, only records with the new number.
    return record if (record.cell, record.points) == (cell.key, plan.points(cell)) else None


def split_by_record(
    plan: Plan, records: Path, cells: Sequence[Cell] | None = None
) -> tuple[dict[str, Record], list[Cell]]:
    """Good records by cell key, and the cells without one; of some cells, or of all cells of the plan."""
    good: dict[str, Record] = {}
    todo: list[Cell] = []
    for cell in plan.cells if cells is None else cells:
        record = good_record(record_path(records, plan, cell), plan, cell)
        if record:
            good[cell.key] = record
        else:
            todo.append(cell)
    return good, todo


def write_record(
    store: Store, plan: Plan, cell: Cell, records: Path, older: Mapping[str, list[Path]] | None = None
) -> Record:
    """Write a cell's record and its answers, and remove the records that it replaces.

    The answers are written first; each file is written whole or not at all. One process at a time writes; a good record
    that another process wrote meanwhile is kept. Replaced are the suite's records with the same conditions, treatment,
    point and seed: an earlier version of a stage wrote them, or a suite that measured less. A board cannot hold both.

    Args:
        store: Holds the cell's artifacts.
        plan: The cell's plan.
        cell: The cell.
        records: Folder of the records.
        older: The records among which replaced ones are searched, as `files_by_name` lists them; None lists them again.

    Raises:
        UserError: An artifact is gone.
    """
    path = record_path(records, plan, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.locked(LOCK), finishing():
        if written := good_record(path, plan, cell):
            return written
        answers = path.with_name(f"{path.stem}{ANSWERS}")
        try:
            rows, clusters = _write_answers(store.path(cell.stages["evaluate"]) / files.ANSWERS, answers, cell, plan)
            info = AnswersInfo(file=answers.name, sha256=file_hash(answers), rows=rows)
            record = assemble(store, plan, cell, info, clusters)
        except FileNotFoundError as error:
            raise UserError(f"{error.filename or store.root}: is gone; run the suite again to make it again") from None
        record = record.model_copy(update={"sha256": record.body_hash()})
        write_atomically(path, record.model_dump_json(indent=1) + "\n", swept=True)
        for replaced in _replaced({path: record}, files_by_name(path.parent) if older is None else older):
            replaced.unlink(missing_ok=True)
    return record


def clean_up(store: Store, folder: Path, good: Mapping[Path, Record]) -> None:
    """Remove what a killed run left in a folder of records.

    That is records that a good one has replaced, answers without a record, and half-written files. In a folder that
    cannot be written they stay: the next write reports the error.

    Args:
        store: Its lock protects the folder.
        folder: The folder of a suite's records.
        good: The suite's good records, by path.
    """
    with suppress(OSError):
        remove_abandoned(folder)
        if _superfluous(folder, good):
            with store.locked(LOCK):
                for file in _superfluous(folder, good):
                    file.unlink(missing_ok=True)


def files_by_name(folder: Path) -> dict[str, list[Path]]:
    """The records of a folder by their name without the key at its end, which records that replace each other share."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.json")):
        files.setdefault(_without_key(path), []).append(path)
    return files


def _superfluous(folder: Path, good: Mapping[Path, Record]) -> list[Path]:
    """The files to remove from a folder of records, each record before its answers."""
    names = set(os.listdir(folder)) if folder.is_dir() else set()
    alone = (name for name in sorted(names) if name.endswith(ANSWERS) and _record_of(name) not in names)
    return [*_replaced(good, files_by_name(folder)), *(folder / name for name in alone)]


def _replaced(good: Mapping[Path, Record], files: Mapping[str, list[Path]]) -> list[Path]:
    """Files of records that a good one has replaced: each record, then its answers."""
    named: dict[str, list[Record]] = {}
    for path, record in good.items():
        named.setdefault(_without_key(path), []).append(record)
    replaced = []
    for name, records in named.items():
        for path in files.get(name, []):
            if path not in good:
                with suppress(UserError, FileNotFoundError):
                    older = read_record(path)
                    if _identity(older) in map(_identity, records):
                        replaced += [path, path.with_name(older.answers.file)]
    return replaced


def _without_key(path: Path) -> str:
    return path.stem[:-8]


def _identity(record: Record) -> Any:
    """What identifies a record on a board, which holds one record of each identity."""
    from benchmark.records.comparable import conditions, point, treatment

    return record.suite, record.seed, conditions(record), treatment(record), point(record)


def _record_of(answers: str) -> str:
    return f"{answers.removesuffix(ANSWERS)}.json"


def _write_answers(source: Path, target: Path, cell: Cell, plan: Plan) -> tuple[int, int]:
    """Copy a cell's answers with columns for the distance and kind of each question, where the corpus knows them.

    The answers' text is left out where the corpus may not be redistributed.

    Returns the number of answers, and the number of texts that they are about.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    if not cell.corpus.may_redistribute:
        column = table.schema.get_field_index("answer")
        table = table.set_column(column, "answer", pa.nulls(table.num_rows, pa.string()))
    if cell.corpus.gaps:
        by_question = distances(cell.corpus, plan.suite.models[cell.trained])
        pairs = [by_question.get(question, (None, None)) for question in table["question"].to_pylist()]
        for column, name in enumerate(DISTANCE_COLUMNS):
            table = table.append_column(name, pa.array([pair[column] for pair in pairs], pa.int32()))
    if cell.corpus.kinds:
        kinds = [cell.corpus.kinds.get(question) for question in table["question"].to_pylist()]
        table = table.append_column(KIND_COLUMN, pa.array(kinds, pa.string()))
    with replacing(target, swept=True) as temporary:  # `clean_up` removes it after a kill
        pq.write_table(table, temporary, compression="zstd")
    return table.num_rows, len(set(table["cluster"].to_pylist()))
