"""The corpus task: a user's own documents, and the questions about them."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from benchmark.core.files import file_hash
from benchmark.core.inputs import reading
from benchmark.corpora.base import FORMULAS, FREE_ANSWERS, SHOTS, TASKS, Corpus, Facts, Task, definition_hash
from benchmark.data.texts import Text

if TYPE_CHECKING:
    from benchmark.tasks.corpus.corpus import Document


class OwnDocuments(Task):
    """Questions about documents that a user brings.

    Fields: `path`, a file of documents or a folder with `documents.*`; `questions` and `shots`, files of questions and
    of examples if they are not in that folder; `columns`, what columns are called; `answers_in_text`, "free" if answers
    need not stand in their document; `characters`, "folded" if characters that look alike are equal.
    See tasks/corpus/README.md.
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
        from benchmark.tasks.corpus import corpus

        corpus.check_columns(columns)
        return columns

    def identity(self) -> dict[str, Any]:
        """What of the files is read, and how it is compared. Where the files lie changes nothing."""
        compared = {} if self.characters == "as_written" else {"characters": self.characters}
        return {"columns": dict(sorted(self.columns.items())), **compared}

    @classmethod
    def definition(cls) -> str:
        """Hash of code, YAML file and formulas."""
        own = [file for file in (TASKS / "corpus").iterdir() if file.suffix in (".py", ".yaml")]
        return definition_hash([*own, FORMULAS, FREE_ANSWERS])

    @property
    def examples(self) -> int:
        """The rows of the file of shots."""
        from benchmark.tasks.corpus import corpus, tables

        with reading("task corpus", self.path, self.questions, self.shots) as (path, questions, shots):
            file = corpus.find_files(path, questions, shots).shots
            return len(tables.Table(file, self.columns).rows) if file else 0

    @property
    def default_fewshot(self) -> list[int]:
        """As of every task; where there are fewer than five examples, all of them."""
        return sorted({*super().default_fewshot, min(self.examples, SHOTS[-1])})

    def load(self) -> Corpus:
        """Read the documents; those nobody asks about are trained on as well."""
        from benchmark.tasks.corpus import corpus

        with reading("task corpus", self.path, self.questions, self.shots) as (path, questions, shots):
            files = corpus.find_files(path, questions, shots)
            documents = corpus.read_corpus(path, questions, self.columns, self.answers_in_text, self.characters)
            corpus.read_shots(files.shots, documents, self.columns)
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
            texts_hash=_texts_hash(documents),
            facts={document["id"]: Facts("", [q["answers"] for q in document["questions"]]) for document in documents},
        )


def _texts_hash(documents: "list[Document]") -> str:
    """SHA-256 over ids and texts: what training depends on, so that a corrected question trains nothing anew."""
    texts = [(document["id"], document["text"]) for document in documents]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()


def _data_hash(files: dict[str, Path | None]) -> str:
    """SHA-256 over what the files are for, their formats and bytes, whatever they are called."""
    digest = hashlib.sha256()
    for role, file in files.items():
        if file:
            digest.update(f"{role}{file.suffix.lower()}:{file_hash(file)};".encode())
    return digest.hexdigest()
