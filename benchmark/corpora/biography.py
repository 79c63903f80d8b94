"""The biography task: five facts about each of many made-up people."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.core.inputs import reading
from benchmark.core.validation import not_a_bool
from benchmark.corpora.base import TASKS, Corpus, Facts, Task, definition_hash, tree_hash
from benchmark.data.texts import Text

if TYPE_CHECKING:
    from benchmark.tasks.biography import biography, other_questions


class Biography(Task):
    """Questions about people, each described in a paragraph.

    Attributes:
        path: A file of other people than the shipped ones; see tasks/biography/README.md.
        people: Keep only the first `people` people.
        universities: Add documents of the universities that they attended: True for the shipped table, or a file with
            those of other people.
    """

    folder: ClassVar[str] = "biography"
    details: ClassVar[frozenset[str]] = frozenset({"subject", "entities"})

    name: Literal["biography"] = "biography"
    path: Path | None = None
    people: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None
    universities: Literal[True] | Path | None = None
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

    def identity(self) -> dict[str, Any]:
        """The number of people, and whether there are universities; the bytes of files are part of the data hash."""
        options = super().identity()
        if options.pop("universities") is not None:
            options["universities"] = True
        return options

    def load(self) -> Corpus:
        """Read the people, and after them the universities. A text's entities are its facts and mentions of the name.

        A fact's gap begins at the last mention before it, or at the annotated mention if none comes before it.
        """
        from benchmark.tasks.biography import biography, other_questions

        table = None if self.universities is True else self.universities
        with reading("task biography", self.path, table) as (path, table):
            people = biography.read_people(path)
            if path:  # lm-eval reads these hours later; errors must show now
                biography.read_shots(path)
            prompts = biography.read_prompts(path)
            if self.people:
                if self.people > len(people):
                    raise UserError(f"task biography: people: {self.people} asked for, but the data has {len(people)}")
                people = people[: self.people]
            universities = other_questions.attended(people, table) if self.universities else []
            taken = {person["id"] for person in people}
            for university in universities:
                if university["id"] in taken:
                    raise ValueError(f"{table}: id: {university['id']!r} is the id of a person; give it another one")
            others = other_questions.questions_about(people, universities) if universities else {}
        direct = {person["id"]: [_question(prompt, person["name"]) for prompt in prompts.values()] for person in people}
        mentions = {person["id"]: mentions_of(person) for person in people}
        metadata: dict[str, Any] = {"half": "all"}
        if path:
            metadata["biography_path"] = str(path)
        if self.people:
            metadata["people"] = self.people
        if self.universities:
            metadata["universities"] = str(table) if table else True
        return Corpus(
            texts=[
                Text(
                    person["id"],
                    person["text"],
                    person["name"],
                    tuple(sorted({*person["spans"].values(), *mentions[person["id"]]})),
                )
                for person in people
            ]
            + [_text_of(university) for university in universities],
            halves={each["id"]: each["half"] for each in (*people, *universities)},
            data_hash=_data_hash(path, other_questions.UNIVERSITIES if self.universities is True else table),
            definition_hash=self.definition(),
            metadata=metadata,
            may_redistribute=biography.may_redistribute(path) and other_questions.may_redistribute(table),
            gaps={
                f"{person['id']}:{field}": (person["id"], _name_before(start, mentions[person["id"]]), start)
                for person in people
                for field in biography.FIELDS
                for start, _ in [person["spans"][field]]
            },
            facts={
                person["id"]: Facts(person["name"], [[person["facts"][field]] for field in biography.FIELDS])
                for person in people
            }
            | {university["id"]: Facts(university["name"], [[university["city"]]]) for university in universities},
            questions={text: [*direct.get(text, ()), *others.get(text, ())] for text in {**direct, **others}},
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


def _text_of(university: "other_questions.University") -> Text:
    """The document of a university; its subject is the name as it stands in the text."""
    spans = university["spans"]
    name = university["text"][slice(*spans["name"])]
    return Text(university["id"], university["text"], name, tuple(sorted(spans.values())))


def _data_hash(path: Path | None, universities: Path | None) -> str:
    """Hash of the people's files, together with that of the table of universities if there is one."""
    people = tree_hash(_data_files(path))
    if universities is None:
        return people
    return hashlib.sha256(f"{people}:{file_hash(universities)}".encode()).hexdigest()


def _data_files(path: Path | None) -> list[Path]:
    if path is None:
        return [TASKS / "biography" / "people.jsonl"]
    return sorted(path.glob("*.csv")) if path.is_dir() else [path]
