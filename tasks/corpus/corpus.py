"""The corpus task for lm-eval: a user's own documents and the questions about them. It needs lm-eval alone.

`corpus.yaml` calls `load` for the questions and `score_answer` for the metrics, which are those of the biography task
beside it. `read_corpus` gives the documents that a model is trained on before it is asked.
"""

import csv
import difflib
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    from datasets import Dataset

    from tasks.biography import biography as metrics
else:  # by its place, since lm-eval may be started anywhere
    _spec = importlib.util.spec_from_file_location(
        "corpus_metrics", Path(__file__).parents[1] / "biography" / "biography.py"
    )
    metrics = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(metrics)

score_answer = metrics.score_answer

HALVES = ("development", "test")
FORMATS = (".jsonl", ".csv", ".parquet")
PROMPT = "Question: {question}\nAnswer:"

# What a column is for, and what it is called unless `columns` says otherwise.
COLUMNS = {
    "id": ("id",),
    "text": ("text",),
    "half": ("half",),
    "questions": ("questions",),
    "document": ("document",),
    "question": ("question",),
    "answers": ("answers", "answer"),
}


class Question(TypedDict):
    """A question and all the answers that count as right."""

    question: str
    answers: list[str]


class Document(TypedDict):
    """A text to train on, and the questions about it; there may be none."""

    id: str
    text: str
    half: str
    questions: list[Question]


class Files(NamedTuple):
    """The files of a corpus; `questions` is None where they stand beside the documents' texts."""

    documents: Path
    questions: Path | None
    shots: Path | None


def find_files(path: str | Path | None, questions: str | Path | None = None, shots: str | Path | None = None) -> Files:
    """Say which files make up a corpus.

    `path` is a file of documents or a folder with `documents.*` and, it may be, `questions.*` and `shots.*`; the other
    two name such files wherever they lie. Raises ValueError if a file is not there, is named twice or is of no known
    format.
    """
    if path is None:
        raise ValueError('corpus_path: missing; name a file or folder of documents, as in {"corpus_path": "PATH"}')
    path = Path(path).expanduser()
    given = {"questions": questions, "shots": shots}
    found = {role: Path(file).expanduser() if file else None for role, file in given.items()}
    documents: Path | None = path
    if path.is_dir():
        documents = _in_folder(path, "documents")
        if documents is None:
            raise ValueError(f"{path}: no documents{'|'.join(FORMATS)} in this folder; name the file itself")
        for role, file in found.items():
            beside = _in_folder(path, role)
            if file and beside:
                raise ValueError(f"{beside}: {role}: {file} is given besides; leave one of the two out")
            found[role] = file or beside
    assert documents is not None
    for file in (documents, *found.values()):
        if file and not file.is_file():
            raise ValueError(f"{file}: no such file; give a {_list(FORMATS)} file, or a folder with documents.*")
        if file and file.suffix.lower() not in FORMATS:
            raise ValueError(f"{file}: unknown format {file.suffix!r}; give a {_list(FORMATS)} file")
    return Files(documents, found["questions"], found["shots"])


def read_corpus(
    path: str | Path | None,
    questions: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    answers_in_text: str = "check",
) -> list[Document]:
    """Read documents with their questions, in the order of their file. README.md describes the layouts.

    Args:
        path: A file, or a folder with `documents.*` and `questions.*`.
        questions: A file of questions that name their document by its id.
        columns: Names of columns that are not called as in COLUMNS.
        answers_in_text: "check" refuses a question none of whose answers stands in its document, "free" allows it.

    Raises:
        ValueError: Naming file, row and field, something is missing or does not fit.
    """
    check_columns(columns or {})
    if answers_in_text not in ("check", "free"):
        raise ValueError(f"answers_in_text: {answers_in_text!r} is none of check, free")
    files = find_files(path, questions)
    table = _Table(files.documents, columns)
    documents, asked = _documents(table, apart=files.questions)
    if files.questions:
        asked = _questions(_Table(files.questions, columns), documents)
    seen: dict[tuple[str, str], str] = {}
    for where, name, question in asked:
        if (name, question["question"]) in seen:
            before = seen[name, question["question"]]
            raise ValueError(
                f"{where}: question: asked of document {name!r} at {before} already; put all its answers in one list"
            )
        seen[name, question["question"]] = where
        documents[name]["questions"].append(question)
    if answers_in_text == "check":
        _check_answers(asked, documents)
    _set_halves(files.questions or files.documents, list(documents.values()), table.column("half") is not None)
    return list(documents.values())


def read_shots(
    file: Path | None, documents: Iterable[Document], columns: Mapping[str, str] | None = None
) -> list[Question]:
    """Read the examples of a shots file, rows with a question and its answers; None gives none.

    Raises ValueError as `read_corpus` does, and if an example is one of the questions asked about `documents`.
    """
    if file is None:
        return []
    table = _Table(file, columns)
    question, answers = table.needed("question"), table.needed("answers")
    asked = {question["question"] for document in documents for question in document["questions"]}
    shots = []
    for where, row in table.rows:
        shot = _question(where, question, row.get(question), answers, row.get(answers), table.is_csv)
        if shot["question"] in asked:
            raise ValueError(f"{where}: {question}: {shot['question']!r} is asked as well; take it out of one of them")
        shots.append(shot)
    return shots


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise ValueError if a name is given for a column that there is no use for."""
    for role in columns:
        if role not in COLUMNS:
            raise ValueError(f"there is no {role!r} to name a column for; {_nearest(role, COLUMNS)}")


def load(
    half: str = "test",
    corpus_path: str | None = None,
    corpus_questions: str | None = None,
    corpus_shots: str | None = None,
    corpus_columns: dict[str, str] | None = None,
    corpus_answers_in_text: str = "check",
    **_: object,
) -> "dict[str, Dataset]":
    """Build the data of the lm-eval task: a row per question, with its prompt.

    lm-eval calls this as `custom_dataset` with the task's metadata: what `--metadata` gave, the version, the model's
    arguments (hence `_`). `half` says whose questions are asked: those of "development", "test", or "all". The others
    are the arguments of `read_corpus`; a shots file's rows stand as examples before every question, all of them.

    Raises ValueError if an option has no such value, or the files do not fit.
    """
    from datasets import Dataset

    if half not in (*HALVES, "all"):
        raise ValueError(f"half: {half!r} is none of {', '.join((*HALVES, 'all'))}")
    documents = read_corpus(corpus_path, corpus_questions, corpus_columns, corpus_answers_in_text)
    shots = read_shots(find_files(corpus_path, corpus_questions, corpus_shots).shots, documents, corpus_columns)
    before = "".join(f"{PROMPT.format(question=shot['question'])} {shot['answers'][0]}\n\n" for shot in shots)
    rows = []
    for document in documents:
        for number, question in enumerate(document["questions"]):
            if half in (document["half"], "all"):
                row = {
                    "id": f"{document['id']}:{number}",
                    "cluster": document["id"],
                    "half": document["half"],
                    "prompt": before + PROMPT.format(question=question["question"]),
                    **question,
                }
                rows.append(row)
    return {"questions": Dataset.from_list(rows)}


# --- from rows to documents

_Asked = list[tuple[str, str, Question]]  # where it stands, the document's id, the question


def _documents(table: "_Table", apart: Path | None) -> tuple[dict[str, Document], _Asked]:
    """The documents of a file by id, without questions, and the questions that stand in the same file."""
    for role in ("id", "half", "questions"):
        if role in table.named:
            table.needed(role)
    text_column, id_column, half_column = table.needed("text"), table.column("id"), table.column("half")
    nested, flat = table.column("questions"), table.column("question")
    here = [column for column in (nested, flat) if column]
    if len(here) + bool(apart) > 1:
        places = [*(f"the column {column}" for column in here), *([str(apart)] if apart else [])]
        raise ValueError(f"{table.file}: questions stand in {' and in '.join(places)}; leave one of the two out")
    if not here and not apart:
        raise ValueError(
            f"{table.file}: {table.lacking('questions')}; or give a file of questions, or one question a row"
        )
    documents: dict[str, Document] = {}
    asked: _Asked = []
    of_text: dict[str, str] = {}
    for where, row in table.rows:
        text = _text(where, text_column, row.get(text_column))
        half = row.get(half_column) if half_column else ""
        if half_column and half not in HALVES:
            raise ValueError(f"{where}: {half_column}: {half!r} is none of {', '.join(HALVES)}")
        if id_column:
            name = _text(where, id_column, row.get(id_column))
        else:  # one question a row: rows with one text are one document
            name = of_text.get(text, f"doc-{len(documents):05d}") if flat else f"doc-{len(documents):05d}"
        if name not in documents:
            documents[name] = {"id": name, "text": text, "half": str(half), "questions": []}
            of_text[text] = name
        elif not flat or documents[name]["text"] != text or documents[name]["half"] != half:
            same = " with another text or half" if flat else ""
            column = id_column or text_column
            raise ValueError(f"{where}: {column}: {name!r} stands there twice{same}; give every document its own id")
        if nested:
            items = _items(where, nested, row.get(nested), table)
            asked += [(where, name, question) for question in items]
        elif flat and (row.get(flat) is not None or row.get(table.needed("answers")) is not None):
            answers = table.needed("answers")
            question = _question(where, flat, row.get(flat), answers, row.get(answers), table.is_csv)
            asked.append((where, name, question))
    return documents, asked


def _questions(table: "_Table", documents: Mapping[str, Document]) -> _Asked:
    """The questions of a file of their own."""
    document, question, answers = (table.needed(role) for role in ("document", "question", "answers"))
    if half := table.column("half"):
        raise ValueError(f"{table.file}: {half}: whole documents are of a half; move the column to their file")
    asked: _Asked = []
    for where, row in table.rows:
        name = _text(where, document, row.get(document))
        if name not in documents:
            raise ValueError(f"{where}: {document}: no document {name!r}; {_nearest(name, documents)}")
        made = _question(where, question, row.get(question), answers, row.get(answers), table.is_csv)
        asked.append((where, name, made))
    return asked


def _items(where: str, column: str, value: object, table: "_Table") -> Iterator[Question]:
    """The questions in one cell of the documents' file."""
    if value is None:
        return
    if table.is_csv:
        value = _json_cell(where, column, str(value))
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f'{where}: {column}: expected a list of {{"question": …, "answers": …}}')
    for number, item in enumerate(value):
        place = f"{where}: {column}[{number}]"
        question = table.among("question", list(item))
        answers = table.among("answers", [key for key in item if item[key] is not None])
        if question is None or answers is None:
            lacking = "question" if question is None else "answers"
            raise ValueError(f"{place}: {lacking}: missing; the fields there are {', '.join(map(repr, item))}")
        yield _question(place, question, item[question], answers, item[answers], in_csv=False)


def _question(where: str, question: str, asked: object, answers: str, values: object, in_csv: bool) -> Question:
    text = _text(where, question, asked).strip()
    if in_csv and isinstance(values, str) and values.lstrip().startswith("["):
        values = _json_cell(where, answers, values)
    listed = values if isinstance(values, list) else [values]
    if values is None or not listed:
        raise ValueError(f"{where}: {answers}: a question without an answer; give it one, or leave the question out")
    golds = [_text(where, answers, value).strip() for value in listed]
    for gold in golds:
        if not metrics.normalise(gold):
            raise ValueError(
                f"{where}: {answers}: {gold!r} is nothing but articles and punctuation, which are not compared; "
                "give another answer"
            )
    return {"question": text, "answers": golds}


def _check_answers(asked: _Asked, documents: Mapping[str, Document]) -> None:
    texts = {name: metrics.normalise(document["text"]) for name, document in documents.items()}
    strange = [
        (where, name, question)
        for where, name, question in asked
        if not any(metrics.normalise(gold) in texts[name] for gold in question["answers"])
    ]
    if strange:
        where, name, question = strange[0]
        raise ValueError(
            f"{where}: answers: {' | '.join(question['answers'])!r} is not in the text of document {name!r} "
            f"({len(strange)} of {len(asked)} questions are so); correct it, or set answers_in_text: free"
        )


def _set_halves(file: Path, documents: list[Document], given: bool) -> None:
    """Let the documents that have questions be development and test by turns, unless a column says what they are."""
    with_questions = [document for document in documents if document["questions"]]
    if not given:
        for document in documents:
            document["half"] = HALVES[0]
        for number, document in enumerate(with_questions):
            document["half"] = HALVES[number % 2]
    for half in HALVES:
        if half not in {document["half"] for document in with_questions}:
            raise ValueError(
                f"{file}: half: no question in the {half} half; settings are chosen on one half and reported on the "
                f"other, so {'let the column half name both' if given else 'ask about two documents at least'}"
            )


# --- from files to rows


class _Table:
    """The rows of a file, each with the place where it stands, and its columns by what they are for."""

    def __init__(self, file: Path, columns: Mapping[str, str] | None) -> None:
        self.file = file
        self.is_csv = file.suffix.lower() == ".csv"
        self.named = dict(columns or {})
        read = {".jsonl": _jsonl_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}[file.suffix.lower()]
        try:
            self.rows = list(read(file))
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
            raise ValueError(f"{self.file}: {_list(found)}: say under columns which of them holds the {role}")
        return found[0] if found else None

    def lacking(self, role: str) -> str:
        """Say that there is no column for something, and which ones there are."""
        name = self._names(role)[0]
        return f"no column {name!r}; {_nearest(name, self._known)}; name yours with columns: {{{role}: …}}"

    def _names(self, role: str) -> tuple[str, ...]:
        return (self.named[role],) if role in self.named else COLUMNS[role]


def _jsonl_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}:{number}: not JSON: {error.msg} at column {error.colno}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}:{number}: expected a JSON object")
            yield f"{file}:{number}", row


def _csv_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows are counted below the header, since a quoted cell may run over several lines; an empty cell is None."""
    limit = csv.field_size_limit(sys.maxsize)  # else no cell may have more than 131072 characters
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise ValueError(f"{file}:1: a column stands there twice; give every column its own name")
            for number, cells in enumerate((cells for cells in reader if cells), start=1):
                if len(cells) != len(header):
                    raise ValueError(
                        f"{file}: row {number}: {len(cells)} cells, but the header has {len(header)}; put cells that "
                        "hold a comma in double quotes"
                    )
                yield f"{file}: row {number}", {key: cell or None for key, cell in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise ValueError(f"{file}: not CSV: {error}; quote cells with double quotes") from None
    finally:
        csv.field_size_limit(limit)


def _parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.ParquetFile(file).read().to_pylist()
    except pa.ArrowException as error:
        raise ValueError(f"{file}: not Parquet: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(rows, start=1):
        yield f"{file}: row {number}", row


def _text(where: str, column: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):  # such as the ids and years of JSON and Parquet
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        given = "it is empty" if value is None or value == "" else f"not {str(value)[:40]!r}"
        raise ValueError(f"{where}: {column}: expected text, {given}; fill it in or leave the row out")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {column}: {error.object[error.start]!a} is no character; take it out") from None
    return value


def _json_cell(where: str, column: str, cell: str) -> object:
    try:
        return json.loads(cell)
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{where}: {column}: not JSON: {error.msg} at character {error.colno}; write a list as ["…", "…"]'
        ) from None


def _in_folder(folder: Path, name: str) -> Path | None:
    found = sorted(file for file in folder.iterdir() if file.stem == name and file.suffix.lower() in FORMATS)
    if len(found) > 1:
        raise ValueError(f"{folder}: {_list([file.name for file in found])}: leave one of them in the folder")
    return found[0] if found else None


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{f'did you mean {close[0]!r}? ' if close else ''}known: {_list(names[:8])}{more}"
