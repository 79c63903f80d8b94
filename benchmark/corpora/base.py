"""The base class of tasks: options, the corpus to train on, and the lm-eval tasks that ask about it."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from benchmark import ROOT
from benchmark.core.files import file_hash
from benchmark.data.texts import Text
from benchmark.records.scores import OTHER_QUESTIONS

SHOTS = (0, 1, 5)
CHOICE, CLOZE = "_choice", "_cloze"  # suffixes of lm-eval tasks that take no examples
NOT_DIRECT = (CHOICE, CLOZE, *OTHER_QUESTIONS)  # suffixes of all lm-eval tasks that do not rank the board

TASKS = ROOT / "benchmark" / "tasks"
UNCHANGED = TASKS / "unchanged.json"  # lists code changes that left every question unchanged
METRICS_FILE = TASKS / "biography" / "biography.py"  # exact match and F1, for the other tasks as well
ANSWERED_FILE = TASKS / "wikipedia" / "wikipedia.py"  # decides whether a free question was answered


class Facts(NamedTuple):
    """The facts asked about a text, for the stage that counts which of them a method's copies keep.

    Attributes:
        subject: Name of the text's subject; "" if there is none.
        answers: The gold answers of each question.
    """

    subject: str
    answers: list[list[str]]


@dataclass(frozen=True, eq=False)  # hashed by identity, so that results per corpus can be cached
class Corpus:
    """The documents of a task, and what lm-eval needs to ask the questions on them.

    Attributes:
        texts: The documents. A text's id is also the cluster of its questions, unless several texts tell of the same
            event (`fictional`).
        halves: "development" or "test" for each text's id.
        data_hash: Hash of documents and questions.
        definition_hash: Hash of the task's lm-eval files.
        metadata: Passed to lm-eval's task loader.
        may_redistribute: Whether answers may be published.
        gaps: By question id: the text's id, and the character offsets where the subject's name ends and where the
            answer begins. The last mention of the name before the answer counts. Only for tasks that know it.
        texts_hash: Hash of the documents alone, if the task gives it. Stages that read no questions then depend on it
            instead of `data_hash`.
        questions_hash: Hash of `questions`, if `data_hash` does not determine them.
        facts: The facts asked about each text, by its id.
        kinds: What kind of question each is, by question id, for tasks whose files say so.
        questions: The questions of the task by the text's id, which no text of a writer may ask.
    """

    texts: list[Text]
    halves: dict[str, str]
    data_hash: str
    definition_hash: str
    metadata: dict[str, Any]
    may_redistribute: bool
    gaps: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    texts_hash: str | None = None
    questions_hash: str | None = None
    facts: Mapping[str, "Facts"] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    questions: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def trained_on(self) -> str:
        """The hash that training depends on."""
        return self.texts_hash or self.data_hash


class Task(BaseModel):
    """A task as a suite lists it. Its options are the fields of its class.

    A subclass has a field `name` with a single literal value, under which it is registered, and a default for
    `evaluate`.

    Attributes:
        folder: The folder in tasks/ with the lm-eval files.
        details: The fields of Text that `load` fills besides `id` and `text`: "subject", "entities". A suite cannot
            combine the task with methods that need other details.
        name: The task's name in suites.
        evaluate: The lm-eval tasks that ask the questions.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    folder: ClassVar[str]
    details: ClassVar[frozenset[str]] = frozenset()

    name: str
    evaluate: list[str] = Field(min_length=1)

    @property
    def examples(self) -> int:
        """The number of few-shot examples available; 0 unless a subclass says otherwise."""
        return 0

    @property
    def default_fewshot(self) -> list[int]:
        """The numbers of examples to ask questions with, unless the suite gives them."""
        return sorted({min(number, self.examples) for number in SHOTS})

    @property
    def open_book(self) -> list[str]:
        """The lm-eval tasks that are also run open-book, with the document in the prompt: direct questions, choices."""
        return [name for name in self.evaluate if not name.endswith((CLOZE, *OTHER_QUESTIONS))]

    @abstractmethod
    def load(self) -> Corpus:
        """Read the corpus.

        Raises:
            UserError: The data cannot be read, or does not fit the options.
        """

    @classmethod
    def definition(cls) -> str | None:
        """Hash of the current lm-eval files: records with another hash were asked other questions.

        None if only the task's corpus has it.
        """
        return None

    def identity(self) -> dict[str, Any]:
        """The options that texts and questions depend on besides the data's bytes: part of every key."""
        return self.model_dump(mode="json", exclude={"name", "path", "evaluate"})


def documents_hash(documents: Iterable[tuple[str, str]]) -> str:
    """SHA-256 over ids and texts of documents, on which training depends: a corrected question repeats no training."""
    return hashlib.sha256(json.dumps(list(documents)).encode()).hexdigest()


def definition_hash(files: Iterable[Path]) -> str:
    """Hash of a task's lm-eval files; the previous hash if the code changed and every question stayed the same.

    Records from before and after such a change can then share a table. tasks/unchanged.json lists these changes with
    their reasons.
    """
    current = tree_hash(files)
    changes = json.loads(UNCHANGED.read_text(encoding="utf-8"))
    return next((same[current] for change in changes if current in (same := change.get("same_as", {}))), current)


def earlier_definitions(task: str) -> set[str]:
    """Definition hashes of a task with the same questions but fewer metrics: those in records of version 1."""
    changes = json.loads(UNCHANGED.read_text(encoding="utf-8"))
    return {change["measured_less"][task] for change in changes if task in change.get("measured_less", {})}


def tree_hash(files: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, without their folders."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}:{file_hash(file)};".encode())
    return digest.hexdigest()
