"""The biography task: five facts about each of a number of made-up people."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from benchmark.core.errors import UserError
from benchmark.core.inputs import reading
from benchmark.core.validation import not_a_bool
from benchmark.corpora.base import TASKS, Corpus, Facts, Task, definition_hash, tree_hash
from benchmark.data.texts import Text

if TYPE_CHECKING:
    from benchmark.tasks.biography import biography


class Biography(Task):
    """Questions about people who are told about in a paragraph each.

    Fields: `path`, other people than those shipped (see tasks/biography/README.md); `people` keeps the first so many.
    """

    folder: ClassVar[str] = "biography"
    details: ClassVar[frozenset[str]] = frozenset({"subject", "entities"})

    name: Literal["biography"] = "biography"
    path: Path | None = None
    people: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None
    evaluate: list[str] = Field(default=["biography", "biography_choice", "biography_cloze"], min_length=1)

    @property
    def examples(self) -> int:
        """The real people of the task's folder, or of the paper's."""
        from benchmark.tasks.biography import biography

        with reading("task biography", self.path) as (path,):
            return len(biography.read_shots(path))

    @classmethod
    def definition(cls) -> str:
        """Hash of code, YAML files and few-shot examples."""
        return definition_hash(
            f for f in (TASKS / "biography").iterdir() if f.suffix in (".py", ".yaml") or f.stem == "real_people"
        )

    def load(self) -> Corpus:
        """Read the people; a text's entities are its facts and every mention of the name.

        A fact's gap begins at the last mention before it, or at the marked one where there is none.
        """
        from benchmark.tasks.biography import biography

        with reading("task biography", self.path) as (path,):
            people = biography.read_people(path)
            if path:  # what lm-eval reads of such a folder, hours later
                biography.read_shots(path)
                biography.read_prompts(path)
        if self.people:
            if self.people > len(people):
                raise UserError(f"task biography: people: {self.people} asked for, but the data has {len(people)}")
            people = people[: self.people]
        mentions = {person["id"]: mentions_of(person) for person in people}
        metadata: dict[str, Any] = {"half": "all"}
        if path:
            metadata["biography_path"] = str(path)
        if self.people:
            metadata["people"] = self.people
        return Corpus(
            texts=[
                Text(
                    person["id"],
                    person["text"],
                    person["name"],
                    tuple(sorted({*person["spans"].values(), *mentions[person["id"]]})),
                )
                for person in people
            ],
            halves={person["id"]: person["half"] for person in people},
            data_hash=tree_hash(_data_files(path)),
            definition_hash=self.definition(),
            metadata=metadata,
            may_redistribute=biography.may_redistribute(path),
            gaps={
                f"{person['id']}:{field}": (person["id"], _name_before(start, mentions[person["id"]]), start)
                for person in people
                for field in biography.FIELDS
                for start, _ in [person["spans"][field]]
            },
            facts={
                person["id"]: Facts(person["name"], [[person["facts"][field]] for field in biography.FIELDS])
                for person in people
            },
        )


def mentions_of(person: "biography.Person") -> list[tuple[int, int]]:
    """Where the name stands: the marked place first, then wherever else it stands whole and outside of the facts."""
    text, name = person["text"], person["name"]
    found = [person["spans"]["name"]]
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        whole = not text[:start][-1:].isalnum() and not text[end : end + 1].isalnum()
        if whole and all(end <= first or last <= start for first, last in person["spans"].values()):
            found.append((start, end))
        start = text.find(name, end)
    return found


def _name_before(start: int, mentions: list[tuple[int, int]]) -> int:
    """Where the last of the mentions before a place ends; the end of the first of the list if all stand after it."""
    return max((end for _, end in mentions if end <= start), default=mentions[0][1])


def _data_files(path: Path | None) -> list[Path]:
    if path is None:
        return [TASKS / "biography" / "people.jsonl"]
    return sorted(path.glob("*.csv")) if path.is_dir() else [path]
