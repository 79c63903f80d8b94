"""Files of rows for the corpus task: JSONL, CSV and Parquet, with the place where each row and cell stands.

`corpus.py` loads this by its path, since lm-eval may be started anywhere.
"""

import csv
import difflib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

FORMATS = (".jsonl", ".csv", ".parquet")

# What a column is for, and what it is called unless `columns` says otherwise.
COLUMNS = {
    "id": ("id",),
    "text": ("text",),
    "half": ("half",),
    "questions": ("questions",),
    "document": ("document",),
    "question": ("question",),
    "answers": ("answers", "answer"),
    "kind": ("kind",),
}

# What table programs write as text for a cell that has no value.
_NO_VALUE = {"nan", "NaN", "NaT", "None", "<NA>", "null", "#N/A"}


class Table:
    """The rows of a file, each with the place where it stands, and its columns by what they are for."""

    def __init__(self, file: Path, columns: Mapping[str, str] | None) -> None:
        self.file = file
        self.is_csv = file.suffix.lower() == ".csv"
        self.named = dict(columns or {})
        read = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}[file.suffix.lower()]
        try:
            self.rows = [(where, _without_nan(row)) for where, row in read(file)]
        except UnicodeDecodeError as error:
            raise ValueError(f"{file}: not UTF-8: {error}; save it in UTF-8") from None
        except OSError as error:
            raise ValueError(f"{file}: {error.strerror or error}; give a file that can be read") from None
        if not self.rows:
            raise ValueError(f"{file}: there is no row in it; give a file with one document or question a row at least")
        self._known = list(dict.fromkeys(key for _, row in self.rows for key in row))

    def column(self, role: str) -> str | None:
        """The column for something, or None if there is none."""
        return self.among(role, self._known)

    def needed(self, role: str) -> str:
        """The column for something. Raises ValueError if it is not there."""
        found = self.column(role)
        if found is None:
            raise ValueError(f"{self.file}: {self.lacking(role)}")
        return found

    def among(self, role: str, keys: list[str]) -> str | None:
        """Which of these columns is the one for something. Raises ValueError if two could be."""
        found = [name for name in self._names(role) if name in keys]
        if len(found) > 1:
            raise ValueError(f"{self.file}: {listed(found)}: say under columns which of them holds the {role}")
        return found[0] if found else None

    def lacking(self, role: str) -> str:
        """Say that there is no column for something, and which ones there are."""
        name = self._names(role)[0]
        return f"no column {name!r}; {nearest(name, self._known)}; name yours with columns: {{{role}: …}}"

    def _names(self, role: str) -> tuple[str, ...]:
        return (self.named[role],) if role in self.named else COLUMNS[role]


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """A row with None for NaN, which pandas writes for an empty cell."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _jsonl_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line, object_pairs_hook=_once)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}:{number}: not JSON: {error.msg} at column {error.colno}") from None
            except KeyError as error:
                raise ValueError(f"{file}:{number}: {error.args[0]}: stands twice in one object; keep one") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}:{number}: expected a JSON object")
            yield f"{file}:{number}", row


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. Raises KeyError for a key that stands twice, of which json keeps the last."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise KeyError(key)
        found[key] = value
    return found


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows are counted below the header, since a quoted cell may run over several lines; an empty cell is None."""
    limit = csv.field_size_limit(sys.maxsize)  # else no cell may have more than 131072 characters
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            separator = _separator(lines)
            reader = csv.reader(lines, strict=True, delimiter=separator)
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise ValueError(f"{file}:1: a column stands there twice; give every column its own name")
            for number, cells in enumerate((cells for cells in reader if cells), start=1):
                if len(cells) != len(header):
                    raise ValueError(
                        f"{file}: row {number}: {len(cells)} cells, but the header has {len(header)}; put cells that "
                        f"hold {_NAMES[separator]} in double quotes"
                    )
                yield f"{file}: row {number}", {key: cell or None for key, cell in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise ValueError(f"{file}: not CSV: {error}; quote cells with double quotes") from None
    finally:
        csv.field_size_limit(limit)


_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab"}


def _separator(lines: TextIO) -> str:
    """What separates the cells of an open CSV file: what a line "sep=" says, or else what its header has.

    Where commas are decimal points, spreadsheets separate by semicolons. Leaves the file at its header.
    """
    first = lines.readline().strip("\r\n")
    if first.startswith("sep=") and first[4:] in _NAMES:
        return first[4:]
    lines.seek(0)
    cells = next(csv.reader([first]), [])
    others = [separator for separator in (";", "\t") if len(cells) == 1 and separator in first]
    return others[0] if others else ","


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(file).read().to_pylist()
    except pa.ArrowException as error:
        raise ValueError(f"{file}: not Parquet: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows, start=1):
        yield f"{file}: row {number}", row


def text_of(where: str, column: str, value: object) -> str:
    """The text in a cell; a whole number, as ids and years are in JSON and Parquet, is text as well.

    Raises ValueError for an empty cell and for anything else.
    """
    if isinstance(value, float) and value.is_integer():  # what pandas makes of whole numbers beside an empty cell
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, float):
        raise ValueError(f"{where}: {column}: {value!r} is a number; write it as text, in the way it should be said")
    if not isinstance(value, str) or not value.strip():
        given = "it is empty" if value is None or value == "" else f"not {str(value)[:40]!r}"
        raise ValueError(f"{where}: {column}: expected text, {given}; fill it in or leave the row out")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {column}: {error.object[error.start]!a} is no character; take it out") from None
    return value


def document_text(where: str, column: str, value: object) -> str:
    """The text of a document. Raises ValueError as `text_of` does, and for what stands for an empty cell."""
    text = text_of(where, column, value)
    if text.strip() in _NO_VALUE:
        raise ValueError(f"{where}: {column}: {text.strip()!r} stands for an empty cell; leave the row out")
    return text


def json_cell(where: str, column: str, cell: str) -> object:
    """What a CSV cell that holds JSON says. Raises ValueError if it is none."""
    try:
        return json.loads(cell)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{where}: {column}: not JSON: {error.msg} at character {error.colno}; write a list as ["…", "…"]'
        ) from None


def in_folder(folder: Path, name: str) -> Path | None:
    """The file of a folder that has this name and a known ending. Raises ValueError for several."""
    found = sorted(file for file in folder.iterdir() if file.stem == name and file.suffix.lower() in FORMATS)
    if len(found) > 1:
        raise ValueError(f"{folder}: {listed([file.name for file in found])}: leave one of them in the folder")
    return found[0] if found else None


def listed(names: Iterable[str]) -> str:
    """Names with commas between them."""
    return ", ".join(names)


def nearest(name: str, known: Iterable[str]) -> str:
    """What is known beside `name`, the most similar entry first: for the end of an error line."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{f'did you mean {close[0]!r}? ' if close else ''}known: {listed(names[:8])}{more}"
