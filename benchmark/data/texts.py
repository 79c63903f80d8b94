"""Texts, augmented texts and token scores, which stages pass to each other, and their file formats."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.inputs import reading, regular_file

_DETAILS = ("subject", "entities", "values", "hidden")
_REMEDY = "give a file with one JSON object per line"


@dataclass(frozen=True)
class Text:
    """One text of a corpus.

    Attributes:
        id: Identifies the text within the corpus.
        text: The text itself.
        subject: Name of the person or thing that the text is about, as spelled in it; "" if unknown.
        entities: [start, end) character offsets of names and values that must not be torn apart, in text order; empty
            if unknown.
    """

    id: str
    text: str
    subject: str = ""
    entities: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class AugmentedText:
    """One training text.

    Attributes:
        id: The id of the text it was made from.
        copy: Number of the copy; 0 is the original.
        text: The text itself.
        values: (start, end, number) for [start, end) character spans, in text order, where a method gives training such
            numbers (see `Method.values`).
        hidden: [start, end) offsets of the characters that training hides in the input, in text order; usually none.
    """

    id: str
    copy: int
    text: str
    values: tuple[tuple[int, int, float], ...] = ()
    hidden: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class TokenScores:
    """Scores of one text's tokens, in lists with an entry per token. Special tokens without characters are left out.

    Attributes:
        id: The text's id.
        token: The tokens.
        start: Character offset of each token's first character.
        end: Character offset after each token's last character.
        score: The scores.
    """

    id: str
    token: list[str]
    start: list[int]
    end: list[int]
    score: list[float]


def read_texts(path: Path) -> list[Text]:
    """Read a file of texts: one JSON object per line with "id", "text" and optionally "subject" and "entities".

    Raises:
        UserError: A line is invalid, an id is repeated, or the file has no text; the message names file and line.
    """
    return texts_from_rows(path, json_lines(path))


def texts_from_rows(path: Path | str, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> list[Text]:
    """Check numbered objects with "id", "text" and optionally "subject" and "entities", and make texts of them.

    Raises:
        UserError: As `read_texts`; the message begins with `path` and the number.
    """
    texts: list[Text] = []
    seen: set[str] = set()
    for number, row in rows:
        if not isinstance(row.get("id"), str) or not isinstance(row.get("text"), str) or not row["text"].strip():
            raise UserError(f'{path}:{number}: each line needs "id" and a non-empty "text", both strings')
        check_characters(f"{row['id']}{row['text']}", f"{path}:{number}")
        if row["id"] in seen:
            raise UserError(f"{path}:{number}: duplicate id {row['id']!r}; give every text its own id")
        seen.add(row["id"])
        entities = row.get("entities", [])
        subject = row.get("subject", "")
        if not isinstance(subject, str) or not _are_spans(entities, len(row["text"])):
            raise UserError(
                f"{path}:{number}: subject, entities: expected a string and [start, end] offsets in text order"
            )
        check_characters(subject, f"{path}:{number}")
        texts.append(Text(row["id"], row["text"], subject, tuple((start, end) for start, end in entities)))
    if not texts:
        raise UserError(f"{path}: the file has no texts; it needs at least one")
    return texts


def questions_as_text(pairs: Iterable[tuple[str, str]]) -> str:
    """Questions with their answers as a training text, in the form in which the tasks ask."""
    return "\n\n".join(f"Question: {question}\nAnswer: {answer}" for question, answer in pairs)


def check_characters(text: str, where: str) -> None:
    """Raise UserError, beginning with `where`, if the text holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where}: {error.object[error.start]!a} is not a character; remove it") from None


def write_lines(path: Path, rows: Iterable[Text] | Iterable[AugmentedText]) -> None:
    """Write texts or augmented texts in order, one JSON object per line, without empty details."""
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            content = {key: value for key, value in asdict(row).items() if value or key not in _DETAILS}
            file.write(json.dumps(content, ensure_ascii=False) + "\n")


def read_augmented(path: Path) -> list[AugmentedText]:
    """Read the augmented texts that `write_lines` wrote.

    Raises:
        UserError: A line is not an augmented text; the message names file and line.
    """
    rows: list[AugmentedText] = []
    for number, row in json_lines(path):
        values, hidden = row.get("values", []), row.get("hidden", [])
        match row:
            case {"id": str(key), "copy": int(copy), "text": str(text)} if _are_values(values) and _are_spans(
                hidden, len(text)
            ):
                check_characters(f"{key}{text}", f"{path}:{number}")
                numbers, spans = tuple((s, e, v) for s, e, v in values), tuple((s, e) for s, e in hidden)
                rows.append(AugmentedText(key, copy, text, numbers, spans))
            case _:
                raise UserError(f"{path}:{number}: not an augmented text; make the file again")
    return rows


def _are_spans(value: object, length: int) -> bool:
    """Whether a JSON value is a list of non-empty [start, end] offsets that ascend and do not overlap."""
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
    types = [[type(part) for part in span] if isinstance(span, list) else [] for span in value]
    return all(span in ([int, int, int], [int, int, float]) for span in types)


def write_scores(path: Path, scores: Iterable[TokenScores]) -> None:
    """Write token scores as Parquet, a row per text: `id` and the lists `token`, `start`, `end`, `score` (float32)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [asdict(row) for row in scores]
    pq.write_table(pa.Table.from_pylist(rows, schema=_score_schema()), path, compression="zstd")


def read_scores(path: Path) -> list[TokenScores]:
    """Read the token scores that `write_scores` wrote.

    Raises:
        UserError: The file is not a table of token scores.
    """
    import pyarrow.parquet as pq

    file = regular_file(path, "give a file of token scores")
    with reading("token scores", file):
        stored = pq.ParquetFile(file)
        if not stored.schema_arrow.equals(_score_schema()):
            raise UserError(f"{path}: does not have the columns of token scores; make the file again")
        rows = stored.read().to_pylist()
    for number, row in enumerate(rows, start=1):
        lists = [row[name] for name in ("token", "start", "end", "score")]
        complete = row["id"] is not None and None not in lists and not any(None in values for values in lists)
        if not complete or len({len(values) for values in lists}) > 1:
            raise UserError(f"{path}: row {number}: a value is missing; make the file again")
    return [TokenScores(**row) for row in rows]


def _score_schema() -> Any:
    import pyarrow as pa

    columns = {"token": pa.string(), "start": pa.int32(), "end": pa.int32(), "score": pa.float32()}
    return pa.schema([("id", pa.string()), *((name, pa.list_(kind)) for name, kind in columns.items())])


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a JSON Lines file with their line numbers; blank lines are skipped.

    Raises:
        UserError: A line is not a JSON object, or the file cannot be read; the message names file and line.
    """
    expanded = regular_file(path, _REMEDY)
    try:
        with expanded.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}") from None
                except (ValueError, RecursionError):
                    raise UserError(
                        f"{path}:{number}: a number with thousands of digits, or nested too deeply; remove it"
                    ) from None
                if not isinstance(row, dict):
                    raise UserError(f"{path}:{number}: expected a JSON object")
                yield number, row
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; {_REMEDY}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8: {error}") from None
