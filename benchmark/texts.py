"""Texts, augmented texts and token scores: what the stages pass to each other, and how each is stored."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError

_DETAILS = ("subject", "entities", "values")


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
    """Read what `write_lines` wrote from augmented texts."""
    return [
        AugmentedText(row["id"], row["copy"], row["text"], tuple((s, e, v) for s, e, v in row.get("values", [])))
        for _, row in json_lines(path)
    ]


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


def write_scores(path: Path, scores: Iterable[TokenScores]) -> None:
    """Write token scores as Parquet: a row per text, `id` and the lists `token`, `start`, `end`, `score` (float32)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("id", pa.string()),
            ("token", pa.list_(pa.string())),
            ("start", pa.list_(pa.int32())),
            ("end", pa.list_(pa.int32())),
            ("score", pa.list_(pa.float32())),
        ]
    )
    pq.write_table(pa.Table.from_pylist([asdict(row) for row in scores], schema=schema), path, compression="zstd")


def read_scores(path: Path) -> list[TokenScores]:
    """Read what `write_scores` wrote."""
    import pyarrow.parquet as pq

    return [TokenScores(**row) for row in pq.read_table(path).to_pylist()]


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSONL file with their line numbers.

    Raises UserError naming the file and line if one is no JSON object, or the file cannot be read.
    """
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}:{number}: expected a JSON object")
                yield number, row
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a file with one JSON object a line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from None
