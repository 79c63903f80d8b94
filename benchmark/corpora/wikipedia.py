"""The Wikipedia tasks: paragraphs and closed-book questions on them."""

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

Paragraphs = Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)]  # at least one per half


def _number_or_file(value: Any) -> Any:
    value = int(value) if isinstance(value, str) and value.isdigit() else value
    if value is None or (isinstance(value, str | Path) and str(value)) or (type(value) is int and value >= 2):
        return Path(value) if isinstance(value, str) else value
    raise ValueError(f"expected a number from 2, or a file of ids, not {value!r}")


class _Wikipedia(Task):
    folder: ClassVar[str] = "wikipedia"

    @classmethod
    def definition(cls) -> str:
        """Hash of code, metrics, few-shot examples and the task's own YAML files."""
        from benchmark.tasks.wikipedia import wikipedia

        name = cls.model_fields["name"].default
        shared = ("wikipedia.py", "shots.jsonl", "_wikipedia.yaml", "_wikipedia_cloze.yaml")
        own = [TASKS / cls.folder / file for file in (*shared, f"{name}.yaml", f"{name}_cloze.yaml")]
        return definition_hash([*own, wikipedia.METRICS_FILE])

    @property
    def examples(self) -> int:
        """The number of general-knowledge questions in the task's folder."""
        from benchmark.tasks.wikipedia import wikipedia

        return len(wikipedia.read_shots())


class _FromHub(_Wikipedia):
    """Base class of the tasks on a data set of the Hugging Face hub.

    Attributes:
        path: Local files instead of the hub's; see tasks/wikipedia/README.md.
        revision: A commit of the data set; by default the one in the cache, else the newest.
        split: The split; by default validation.
        paragraphs: Number of paragraphs to draw, or a file of ids; by default all. "seal" is a list that ships.
        subset_seed: Seed that draws the paragraphs and the halves.
    """

    path: Path | None = None
    revision: Revision | None = None
    split: str | None = None
    paragraphs: Annotated[int | Path | None, BeforeValidator(_number_or_file)] = None
    subset_seed: Annotated[int, BeforeValidator(not_a_bool)] = 1

    def load(self) -> Corpus:
        """Read the paragraphs. The hub's commit is passed to lm-eval, so that it asks about the same ones."""
        from benchmark.tasks.wikipedia import wikipedia

        source = self.name.removeprefix("wikipedia_")
        with reading(f"task {self.name}", self.path) as (path,):
            files = path or wikipedia.fetch(source, self.split, self.revision)
        with reading(f"task {self.name}", files, self._ids_file) as (_, listed):
            chosen = listed or self.paragraphs
            paragraphs = wikipedia.read_paragraphs(files, self.split, chosen, self.subset_seed)
        metadata: dict[str, Any] = {"subset_seed": self.subset_seed}
        if self.split:
            metadata["split"] = self.split
        if path:
            metadata[f"{self.name}_path"] = str(path)
        else:
            metadata[f"{self.name}_revision"] = files.name
        ships = str(self.paragraphs) in wikipedia.LISTS
        count = str(self.paragraphs if ships else listed) if listed else self.paragraphs
        return _corpus(self, paragraphs, count, metadata, may_redistribute=path is None)

    def identity(self) -> dict[str, Any]:
        """The options without `path` and `revision`: the data that they lead to is hashed.

        Of a file of ids, the ids count, and not their order or the file's path.
        """
        from benchmark.tasks.wikipedia import wikipedia

        options = {key: value for key, value in super().identity().items() if key != "revision"}
        with reading(f"task {self.name}", self._ids_file) as (listed,):
            if listed:
                ids = "\n".join(sorted(wikipedia.read_ids(listed)))
                options["paragraphs"] = f"ids:{hashlib.sha256(ids.encode()).hexdigest()[:16]}"
        return options

    @property
    def _ids_file(self) -> Path | None:
        from benchmark.tasks.wikipedia import wikipedia

        return wikipedia.ids_file(self.paragraphs) if isinstance(self.paragraphs, Path) else None


class WikipediaSquad(_FromHub):
    """SQuAD v1.1 (Rajpurkar et al. 2016), with questions asked without their paragraphs."""

    name: Literal["wikipedia_squad"] = "wikipedia_squad"
    split: Literal["train", "validation"] | None = None
    evaluate: list[str] = Field(default=["wikipedia_squad", "wikipedia_squad_cloze"], min_length=1)


class WikipediaPwqa(_FromHub):
    """Question-answer pairs generated from Wikipedia (Du & Cardie 2018), the source that the paper names."""

    name: Literal["wikipedia_pwqa"] = "wikipedia_pwqa"
    split: Literal["train", "validation", "test"] | None = None
    evaluate: list[str] = Field(default=["wikipedia_pwqa", "wikipedia_pwqa_cloze"], min_length=1)


class WikipediaMini(_Wikipedia):
    """Paragraphs and questions that ship with the project.

    Attributes:
        paragraphs: Keep only the first `paragraphs` paragraphs.
    """

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
    task: _Wikipedia,
    paragraphs: "list[Paragraph]",
    count: int | str | Path | None,
    metadata: dict[str, Any],
    may_redistribute: bool,
) -> Corpus:
    from benchmark.tasks.wikipedia import wikipedia

    halves = {paragraph["id"]: paragraph["half"] for paragraph in paragraphs}
    for half in wikipedia.HALVES:
        if not any(paragraph["questions"] for paragraph in paragraphs if paragraph["half"] == half):
            source = getattr(task, "path", None) or "paragraphs"
            raise UserError(f"task {task.name}: {source}: no question on the {half} half; take more paragraphs")
    return Corpus(
        texts=[Text(paragraph["id"], paragraph["text"]) for paragraph in paragraphs],
        halves=halves,
        data_hash=_data_hash(paragraphs),
        definition_hash=task.definition(),
        metadata={"half": "all", **({"paragraphs": count} if count else {}), **metadata},
        may_redistribute=may_redistribute,
        facts={p["id"]: Facts("", [question["answers"] for question in p["questions"]]) for p in paragraphs},
        questions={p["id"]: [question["question"] for question in p["questions"]] for p in paragraphs},
    )


def _data_hash(paragraphs: "list[Paragraph]") -> str:
    """SHA-256 over paragraphs and questions without the offsets of answers, which older data lacked."""
    content = [
        {**p, "questions": [{key: value for key, value in q.items() if key != "start"} for q in p["questions"]]}
        for p in paragraphs
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
