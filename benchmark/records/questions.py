"""What a record can be checked against: the questions of the corpora that come with the project, and their answers."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, Protocol

from benchmark.records.record import Record


@dataclass(frozen=True)
class Expected:
    """What the task has of a question.

    Attributes:
        cluster: The subject.
        half: The subject's half.
        kind: "written" in words, "chosen" by likelihood, or "clozed".
        golds: What counts as right where an answer is written.
        asked: What tells whether an answer is one: a biography's field and "", or "" and the question.
    """

    cluster: str
    half: str
    kind: Literal["written", "chosen", "clozed"]
    golds: tuple[str, ...]
    asked: tuple[str, str]


Gold = dict[tuple[str, str], Expected]  # by lm-eval task and question id


class Questions(Protocol):
    """What a checkout knows of its own tasks."""

    def definitions(self, record: Record) -> Set[str] | None:
        """Definitions of the record's task that its answers can be checked by; None if there is no such task here."""

    def gold(self, record: Record) -> Gold | None:
        """Every question that a record has to answer; None if its corpus does not come with the project.

        Raises ValueError if the record's options or evaluation are none of the task's.
        """

    def may_be_published(self, record: Record) -> bool:
        """Whether answers to this record's corpus may be passed on, so far as that can be told."""

    def earned(self, generation: str, expected: Expected) -> tuple[float, float, float]:
        """Exact match, F1 and `answered` of what a model wrote, as the task defines them."""
