"""Texts, augmented texts and token scores: what the stages pass to each other, and how each is stored."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.inputs import reading, regular_file

_DETAILS = ("subject", "entities", "values")
_LINES = "give a file with one JSON object a line"


@dataclass(frozen=True)
class Text:
    """One text of a corpus.

    `subject` is the name of who or what it is about, as the text has it; `entities` are [start, end) character offsets
    of names and values that are wholes, in text order. Both are empty where the task does not know them or no method
    asked.
    """

    id: str
    text: str
    subject: str = ""
    entities: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class AugmentedText:
    """One training text; copy 0 is the original.

    `values` are numbers on [start, end) character spans that training makes use of, in text order (see
    `Method.values`); a text whose method gives none has none.
    """

    id: str
    copy: int
    text: str
    values: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True)
class TokenScores:
    """Scores of one text's tokens. `start` and `end` are character offsets into the text, end excluded.

    All four lists have one entry per token; special tokens that stand for no character are left out.
    """

    id: str
    token: list[str]
    start: list[int]
    end: list[int]
    score: list[float]


def read_texts(path: Path) -> list[Text]:
    """Read a corpus file with one {"id": …, "text": …} a line; "subject" and "entities" may stand beside them.

    Raises UserError naming the file and line if a line is no such object, an id comes twice, or there is no text.
    """
    texts: list[Text] = []
    seen: set[str] = set()
    for number, row in json_lines(path):
        if not isinstance(row.get("id"), str) or not isinstance(row.get("text"), str) or not row["text"].strip():
            raise UserError(f'{path}:{number}: each line needs "id" and a non-empty "text", both strings')
        check_characters(f"{row['id']}{row['text']}", f"{path}:{number}")
        if row["id"] in seen:
            raise UserError(f"{path}:{number}: id {row['id']!r} stands there twice; give every text an id of its own")
        seen.add(row["id"])
        entities = row.get("entities", [])
        subject = row.get("subject", "")
        if not isinstance(subject, str) or not _are_spans(entities, len(row["text"])):
            raise UserError(
                f"{path}:{number}: subject, entities: expected a string, and [start, end] offsets in text order"
            )
        check_characters(subject, f"{path}:{number}")
        texts.append(Text(row["id"], row["text"], subject, tuple((start, end) for start, end in entities)))
    if not texts:
        raise UserError(f"{path}: the corpus is empty; it needs at least one text")
    return texts


def check_characters(text: str, where: str) -> None:
    """Raise UserError, beginning with `where`, if the text holds half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: {error.object[error.start]!a} is no character; take it out") from None


def write_lines(path: Path, rows: Iterable[Text] | Iterable[AugmentedText]) -> None:
    """Write texts or augmented texts, one JSON object a line, in the order given, without details that are empty."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            told = {key: value for key, value in asdict(row).items() if value or key not in _DETAILS}
            file.write(json.dumps(told, ensure_ascii=False) + "\n")


def read_augmented(path: Path) -> list[AugmentedText]:
    """Read what `write_lines` wrote from augmented texts.

    Raises UserError naming the file and line if a line is no such object.
    """
    rows: list[AugmentedText] = []
    for number, row in json_lines(path):
        match row:
            case {"id": str(key), "copy": int(copy), "text": str(text)} if _are_values(row.get("values", [])):
                check_characters(f"{key}{text}", f"{path}:{number}")
                rows.append(AugmentedText(key, copy, text, tuple((s, e, v) for s, e, v in row.get("values", []))))
            case _:
                raise UserError(f"{path}:{number}: no line of augmented texts; make the file anew")
    return rows


def _are_spans(value: object, length: int) -> bool:
    """Whether a JSON value is a list of [start, end] offsets that are not empty, do not overlap and rise."""
    if not isinstance(value, list):
        return False
    last = 0
    for span in value:
        match span:
            case [int(start), int(end)] if last <= start < end <= length:
                last = end
            case _:
                return False
    return True


def _are_values(value: object) -> bool:
    """Whether a JSON value is a list of [start, end, number]."""
    if not isinstance(value, list):
        return False
    return all(
        isinstance(one, list) and [type(part) for part in one] in ([int, int, int], [int, int, float]) for one in value
    )


def write_scores(path: Path, scores: Iterable[TokenScores]) -> None:
    """Write token scores as Parquet: a row per text, `id` and the lists `token`, `start`, `end`, `score` (float32)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [asdict(row) for row in scores]
    pq.write_table(pa.Table.from_pylist(rows, schema=_score_schema()), path, compression="zstd")


def read_scores(path: Path) -> list[TokenScores]:
    """Read what `write_scores` wrote.

    Raises UserError naming the file if it is no such table.
    """
    import pyarrow.parquet as pq

    file = regular_file(path, "give a file of token scores")
    with reading("token scores", file):
        stored = pq.ParquetFile(file)
        if not stored.schema_arrow.equals(_score_schema()):
            raise UserError(f"{path}: not the columns of token scores; make the file anew")
        rows = stored.read().to_pylist()
    for number, row in enumerate(rows, start=1):
        lists = [row[name] for name in ("token", "start", "end", "score")]
        whole = row["id"] is not None and None not in lists and not any(None in some for some in lists)
        if not whole or len({len(some) for some in lists}) > 1:
            raise UserError(f"{path}: row {number}: a score is missing; make the file anew")
    return [TokenScores(**row) for row in rows]


def _score_schema() -> Any:
    import pyarrow as pa

    columns = {"token": pa.string(), "start": pa.int32(), "end": pa.int32(), "score": pa.float32()}
    return pa.schema([("id", pa.string()), *((name, pa.list_(kind)) for name, kind in columns.items())])


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSONL file with their line numbers.

    Raises UserError naming the file and line if one is no JSON object, or the file cannot be read.
    """
    place = regular_file(path, _LINES)
    try:
        with place.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from None
                except (ValueError, RecursionError):
                    raise UserError(
                        f"{path}:{number}: a number of thousands of digits, or nested too deep; take it out"
                    ) from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}:{number}: expected a JSON object")
                yield number, row
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {_LINES}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from None
