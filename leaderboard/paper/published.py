"""The numbers that the paper reports, read from paper.yaml."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE = Path(__file__).with_name("paper.yaml")
ALL = "all"  # field of a task with a single kind of question

Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PaperModel(_Strict):
    """A model that the paper trains.

    `also` lists hub ids of copies, and fingerprints, that count as the same weights.
    """

    title: str
    hub: str
    also: tuple[str, ...] = ()


class PaperRow(_Strict):
    """The scores of a method on a model: exact match and F1 by field."""

    model: str
    method: str
    parameters: dict[str, float] = {}
    note: str = ""
    scores: dict[str, tuple[Share, Share]]


class PaperTable(_Strict):
    """One of the paper's tables.

    Attributes:
        title: What the table shows.
        suite: Suite that runs its rows.
        task: Task of its rows.
        kin: Tasks of the same kind. Their records count for the paper's claims but not for its numbers.
        questions: Number of questions per field; None if the paper does not give it.
        note: A remark on the table, for readers.
        fields: The fields in the order of the table.
        rows: The rows of the table.
    """

    title: str
    suite: str
    task: str
    kin: tuple[str, ...] = ()
    questions: int | None = Field(default=None, ge=1)
    note: str = ""
    fields: tuple[str, ...]
    rows: tuple[PaperRow, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks whose records count for the claims."""
        return self.task, *self.kin

    def exact_match(self, model: str, method: str) -> dict[str, float]:
        """The paper's exact match by field for a method on a model; empty if it gives none."""
        matching = [row for row in self.rows if (row.model, row.method) == (model, method)]
        return {field: exact for row in matching for field, (exact, _) in row.scores.items()}


class Paper(_Strict):
    """The content of paper.yaml. `corpora` names the data of known corpus hashes."""

    source: str
    models: dict[str, PaperModel]
    corpora: dict[str, str]
    tables: dict[str, PaperTable]

    @model_validator(mode="after")
    def _check_rows(self) -> "Paper":
        for name, table in self.tables.items():
            seen = set()
            for row in table.rows:
                where = f"tables.{name}: {row.model} {row.method}"
                if row.model not in self.models:
                    raise ValueError(f"{where}: unknown model")
                if tuple(row.scores) != table.fields:
                    raise ValueError(f"{where}: scores must have the fields of the table, in its order")
                if (row.model, row.method) in seen:
                    raise ValueError(f"{where}: given twice; leave one")
                seen.add((row.model, row.method))
        return self


@lru_cache(maxsize=1)
def read_paper() -> Paper:
    """The paper's numbers."""
    content: Any = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return Paper.model_validate(content)


def lm_eval_task(task: str, field: str) -> str:
    """Name of the lm-eval task that asks about a field of a task."""
    return task if field == ALL else f"{task}_{field}"
