"""Documents of `benchmark corpus` that are no corpus yet: a folder of pages, or documents without questions.

They become a folder in the layout of the task `corpus`, RESULTS/corpora/NAME, to look at and to edit:

    documents.jsonl   the documents, and the half of each once questions are written
    questions.jsonl   the questions that a writer wrote; read and mend them
    questions.json    what the writer was asked for, and what was left out
    source.json       which documents these are: their folder, and the hash of its files
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.core.errors import UserError
from benchmark.core.files import write_all
from benchmark.core.freed_memory import give_back_memory
from benchmark.core.inputs import reading
from benchmark.corpora.base import documents_hash
from benchmark.data.texts import Text, json_lines
from benchmark.documents.folder import read_folder
from benchmark.suite.plan import find_device
from benchmark.writing.questions import Shown, write_questions
from benchmark.writing.settings import Writer

DOCUMENTS, QUESTIONS, REPORT, SOURCE = "documents.jsonl", "questions.jsonl", "questions.json", "source.json"
_BEGUN = ".begun"


@dataclass(frozen=True)
class Prepared:
    """Documents for the task `corpus`.

    Attributes:
        task: The options of the task.
        folder: The folder that is made for them; None if the user's files are a corpus as they are.
        documents: The documents.
        halves: The half of each document that has a fixed one.
        notes: What a user should know about what was read.
        source: What source.json holds.
        writer: Writes the questions that are missing; None if there are some.
    """

    task: dict[str, Any]
    folder: Path | None = None
    documents: tuple[Text, ...] = ()
    halves: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    writer: Writer | None = None

    def write(self, shown: Shown, say: Callable[[str], None]) -> None:
        """Write the folder, and the questions if a writer is to write them.

        Args:
            shown: Shows the progress of the writer.
            say: Called with lines that a user should know.

        Raises:
            UserError: The folder cannot be written, the writer fails, or there are no questions.
        """
        if self.folder is None:
            return
        self._write_documents(self.halves)
        for line in (*self.notes, f"{self.folder / DOCUMENTS}: {len(self.documents)} documents"):
            say(line)
        file = self.folder / QUESTIONS
        if file.is_file() and not self.task.get("questions"):
            say(f"{file}: there already, used as it is; remove it to have questions written again")
        elif self.writer:
            self._write_questions(self.writer, file, shown, say)
        elif not self.task.get("questions"):
            raise UserError(
                f"{self.folder / DOCUMENTS}: documents without questions; have them written with --questions-by "
                "WRITER, or give a file of questions with --questions"
            )

    def _write_questions(self, writer: Writer, file: Path, shown: Shown, say: Callable[[str], None]) -> None:
        resume_folder = file.with_name(_BEGUN)
        questions, report = write_questions(self.documents, writer, find_device("auto"), resume_folder, shown)
        give_back_memory()  # the writer's, before workers load the models of the suite
        asked = {question.document for question in questions}
        self._write_documents(self.halves or _by_turns([text.id for text in self.documents if text.id in asked]))
        made = {"source": self.source, "writer": writer.identity(), **vars(report)}
        rows = "".join(json.dumps(question.row(), ensure_ascii=False) + "\n" for question in questions)
        write_all({file.with_name(REPORT): _json(made), file: rows})
        shutil.rmtree(resume_folder, ignore_errors=True)
        for line in (*report.lines(), f"{file}: the questions; read and mend them, then run the same command again"):
            say(line)
        if report.documents < 2:
            raise UserError(
                f"{file}: asks about {questions[0].document!r} alone, and both halves need questions; add some about "
                "another document, or remove the file and use another writer"
            )

    def _write_documents(self, halves: Mapping[str, str]) -> None:
        assert self.folder is not None
        if halves:
            others = [text.id for text in self.documents if text.id not in halves]
            halves = {**halves, **_by_turns(others, len(halves))}
        rows = []
        for text in self.documents:
            row = {"id": text.id, "text": text.text}
            rows.append({**row, "half": halves[text.id]} if halves else row)
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        try:
            write_all({self.folder / DOCUMENTS: content, self.folder / SOURCE: _json(self.source)})
        except OSError as error:
            raise UserError(
                f"{self.folder}: {error.strerror}; give a folder that can be written with --results"
            ) from None


def prepare(task: Mapping[str, Any], results: Path, writer: Writer | None) -> Prepared:
    """Find out what a user's path holds, and read its documents unless it is a corpus already.

    Args:
        task: The options of the task `corpus`; `path` is required.
        results: Folder of results. Nothing is written yet.
        writer: Writes questions about documents that have none.

    Raises:
        UserError: The documents cannot be read, or have questions and a writer besides; or the folder under `results`
            holds other documents.
    """
    from benchmark.tasks.corpus import tables

    path = Path(task["path"])
    with reading("task corpus", path, task.get("questions"), task.get("shots")) as (absolute, questions, shots):
        assert absolute is not None
        pages = absolute.is_dir() and tables.in_folder(absolute, "documents") is None
        if absolute.is_dir():
            questions = questions or tables.in_folder(absolute, "questions")
            shots = shots or tables.in_folder(absolute, "shots")
    if writer and questions:
        raise UserError(f"{questions}: these documents have questions; leave --questions-by out, or these questions")
    halves: dict[str, str] = {}
    notes: list[str] = []
    if pages:
        if task.get("columns") and not questions:
            raise UserError(f"columns: {absolute} holds pages, which have none; leave --column out")
        read = read_folder(absolute, results)
        documents, digest = read.texts, read.sha256
        notes += _unread(absolute, read.others, [file for file in (questions, shots) if file])
    elif writer:
        documents, halves = _of_table(absolute, task.get("columns") or {})
        digest = documents_hash((text.id, text.text) for text in documents)
    else:
        return Prepared(dict(task))
    folder = results / "corpora" / _name(absolute)
    columns = task.get("columns") if pages and questions else None
    task = {**task, "path": folder, "questions": questions, "shots": shots, "columns": columns}
    source = {"path": str(absolute), "sha256": digest}
    _check_same(folder, source)
    if (folder / QUESTIONS).is_file():
        halves = _halves(folder / DOCUMENTS) or halves
        notes += _changed(folder, digest, documents)
    return Prepared(task, folder, tuple(documents), halves, tuple(notes), source, writer)


def question_writer(folder: Path | None) -> str | None:
    """The model that wrote the questions of a corpus; None if its folder names none."""
    if folder is None or not (folder / REPORT).is_file():
        return None
    writer = _loaded(folder / REPORT).get("writer", {})
    return str(writer["model"]) if "model" in writer else None


def _unread(folder: Path, others: Counter[str], used: Iterable[Path]) -> list[str]:
    """A line with what of a folder is not read, if there is anything; the files of questions and examples are."""
    counts = others.copy()
    counts.subtract(file.suffix.lower() for file in used if file.parent == folder)
    listed = sorted((+counts).items(), key=lambda other: (-other[1], other[0]))
    return [f"{folder}: not read: {', '.join(f'{count} {what}' for what, count in listed)}"] if listed else []


def _of_table(path: Path, columns: Mapping[str, str]) -> tuple[list[Text], dict[str, str]]:
    """The documents of a file of rows that has no questions, and their halves if it has them."""
    from benchmark.tasks.corpus import corpus as reader
    from benchmark.tasks.corpus import tables

    with reading("task corpus", path):
        reader.check_columns(columns)
        table = tables.Table(reader.find_files(path).documents, columns)
        text, name, half = table.needed("text"), table.column("id"), table.column("half")
        for role in ("questions", "question"):
            if column := table.column(role):
                raise UserError(f"{table.file}: {column}: these documents have questions; leave --questions-by out")
        documents: dict[str, Text] = {}
        halves: dict[str, str] = {}
        lines: dict[str, str] = {}  # where a text stands
        for number, (where, row) in enumerate(table.rows):
            key = tables.text_of(where, name, row.get(name)) if name else f"doc-{number:05d}"
            if key in documents:
                raise UserError(f"{where}: {name}: {key!r} stands there twice; give every document its own id")
            documents[key] = Text(key, tables.document_text(where, text, row.get(text)))
            if before := lines.get(documents[key].text):
                raise UserError(f"{where}: {text}: the same text stands at {before}; remove one of the two")
            lines[documents[key].text] = where
            if half:
                halves[key] = tables.text_of(where, half, row.get(half))
                if halves[key] not in reader.HALVES:
                    raise UserError(f"{where}: {half}: {halves[key]!r} is none of {', '.join(reader.HALVES)}")
        if half and len(set(halves.values())) < len(reader.HALVES):
            raise UserError(
                f"{table.file}: {half}: all documents are of one half; settings are chosen on one half and reported on "
                "the other, so name both, or leave the column out"
            )
    return list(documents.values()), halves


def _by_turns(names: Iterable[str], start: int = 0) -> dict[str, str]:
    """The halves of documents: development and test by turns."""
    return {name: ("development", "test")[number % 2] for number, name in enumerate(names, start)}


def _halves(file: Path) -> dict[str, str]:
    """The halves in a file of documents that was written before; empty if it has none."""
    if not file.is_file():
        return {}
    return {str(row["id"]): str(row["half"]) for _, row in json_lines(file) if "id" in row and "half" in row}


def _check_same(folder: Path, source: Mapping[str, Any]) -> None:
    """Refuse to mix two folders of documents that have the same name."""
    file = folder / SOURCE
    if not file.is_file():
        return
    before = _loaded(file)
    if source["path"] != before.get("path") and source["sha256"] != before.get("sha256"):
        raise UserError(
            f"{folder}: holds the documents of {before.get('path')}; give another folder with --results, or remove it"
        )


def _changed(folder: Path, digest: str, documents: Iterable[Text]) -> list[str]:
    """A line if the documents are others than those that the questions were written about."""
    if not (folder / REPORT).is_file() or _loaded(folder / REPORT).get("source", {}).get("sha256") == digest:
        return []
    asked = {row.get("document") for _, row in json_lines(folder / QUESTIONS)}
    without = sum(document.id not in asked for document in documents)
    return [
        f"{folder / QUESTIONS}: the documents changed since it was written, and {without} have no questions; remove "
        "the file to have all written again"
    ]


def _loaded(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{file}: cannot be read; remove it")
    return content


def _name(path: Path) -> str:
    """The name of the folder in the results, which is also that of the suite."""
    name = path.name if path.is_dir() else path.stem
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())[:90] or "documents"


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
