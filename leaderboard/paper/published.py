"""What the paper reports, read from paper.yaml."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

FILE = Path(__file__).with_name("paper.yaml")
ALL = "all"  # the field of a task that has but one kind of question

Share = Annotated[float, Field(ge=0, le=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PaperModel(_Strict):
    """A model that the paper trains. `also` has hub ids of copies or fingerprints that count as the same weights."""

    title: str
    hub: str
    also: tuple[str, ...] = ()


class PaperRow(_Strict):
    """A method on a model; `scores` maps each field to exact match and F1."""

    model: str
    method: str
    parameters: dict[str, float] = {}
    note: str = ""
    scores: dict[str, tuple[Share, Share]]


class PaperTable(_Strict):
    """One of the paper's tables.

    `suite` runs its rows. `questions` is how many the paper asked per field, None where it does not say. `kin` are
    tasks of the same kind, whose records speak to the paper's claims though not to its numbers.
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
        """The tasks whose records speak to the claims."""
        return self.task, *self.kin

    def exact_match(self, model: str, method: str) -> dict[str, float]:
        """The exact match by field that the paper gives for a method on a model; empty where it has none."""
        found = [row for row in self.rows if (row.model, row.method) == (model, method)]
        return {field: exact for row in found for field, (exact, _) in row.scores.items()}


class Paper(_Strict):
    """All that is in paper.yaml. `corpora` says which data a record's corpus hash stands for."""

    source: str
    models: dict[str, PaperModel]
    corpora: dict[str, str]
    tables: dict[str, PaperTable]

    @model_validator(mode="after")
    def _rows_fit_their_table(self) -> "Paper":
        for name, table in self.tables.items():
            seen = set()
            for row in table.rows:
                where = f"tables.{name}: {row.model} {row.method}"
                if row.model not in self.models:
                    raise ValueError(f"{where}: unknown model")
                if tuple(row.scores) != table.fields:
                    raise ValueError(f"{where}: scores are not those of the table's fields")
                if (row.model, row.method) in seen:
                    raise ValueError(f"{where}: stands there twice")
                seen.add((row.model, row.method))
        return self


@lru_cache(maxsize=1)
def read_paper() -> Paper:
    """The paper's numbers."""
    content: Any = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return Paper.model_validate(content)


def lm_eval_task(task: str, field: str) -> str:
    """The lm-eval task that asks about a field of a task."""
    return task if field == ALL else f"{task}_{field}"
