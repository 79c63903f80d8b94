"""What a record is checked against: the questions of the shipped corpora and their gold answers."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal, Protocol

from benchmark.records.record import Record


@dataclass(frozen=True)
class Expected:
    """A question as the task defines it.

    Attributes:
        cluster: Id of the text that the question is about.
        half: The half of that text.
        kind: "written" if answered in words, "chosen" if by likelihood, "clozed" if by completing a statement.
        golds: The right answers to a written question.
        asked: What decides whether a written answer is an answer at all: a biography's field, and the answers that the
            question names, a line each (usually none); or "" and the question.
    """

    cluster: str
    half: str
    kind: Literal["written", "chosen", "clozed"]
    golds: tuple[str, ...]
    asked: tuple[str, str]


Gold = dict[tuple[str, str], Expected]  # by lm-eval task and question id


class Questions(Protocol):
    """Access to the tasks of this project, implemented in `benchmark.evaluation`."""

    def definitions(self, record: Record) -> Set[str] | None:
        """The definitions of the record's task that can check its answers; None if this project lacks the task."""

    def gold(self, record: Record) -> Gold | None:
        """Every question that a record must answer; None if its corpus is not shipped.

        Raises:
            ValueError: The task does not have the record's options or evaluation.
        """

    def may_be_published(self, record: Record) -> bool:
        """Whether answers about this record's corpus may be published, as far as is known."""

    def earned(self, generation: str, expected: Expected) -> tuple[float, float, float]:
        """Exact match, F1 and `answered` of a written answer, as the task defines them."""
