"""The task `corpus`: a user's own documents and the questions on them."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from benchmark.core.files import file_hash
from benchmark.core.inputs import reading
from benchmark.corpora.base import (
    ANSWERED_FILE,
    METRICS_FILE,
    SHOTS,
    TASKS,
    Corpus,
    Facts,
    Task,
    definition_hash,
    documents_hash,
)
from benchmark.data.texts import Text


class OwnDocuments(Task):
    """Questions on a user's own documents; see tasks/corpus/README.md.

    Attributes:
        path: A file of documents, or a folder with `documents.*`.
        questions: A file of questions outside that folder.
        shots: A file of few-shot examples outside that folder.
        columns: The names of the file's columns, by the names this task uses.
        answers_in_text: "free" if answers need not occur in their document.
        characters: "folded" to treat characters that look alike as equal.
    """

    folder: ClassVar[str] = "corpus"

    name: Literal["corpus"] = "corpus"
    path: Path
    questions: Path | None = None
    shots: Path | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    answers_in_text: Literal["check", "free"] = "check"
    characters: Literal["as_written", "folded"] = "as_written"
    evaluate: list[str] = Field(default=["corpus", "corpus_cloze"], min_length=1)

    @field_validator("columns")
    @classmethod
    def _columns_are_known(cls, columns: dict[str, str]) -> dict[str, str]:
        from benchmark.tasks.corpus import corpus as reader

        reader.check_columns(columns)
        return columns

    def identity(self) -> dict[str, Any]:
        """How the files are read and answers compared. Paths do not count: the files' content is hashed."""
        compared = {} if self.characters == "as_written" else {"characters": self.characters}
        return {"columns": dict(sorted(self.columns.items())), **compared}

    @classmethod
    def definition(cls) -> str:
        """Hash of the task's code, YAML files and metrics."""
        own = [file for file in (TASKS / "corpus").iterdir() if file.suffix in (".py", ".yaml")]
        return definition_hash([*own, METRICS_FILE, ANSWERED_FILE])

    @property
    def examples(self) -> int:
        """The number of rows in the file of few-shot examples."""
        from benchmark.tasks.corpus import corpus as reader
        from benchmark.tasks.corpus import tables

        with reading("task corpus", self.path, self.questions, self.shots) as (path, questions, shots):
            file = reader.find_files(path, questions, shots).shots
            return len(tables.Table(file, self.columns).rows) if file else 0

    @property
    def default_fewshot(self) -> list[int]:
        """As for every task, but with fewer than five examples all of them."""
        return sorted({*super().default_fewshot, min(self.examples, SHOTS[-1])})

    def load(self) -> Corpus:
        """Read the documents. Documents without questions are trained on as well."""
        from benchmark.tasks.corpus import corpus as reader

        with reading("task corpus", self.path, self.questions, self.shots) as (path, questions, shots):
            files = reader.find_files(path, questions, shots)
            documents = reader.read_corpus(path, questions, self.columns, self.answers_in_text, self.characters)
            reader.read_shots(files.shots, documents, self.columns)
            data_hash = _data_hash(files._asdict())
        options = {
            "corpus_path": str(path),
            "corpus_questions": questions and str(questions),
            "corpus_shots": shots and str(shots),
            "corpus_columns": self.columns,
            "corpus_answers_in_text": self.answers_in_text,
            "corpus_characters": None if self.characters == "as_written" else self.characters,
        }
        return Corpus(
            texts=[Text(document["id"], document["text"]) for document in documents],
            halves={document["id"]: document["half"] for document in documents},
            data_hash=data_hash,
            definition_hash=self.definition(),
            metadata={"half": "all"} | {key: value for key, value in options.items() if value},
            may_redistribute=False,
            texts_hash=documents_hash((document["id"], document["text"]) for document in documents),
            facts={document["id"]: Facts("", [q["answers"] for q in document["questions"]]) for document in documents},
            kinds={
                f"{document['id']}:{number}": question["kind"]
                for document in documents
                for number, question in enumerate(document["questions"])
                if "kind" in question
            },
            questions={document["id"]: [q["question"] for q in document["questions"]] for document in documents},
        )


def _data_hash(files: dict[str, Path | None]) -> str:
    """SHA-256 over the files' roles, formats and bytes, but not their names."""
    digest = hashlib.sha256()
    for role, file in files.items():
        if file:
            digest.update(f"{role}{file.suffix.lower()}:{file_hash(file)};".encode())
    return digest.hexdigest()
