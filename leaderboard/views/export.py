"""Export the board's tables as CSV, Parquet and JSON, and the JSON Schemas of records and export."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from benchmark.core.errors import UserError, nearest
from benchmark.core.files import replacing, write_atomically
from benchmark.records.comparable import canonical
from benchmark.records.record import Record
from leaderboard.board.assemble import load_records
from leaderboard.views.export_tables import ROW_MODELS, Export, export_tables
from leaderboard.views.formats import Interval
from leaderboard.views.lm_eval_layout import write_lm_eval
from leaderboard.views.text import csv_cell

FORMATS = ("csv", "parquet", "json", "lm-eval")
SCHEMAS: dict[str, type[BaseModel]] = {"record.schema.json": Record, "export.schema.json": Export}

ENDS = {"": "mean", "_low": "low", "_high": "high"}  # the columns of an interval, and what they hold

TYPES: dict[Any, pa.DataType] = {
    int: pa.int64(),
    int | None: pa.int64(),
    float: pa.float64(),
    float | None: pa.float64(),
    bool: pa.bool_(),
    bool | None: pa.bool_(),
}


def export(records: Path, out: Path, as_format: str) -> list[Path]:
    """Write the records of a folder to `out` in one of FORMATS; returns the files.

    Raises:
        UserError: if the format is unknown, the records do not make a board, or a file cannot be written.
    """
    if as_format not in FORMATS:
        raise UserError(f"--format {as_format}: unknown; {nearest(as_format, FORMATS)}")
    loaded = load_records(records)
    try:
        out.mkdir(parents=True, exist_ok=True)
        if as_format == "lm-eval":
            return write_lm_eval(loaded, out)
        writers = {"csv": write_csv, "parquet": write_parquet, "json": write_json}
        return writers[as_format](export_tables(loaded, records), out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); make room or give another folder") from None


def write_csv(tables: BaseModel, out: Path) -> list[Path]:
    """Write a file per table: objects and lists as JSON text, a quote before text that a spreadsheet would run."""
    paths = []
    for name, model in ROW_MODELS.items():
        file = io.StringIO()
        writer = csv.DictWriter(file, list(_columns(model)), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _in_csv(value) for key, value in row.items()} for row in _flat_rows(tables, name))
        write_atomically(out / f"{name}.csv", file.getvalue())
        paths.append(out / f"{name}.csv")
    return paths


def write_parquet(tables: BaseModel, out: Path) -> list[Path]:
    """Write a file per table, with the columns of the CSV files in their types; text is as it is in the records."""
    paths = []
    for name, model in ROW_MODELS.items():
        table = pa.Table.from_pylist(list(_flat_rows(tables, name)), pa.schema(_columns(model).items()))
        with replacing(out / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")
        paths.append(out / f"{name}.parquet")
    return paths


def write_json(tables: BaseModel, out: Path) -> list[Path]:
    """Write all tables as one file, export.json, which fits the published schema."""
    try:
        text = json.dumps(tables.model_dump(mode="json"), indent=1, allow_nan=False)
    except ValueError:
        raise UserError(
            f"{out}: a record holds a number that is not finite; find it with benchmark leaderboard check"
        ) from None
    write_atomically(out / "export.json", f"{text}\n")
    return [out / "export.json"]


def write_schemas(out: Path) -> list[Path]:
    """Write the published JSON Schemas to a folder; returns the files."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in schemas().items():
        write_atomically(out / name, text)
    return [out / name for name in SCHEMAS]


def schemas() -> dict[str, str]:
    """The published JSON Schemas, by file name."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {
        name: json.dumps({"$schema": dialect, **model.model_json_schema()}, indent=1) + "\n"
        for name, model in SCHEMAS.items()
    }


def _columns(model: type[BaseModel]) -> dict[str, pa.DataType]:
    """Names and types of a table's columns; an interval has three, objects and lists are JSON text."""
    columns: dict[str, pa.DataType] = {}
    for name, field in model.model_fields.items():
        if _is_interval(field):
            columns |= {f"{name}{end}": pa.float64() for end in ENDS}
        else:
            columns[name] = TYPES.get(field.annotation, pa.string())
    return columns


def _flat_rows(tables: BaseModel, name: str) -> Iterator[dict[str, Any]]:
    """A table's rows, each with the values of its columns."""
    for row in getattr(tables, name):
        flat: dict[str, Any] = {}
        for column, field in type(row).model_fields.items():
            value = getattr(row, column)
            if _is_interval(field):
                flat |= {f"{column}{end}": getattr(value, part, None) for end, part in ENDS.items()}
            elif isinstance(value, dict | list | BaseModel):
                flat[column] = canonical(row.model_dump(mode="json", include={column})[column])
            else:
                flat[column] = value
        yield flat


def _is_interval(field: FieldInfo) -> bool:
    return field.annotation in (Interval, Interval | None)


def _in_csv(value: Any) -> Any:
    if isinstance(value, str):
        return csv_cell(value)
    return int(value) if isinstance(value, bool) else value
