"""The task `fictional`: FictionalQA's documents about made-up events, and the questions on them."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from benchmark.core.errors import UserError
from benchmark.core.inputs import reading
from benchmark.core.validation import not_a_bool
from benchmark.corpora.base import (
    ANSWERED_FILE,
    METRICS_FILE,
    TASKS,
    Corpus,
    Facts,
    Task,
    definition_hash,
    documents_hash,
)
from benchmark.data.texts import Text
from benchmark.models.spec import Revision

Style = Literal["news", "social", "corporate", "blog", "encyclopedia"]


class FictionalQa(Task):
    """FictionalQA (Kirchenbauer et al., arXiv 2506.05639); see tasks/fictional/README.md.

    Attributes:
        path: A local folder instead of the hub's files.
        revision: A commit of the data set; by default the one in the cache, else the newest.
        events: Number of made-up events to draw; by default all.
        styles: Styles of the documents to train on; questions are asked about these documents alone. By default all.
        duplicates: Which questions are asked once: of the same words ("exact"), or also similar ones ("similar").
        subset_seed: Seed that draws the events and the halves.
    """

    folder: ClassVar[str] = "fictional"

    name: Literal["fictional"] = "fictional"
    path: Path | None = None
    revision: Revision | None = None
    events: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None  # at least one per half
    styles: Annotated[list[Style], Field(min_length=1)] | None = None
    duplicates: Literal["exact", "similar"] = "exact"
    subset_seed: Annotated[int, BeforeValidator(not_a_bool)] = 1
    evaluate: list[str] = Field(default=["fictional", "fictional_cloze"], min_length=1)

    @field_validator("styles")
    @classmethod
    def _styles_are_a_set(cls, styles: list[str] | None) -> list[str] | None:
        """In one order, so that keys do not depend on it."""
        if styles and len(set(styles)) < len(styles):
            raise ValueError("a style is listed twice; list it once")
        return sorted(styles) if styles else None

    @classmethod
    def definition(cls) -> str:
        """Hash of the task's code, YAML files, metrics and few-shot examples."""
        own = [file for file in (TASKS / "fictional").iterdir() if file.suffix in (".py", ".yaml")]
        return definition_hash([*own, METRICS_FILE, ANSWERED_FILE, TASKS / "wikipedia" / "shots.jsonl"])

    @property
    def examples(self) -> int:
        """The number of few-shot examples, which are those of the Wikipedia tasks."""
        from benchmark.tasks.wikipedia import wikipedia

        return len(wikipedia.read_shots())

    def identity(self) -> dict[str, Any]:
        """The options without `path` and `revision`: the data that they lead to is hashed."""
        return {key: value for key, value in super().identity().items() if key != "revision"}

    def load(self) -> Corpus:
        """Read the documents. The hub's commit is passed to lm-eval, so that it asks about the same ones."""
        from benchmark.tasks.fictional import fictional

        options = {"events": self.events, "styles": self.styles, "duplicates": self.duplicates}
        with reading("task fictional", self.path) as (path,):
            folder = path or fictional.fetch(self.revision)
        with reading("task fictional", folder):
            read = fictional.read_events(folder, self.events, self.styles, self.duplicates, self.subset_seed)
        documents = read.documents
        for half in fictional.HALVES:
            if not any(document["questions"] for document in documents if document["half"] == half):
                raise UserError(f"task fictional: {folder}: no question on the {half} half; take more events or styles")
        asked: dict[str, list[str]] = {}
        for document in documents:
            asked.setdefault(document["event"], []).extend(question["question"] for question in document["questions"])
        source = {"fictional_path": str(path)} if path else {"fictional_revision": folder.name}
        return Corpus(
            texts=[Text(document["id"], document["text"]) for document in documents],
            halves={document["id"]: document["half"] for document in documents},
            data_hash=hashlib.sha256(json.dumps(documents, sort_keys=True).encode()).hexdigest(),
            definition_hash=self.definition(),
            metadata={"half": "all", "subset_seed": self.subset_seed, **source}
            | {key: value for key, value in options.items() if value},
            may_redistribute=path is None,
            texts_hash=documents_hash((document["id"], document["text"]) for document in documents),
            facts={d["id"]: Facts("", [question["answers"] for question in d["questions"]]) for d in documents},
            questions={document["id"]: asked[document["event"]] for document in documents},
        )
