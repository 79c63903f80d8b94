"""Files from strangers: read within bounds, and refused where they could run, steer or fill something.

Every refusal is a UserError of one line: file, field, what is wrong, what to do.
"""

import json
import math
import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.core.errors import STEERING, UserError, one_line
from benchmark.core.inputs import limited_memory

if TYPE_CHECKING:
    import pyarrow as pa

MAX_JSON_BYTES = 2 * 2**20  # of a record; those of the shipped suites have some 6 kB
MAX_PARQUET_BYTES = 64 * 2**20  # of answers as they lie on disk
MAX_TABLE_BYTES = 256 * 2**20  # of answers as they are held in memory
MAX_ROWS = 1_000_000
MAX_DEPTH = 32
MAX_TEXT = 4_000  # characters of a string in a record
MAX_NAME = 200  # bytes of a file name without what comes after the stem
MAX_INTEGER = 2**53  # whole numbers up to here are the same in JSON, in doubles and in spreadsheets

AGAIN = "run the suite again to make the record anew"

# Texts that are parameters may span lines; nothing else may.
_MULTILINE = ("scoring.", "evaluation.", "method.parameters.", "task.options.", "retention.", "model.spec.", "pair.")
_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))])


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises UserError if it is missing, a link, no file, or larger.
    """
    try:
        kind = path.lstat().st_mode
    except (OSError, ValueError):  # ValueError: a name that no file can have
        raise UserError(f"{path}: no such file; hand in a record with its answers beside it") from None
    if stat.S_ISLNK(kind):
        raise UserError(f"{path}: is a symbolic link; hand in the file itself")
    if not stat.S_ISREG(kind):
        raise UserError(f"{path}: is no regular file; hand in a record with its answers beside it")
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); hand in a file that can be") from None
    if len(data) > limit:
        raise UserError(f"{path}: is larger than {limit:,} bytes, which no record needs; {AGAIN}")
    return data


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """The JSON object in a file's bytes.

    Raises UserError if it is none, nests deeper than MAX_DEPTH, names a key twice, or has a number JSON does not know.
    """
    try:
        text = data.decode("utf-8")
        _check_depth(text)
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; {AGAIN}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not the JSON of a record: {one_line(error)}; {AGAIN}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected one JSON object, the record; {AGAIN}")
    return content


def check_values(content: dict[str, Any], path: Path) -> None:
    """Refuse strings and numbers, wherever they stand in a record, that a page, terminal or table could not hold."""
    for where, value in _leaves(content):
        if isinstance(value, str):
            _check_text(path, where, value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{path}: {where}: {value} is not a finite number; {AGAIN}")
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise UserError(f"{path}: {where}: {str(value)[:40]} is beyond 2^53; {AGAIN}")


def check_stem(path: Path, stem: str) -> None:
    """Refuse a file name that could lead out of its folder, hide, or be another file elsewhere.

    It has letters, digits and `_ . -`, in lower case, and begins with a letter or digit, as the harness names records.
    """
    fits = re.fullmatch(r"[^\W_][\w.-]*", stem) and stem == stem.lower() == unicodedata.normalize("NFC", stem)
    if not fits or ".." in stem or stem.endswith(".") or stem.partition(".")[0] in _RESERVED:
        raise UserError(
            f"{path}: file name {stem!r}: expected lower-case letters, digits and _ . - alone; keep the name that the "
            "run gave the record"
        )
    if len(stem.encode()) > MAX_NAME:
        raise UserError(f"{path}: file name: longer than {MAX_NAME} bytes; keep the name that the run gave the record")


def read_table(path: Path) -> "pa.Table":
    """Read a Parquet file of bounded size.

    What the file's footer says of rows and bytes is looked at first. A footer may lie, so memory is limited while the
    rest is read. Raises UserError if the file is larger than the bounds, or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    read_bounded(path, MAX_PARQUET_BYTES)
    try:
        with pq.ParquetFile(path) as file:
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            size = sum(max(group.total_byte_size, 0) for group in groups)
            if file.metadata.num_rows > MAX_ROWS or size > MAX_TABLE_BYTES:
                raise UserError(
                    f"{path}: unpacks to {file.metadata.num_rows:,} rows and {size:,} bytes, more than "
                    f"{MAX_ROWS:,} and {MAX_TABLE_BYTES:,}; {AGAIN}"
                )
            with limited_memory(2 * MAX_TABLE_BYTES):
                table = file.read(use_threads=False)
        table.validate(full=True)
    except (MemoryError, OverflowError):
        raise UserError(f"{path}: unpacks to more than {MAX_TABLE_BYTES:,} bytes; {AGAIN}") from None
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a table of answers ({one_line(error)}); {AGAIN}") from None
    if table.nbytes > MAX_TABLE_BYTES:
        raise UserError(f"{path}: unpacks to more than {MAX_TABLE_BYTES:,} bytes; {AGAIN}")
    return table


def steers(text: str, allowed: str = "") -> bool:
    """Whether a text has characters that steer a terminal or the direction of writing, or halves of characters."""
    if text.isprintable():  # the common case, at the speed of C; no character of these categories is printable
        return False
    return any(unicodedata.category(letter) in STEERING and letter not in allowed for letter in text)


def _check_text(path: Path, where: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise UserError(
            f"{path}: {where[:MAX_NAME]}: {len(text):,} characters, more than {MAX_TEXT:,}; shorten it in the suite"
        )
    if steers(text, "\n\t" if where.startswith(_MULTILINE) else ""):
        raise UserError(f"{path}: {where[:MAX_NAME]}: {text[:60]!a} has control characters; take them out of the suite")


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested JSON with its dotted place, and every key as a value of the place it is at."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{where or 'record'} (a key)", key
            yield from _leaves(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{number}]")
    else:
        yield where, value


def _check_depth(text: str) -> None:
    depth = 0
    # A string that is not closed matches to the end, so that the whole is read once whatever it holds.
    for token in re.finditer(r'"(?:[^"\\]|\\.?)*"?|[][{}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"nests deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!a} stands there twice")
        found[key] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
