"""The corpus task: a user's own documents, and the questions about them."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from benchmark.corpora.base import FORMULAS, TASKS, Corpus, Task, definition_hash
from benchmark.inputs import reading
from benchmark.record import file_hash
from benchmark.texts import Text


class OwnDocuments(Task):
    """Questions about documents that a user brings.

    Fields: `path`, a file of documents or a folder with `documents.*`; `questions` and `shots`, files of questions and
    of examples if they are not in that folder; `columns`, what columns are called; `answers_in_text`, "free" if answers
    need not stand in their document. See tasks/corpus/README.md.
    """

    folder: ClassVar[str] = "corpus"
    few_shot: ClassVar[bool] = False

    name: Literal["corpus"] = "corpus"
    path: Path
    questions: Path | None = None
    shots: Path | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    answers_in_text: Literal["check", "free"] = "check"
    evaluate: list[str] = Field(default=["corpus"], min_length=1)

    @field_validator("columns")
    @classmethod
    def _columns_are_known(cls, columns: dict[str, str]) -> dict[str, str]:
        from tasks.corpus import corpus

        corpus.check_columns(columns)
        return columns

    def identity(self) -> dict[str, Any]:
        """The names of the columns, which say what of the files is read. Where the files lie changes nothing."""
        return {"columns": dict(sorted(self.columns.items()))}

    @classmethod
    def definition(cls) -> str:
        """Hash of code, YAML file and formulas."""
        own = [file for file in (TASKS / "corpus").iterdir() if file.suffix in (".py", ".yaml")]
        return definition_hash([*own, FORMULAS])

    def load(self) -> Corpus:
        """Read the documents; those nobody asks about are trained on as well."""
        from tasks.corpus import corpus

        with reading("task corpus", self.path, self.questions, self.shots) as (path, questions, shots):
            files = corpus.find_files(path, questions, shots)
            documents = corpus.read_corpus(path, questions, self.columns, self.answers_in_text)
            corpus.read_shots(files.shots, documents, self.columns)
            data_hash = _data_hash(files._asdict())
        options = {
            "corpus_path": str(path),
            "corpus_questions": questions and str(questions),
            "corpus_shots": shots and str(shots),
            "corpus_columns": self.columns,
            "corpus_answers_in_text": self.answers_in_text,
        }
        return Corpus(
            texts=[Text(document["id"], document["text"]) for document in documents],
            halves={document["id"]: document["half"] for document in documents},
            data_hash=data_hash,
            definition_hash=self.definition(),
            metadata={"half": "all"} | {key: value for key, value in options.items() if value},
            may_redistribute=False,
        )


def _data_hash(files: dict[str, Path | None]) -> str:
    """SHA-256 over what the files are for, their formats and bytes, whatever they are called."""
    digest = hashlib.sha256()
    for role, file in files.items():
        if file:
            digest.update(f"{role}{file.suffix.lower()}:{file_hash(file)};".encode())
    return digest.hexdigest()
