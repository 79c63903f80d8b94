"""The biography task: five facts about each of many made-up people."""

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
    """Questions about people, each described in a paragraph.

    Attributes:
        path: A file of other people than the shipped ones; see tasks/biography/README.md.
        people: Keep only the first `people` people.
    """

    folder: ClassVar[str] = "biography"
    details: ClassVar[frozenset[str]] = frozenset({"subject", "entities"})

    name: Literal["biography"] = "biography"
    path: Path | None = None
    people: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None
    evaluate: list[str] = Field(default=["biography", "biography_choice", "biography_cloze"], min_length=1)

    @property
    def examples(self) -> int:
        """The number of few-shot people in the task's folder, or in a folder of the paper's files."""
        from benchmark.tasks.biography import biography

        with reading("task biography", self.path) as (path,):
            return len(biography.read_shots(path))

    @classmethod
    def definition(cls) -> str:
        """Hash of the task's code, YAML files and few-shot people."""
        return definition_hash(
            f for f in (TASKS / "biography").iterdir() if f.suffix in (".py", ".yaml") or f.stem == "real_people"
        )

    def load(self) -> Corpus:
        """Read the people. A text's entities are its facts and every mention of the name.

        A fact's gap begins at the last mention before it, or at the annotated mention if none comes before it.
        """
        from benchmark.tasks.biography import biography

        with reading("task biography", self.path) as (path,):
            people = biography.read_people(path)
            if path:  # lm-eval reads these hours later; errors must show now
                biography.read_shots(path)
            prompts = biography.read_prompts(path)
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
            questions={
                person["id"]: [_question(prompt, person["name"]) for prompt in prompts.values()] for person in people
            },
        )


def _question(prompt: str, name: str) -> str:
    """The question in a prompt, without what surrounds it."""
    return prompt.format(name=name).removeprefix("Question: ").removesuffix("\nAnswer:")


def mentions_of(person: "biography.Person") -> list[tuple[int, int]]:
    """[start, end) offsets of the name: the annotated mention, then all other whole words outside of the facts."""
    text, name = person["text"], person["name"]
    mentions = [person["spans"]["name"]]
    start = text.find(name)
    while start >= 0:
        end = start + len(name)
        whole = not text[:start][-1:].isalnum() and not text[end : end + 1].isalnum()
        if whole and all(end <= first or last <= start for first, last in person["spans"].values()):
            mentions.append((start, end))
        start = text.find(name, end)
    return mentions


def _name_before(start: int, mentions: list[tuple[int, int]]) -> int:
    """The end of the last mention before `start`; the end of the first mention in the list if there is none."""
    return max((end for _, end in mentions if end <= start), default=mentions[0][1])


def _data_files(path: Path | None) -> list[Path]:
    if path is None:
        return [TASKS / "biography" / "people.jsonl"]
    return sorted(path.glob("*.csv")) if path.is_dir() else [path]
