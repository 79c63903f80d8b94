"""The Wikipedia tasks: paragraphs, and closed-book questions about them."""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from benchmark.core.errors import UserError
from benchmark.core.inputs import reading
from benchmark.core.validation import not_a_bool
from benchmark.corpora.base import TASKS, Corpus, Facts, Task, definition_hash
from benchmark.data.texts import Text
from benchmark.models.spec import Revision

if TYPE_CHECKING:
    from benchmark.tasks.wikipedia.wikipedia import Paragraph

Paragraphs = Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)]  # one for each half


class _Wikipedia(Task):
    folder: ClassVar[str] = "wikipedia"

    @classmethod
    def definition(cls) -> str:
        """Hash of code, formulas, few-shot examples, and the YAML files of this one of the tasks."""
        from benchmark.tasks.wikipedia import wikipedia

        name = cls.model_fields["name"].default
        shared = ("wikipedia.py", "shots.jsonl", "_wikipedia.yaml", "_wikipedia_cloze.yaml")
        own = [TASKS / cls.folder / file for file in (*shared, f"{name}.yaml", f"{name}_cloze.yaml")]
        return definition_hash([*own, wikipedia.METRICS_FILE])

    @property
    def examples(self) -> int:
        """The questions of general knowledge in the task's folder."""
        from benchmark.tasks.wikipedia import wikipedia

        return len(wikipedia.read_shots())


class _FromHub(_Wikipedia):
    """What the tasks on a data set of the Hugging Face hub share.

    Fields: `path`, files in place of the hub's (see tasks/wikipedia/README.md); `revision`, a commit of the hub's other
    than the one in the cache, else the newest; `split`, validation if not said otherwise; `paragraphs`, how many, drawn
    by `subset_seed`, which draws the halves, too.
    """

    path: Path | None = None
    revision: Revision | None = None
    split: str | None = None
    paragraphs: Paragraphs | None = None
    subset_seed: Annotated[int, BeforeValidator(not_a_bool)] = 1

    def load(self) -> Corpus:
        """Read the paragraphs; a hub's commit goes to lm-eval, so that it asks about those very ones."""
        from benchmark.tasks.wikipedia import wikipedia

        source = self.name.removeprefix("wikipedia_")
        with reading(f"task {self.name}", self.path) as (where,):
            files = where or wikipedia.fetch(source, self.split, self.revision)
        with reading(f"task {self.name}", files):
            paragraphs = wikipedia.read_paragraphs(files, self.split, self.paragraphs, self.subset_seed)
        metadata: dict[str, Any] = {"subset_seed": self.subset_seed}
        if self.split:
            metadata["split"] = self.split
        if where:
            metadata[f"{self.name}_path"] = str(where)
        else:
            metadata[f"{self.name}_revision"] = files.name
        return _corpus(self, paragraphs, self.paragraphs, metadata, may_redistribute=where is None)

    def identity(self) -> dict[str, Any]:
        """The options but `path` and `revision`: what these lead to is hashed itself."""
        return {key: value for key, value in super().identity().items() if key != "revision"}


class WikipediaSquad(_FromHub):
    """SQuAD v1.1 (Rajpurkar et al. 2016), its questions asked without their paragraphs."""

    name: Literal["wikipedia_squad"] = "wikipedia_squad"
    split: Literal["train", "validation"] | None = None
    evaluate: list[str] = Field(default=["wikipedia_squad", "wikipedia_squad_cloze"], min_length=1)


class WikipediaPwqa(_FromHub):
    """Question-answer pairs that a model harvested from Wikipedia (Du & Cardie 2018), the source the paper names."""

    name: Literal["wikipedia_pwqa"] = "wikipedia_pwqa"
    split: Literal["train", "validation", "test"] | None = None
    evaluate: list[str] = Field(default=["wikipedia_pwqa", "wikipedia_pwqa_cloze"], min_length=1)


class WikipediaMini(_Wikipedia):
    """Paragraphs and questions that come with the project. Field: `paragraphs` keeps the first so many."""

    name: Literal["wikipedia_mini"] = "wikipedia_mini"
    paragraphs: Paragraphs | None = None
    evaluate: list[str] = Field(default=["wikipedia_mini", "wikipedia_mini_cloze"], min_length=1)

    def load(self) -> Corpus:
        """Read the shipped paragraphs."""
        from benchmark.tasks.wikipedia import wikipedia

        with reading(f"task {self.name}"):
            paragraphs = wikipedia.read_mini(self.paragraphs)
        return _corpus(self, paragraphs, self.paragraphs, {}, may_redistribute=True)


def _corpus(
    task: _Wikipedia, paragraphs: "list[Paragraph]", count: int | None, metadata: dict[str, Any], may_redistribute: bool
) -> Corpus:
    from benchmark.tasks.wikipedia import wikipedia

    halves = {paragraph["id"]: paragraph["half"] for paragraph in paragraphs}
    for half in wikipedia.HALVES:
        if not any(paragraph["questions"] for paragraph in paragraphs if paragraph["half"] == half):
            where = f"{getattr(task, 'path', None) or 'paragraphs'}: no question about the {half} half"
            raise UserError(f"task {task.name}: {where}; take more paragraphs")
    return Corpus(
        texts=[Text(paragraph["id"], paragraph["text"]) for paragraph in paragraphs],
        halves=halves,
        data_hash=_data_hash(paragraphs),
        definition_hash=task.definition(),
        metadata={"half": "all", **({"paragraphs": count} if count else {}), **metadata},
        may_redistribute=may_redistribute,
        facts={p["id"]: Facts("", [question["answers"] for question in p["questions"]]) for p in paragraphs},
    )


def _data_hash(paragraphs: "list[Paragraph]") -> str:
    """Of paragraphs and questions, without the places of answers, which records from before do not know."""
    told = [
        {**p, "questions": [{key: value for key, value in q.items() if key != "start"} for q in p["questions"]]}
        for p in paragraphs
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
