"""What every task is to the harness: its options, a corpus to train on, and the lm-eval tasks that ask about it."""

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

SHOTS = (0, 1, 5)
CHOICE, CLOZE = "_choice", "_cloze"  # how the names of lm-eval tasks without examples end

TASKS = ROOT / "benchmark" / "tasks"
UNCHANGED = TASKS / "unchanged.json"  # changes of code that left every question as it was
FORMULAS = TASKS / "biography" / "biography.py"  # exact match and F1, which the files of the other tasks load
FREE_ANSWERS = TASKS / "wikipedia" / "wikipedia.py"  # whether a free question was answered


class Facts(NamedTuple):
    """What is asked about a text: the gold answers of every question, and the name of the text's subject, "" if none.

    Stages that count what a method leaves of the facts read this; no method does.
    """

    subject: str
    answers: list[list[str]]


@dataclass(frozen=True, eq=False)  # each is its own: what is counted in one is kept for it
class Corpus:
    """A task's training texts and what lm-eval needs to ask about them.

    A text's id is also the cluster its questions belong to; `halves` says of each whether it is development or test.
    `metadata` goes to lm-eval's task loader. `gaps` gives, for the questions where the task knows it, the id of the
    text with the character offsets where the subject's name ends and where the answer begins; of several mentions of
    the name it is the last before the answer. `texts_hash`, where a task gives it, is of the texts alone: stages that
    read no question then depend on it and not on `data_hash`. `facts` are what is asked about each text.
    """

    texts: list[Text]
    halves: dict[str, str]
    data_hash: str
    definition_hash: str
    metadata: dict[str, Any]
    may_redistribute: bool
    gaps: Mapping[str, tuple[str, int, int]] = field(default_factory=dict)
    texts_hash: str | None = None
    facts: Mapping[str, "Facts"] = field(default_factory=dict)

    @property
    def trained_on(self) -> str:
        """Hash of what training depends on."""
        return self.texts_hash or self.data_hash


class Task(BaseModel):
    """A task as a suite lists it; the options of a task are the fields of its class.

    A subclass has a field `name` of one literal value, by which the registry finds it, and gives `evaluate` a default.

    Attributes:
        folder: the folder under tasks/ that holds the lm-eval files.
        details: what `load` knows of a text besides its words, "subject" or "entities" (fields of Text): methods that
            need more than that are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    folder: ClassVar[str]
    details: ClassVar[frozenset[str]] = frozenset()

    name: str
    evaluate: list[str] = Field(min_length=1)

    @property
    def examples(self) -> int:
        """How many examples lm-eval has to put before a question; 0 unless a task says otherwise."""
        return 0

    @property
    def default_fewshot(self) -> list[int]:
        """The numbers of examples that questions are asked with, unless a suite says otherwise."""
        return sorted({min(number, self.examples) for number in SHOTS})

    @property
    def open_book(self) -> list[str]:
        """The lm-eval tasks that are also asked with the document in the prompt."""
        return [name for name in self.evaluate if not name.endswith(CLOZE)]

    @abstractmethod
    def load(self) -> Corpus:
        """Read the corpus.

        Raises UserError if its data cannot be read or does not fit the options.
        """

    @classmethod
    def definition(cls) -> str | None:
        """Hash of the lm-eval files as they are here, by which records of other questions are told apart.

        None where a task gives it in its corpus alone.
        """
        return None

    def identity(self) -> dict[str, Any]:
        """What of the options texts and questions depend on besides the bytes of the data: part of every key."""
        return self.model_dump(mode="json", exclude={"name", "path", "evaluate"})


def definition_hash(files: Iterable[Path]) -> str:
    """Hash of a task's lm-eval files; the earlier one, where only code changed and every question stayed as it was.

    So the records of both go into one table. Every such change is listed in tasks/unchanged.json, with its reason.
    """
    found = tree_hash(files)
    changes = json.loads(UNCHANGED.read_text(encoding="utf-8"))
    return next((same[found] for change in changes if found in (same := change.get("same_as", {}))), found)


def earlier_definitions(task: str) -> set[str]:
    """Definitions of a task that ask the same and measure less of the answers: those of records of version 1."""
    changes = json.loads(UNCHANGED.read_text(encoding="utf-8"))
    return {change["measured_less"][task] for change in changes if task in change.get("measured_less", {})}


def tree_hash(files: Iterable[Path]) -> str:
    """SHA-256 over the names and contents of files, whatever folder they lie in."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}:{file_hash(file)};".encode())
    return digest.hexdigest()
