"""Reading submitted records and answers safely: bounded in size, and free of control characters and duplicate keys.

Every rejection is a UserError of one line: file, field, what is wrong, what to do.
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

from benchmark.core.errors import CONTROL_CATEGORIES, UserError, one_line
from benchmark.core.inputs import limited_memory

if TYPE_CHECKING:
    import pyarrow as pa

MAX_JSON_BYTES = 2 * 2**20  # of a record; shipped suites make records of about 6 kB
MAX_PARQUET_BYTES = 64 * 2**20  # of answers on disk
MAX_TABLE_BYTES = 256 * 2**20  # of answers in memory
MAX_ROWS = 1_000_000
MAX_DEPTH = 32
MAX_TEXT = 4_000  # characters of a string in a record
MAX_NAME = 200  # bytes of a file name without its suffix
MAX_INTEGER = 2**53  # larger integers are rounded by programs that read JSON numbers as doubles

AGAIN = "run the suite again to make a new record"

# Only parameters may contain line breaks.
_MULTILINE = ("scoring.", "evaluation.", "method.parameters.", "task.options.", "retention.", "model.spec.", "pair.")
_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))])


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        UserError: The file is missing, larger, a symbolic link, or not a regular file.
    """
    try:
        kind = path.lstat().st_mode
    except (OSError, ValueError):  # ValueError: the name holds a null byte
        raise UserError(f"{path}: no such file; hand in a record with its answers beside it") from None
    if stat.S_ISLNK(kind):
        raise UserError(f"{path}: is a symbolic link; hand in the file itself")
    if not stat.S_ISREG(kind):
        raise UserError(f"{path}: is not a regular file; hand in a record with its answers beside it")
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

    Raises:
        UserError: The bytes are not a JSON object, nest deeper than MAX_DEPTH, or hold a duplicate key or a number
            that JSON does not allow (NaN, Infinity).
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
    """Reject strings and numbers anywhere in a record that a page, terminal or table cannot show.

    Raises:
        UserError: A string is too long or has control characters, or a number is not finite or too large.
    """
    for where, value in _leaves(content):
        if isinstance(value, str):
            _check_text(path, where, value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{path}: {where}: {value} is not a finite number; {AGAIN}")
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise UserError(f"{path}: {where}: {str(value)[:40]} is beyond 2^53; {AGAIN}")


def check_stem(path: Path, stem: str) -> None:
    """Reject a file name that could leave its folder, be hidden, or name another file on another system.

    Valid names have lower-case letters, digits and `_ . -`, and begin with a letter or digit, as runs name records.

    Raises:
        UserError: The name is invalid or too long.
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

    The rows and bytes that the footer names are checked first. A footer may be false, so memory is limited while the
    rest is read.

    Raises:
        UserError: The file exceeds the bounds, or is not Parquet.
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
    """Whether a text has characters that control a terminal or the writing direction, or lone surrogates."""
    if text.isprintable():  # fast for most texts; no printable character is in these categories
        return False
    return any(unicodedata.category(letter) in CONTROL_CATEGORIES and letter not in allowed for letter in text)


def _check_text(path: Path, where: str, text: str) -> None:
    if len(text) > MAX_TEXT:
        raise UserError(
            f"{path}: {where[:MAX_NAME]}: {len(text):,} characters, more than {MAX_TEXT:,}; shorten it in the suite"
        )
    if steers(text, "\n\t" if where.startswith(_MULTILINE) else ""):
        raise UserError(f"{path}: {where[:MAX_NAME]}: {text[:60]!a} has control characters; take them out of the suite")


def _leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of nested JSON with its dotted path, and every key with the path of its object."""
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
    # A string without its closing quote matches to the end, so that the scan stays linear in the length.
    for token in re.finditer(r'"(?:[^"\\]|\\.?)*"?|[][{}]', text, re.DOTALL):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"duplicate key {key[:60]!a}")
        content[key] = value
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")
