"""The biography task: five facts about each of many made-up people."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from benchmark.core.errors import UserError
from benchmark.core.files import file_hash
from benchmark.core.inputs import reading
from benchmark.core.validation import not_a_bool
from benchmark.corpora.base import TASKS, Corpus, Facts, Task, definition_hash, tree_hash
from benchmark.data.texts import Text
from benchmark.records.scores import OTHER_QUESTIONS

if TYPE_CHECKING:
    from benchmark.tasks.biography import biography, other_questions

# Endings of lm-eval tasks and groups that ask about universities, and of those that compare two people.
OF_UNIVERSITIES = ("biography_two_hop", "_university_city_two_hop", "_one_hop")
OF_COUPLES = ("biography_two_hop", "_first_born_two_hop")


class Biography(Task):
    """Questions about people, each described in a paragraph.

    Attributes:
        path: A file of other people than the shipped ones; see tasks/biography/README.md.
        people: Keep only the first `people` people.
        development: The share of the people in the development half; by default as their file says, which is half.
        universities: Add documents of the universities that they attended: True for the shipped table, or a file with
            those of other people.
    """

    folder: ClassVar[str] = "biography"
    details: ClassVar[frozenset[str]] = frozenset({"subject", "entities"})

    name: Literal["biography"] = "biography"
    path: Path | None = None
    people: Annotated[int, BeforeValidator(not_a_bool), Field(ge=2)] | None = None
    development: Annotated[float, BeforeValidator(not_a_bool), Field(gt=0, lt=1)] | None = None
    universities: Literal[True] | Path | None = None
    evaluate: list[str] = Field(default=["biography", "biography_choice", "biography_cloze"], min_length=1)

    @property
    def examples(self) -> int:
        """The number of few-shot people in the task's folder, or in a folder of the paper's files.

        Where two people are compared, each example takes two of them.
        """
        from benchmark.tasks.biography import biography

        with reading("task biography", self.path) as (path,):
            people = len(biography.read_shots(path))
        return people // 2 if any(name.endswith(OF_COUPLES) for name in self.evaluate) else people

    @classmethod
    def definition(cls) -> str:
        """Hash of the task's code, YAML files and few-shot people."""
        return definition_hash(
            f for f in (TASKS / "biography").iterdir() if f.suffix in (".py", ".yaml") or f.stem == "real_people"
        )

    def identity(self) -> dict[str, Any]:
        """The people, the size of their halves, and whether there are universities; files are in the data hash."""
        options = super().identity()
        if options["development"] is None:  # as before there was the option
            del options["development"]
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
            people = biography.choose_people(path, self.people, self.development)
            if path:  # lm-eval reads these hours later; errors must show now
                biography.read_shots(path)
            prompts = biography.read_prompts(path)
            universities = other_questions.attended(people, table) if self.universities else []
            taken = {person["id"] for person in people}
            for university in universities:
                if university["id"] in taken:
                    raise ValueError(f"{table}: id: {university['id']!r} is the id of a person; give it another one")
            more = [name for name in self.evaluate if name.endswith(tuple(OTHER_QUESTIONS))]
            self._check_others(more, people)
            others = other_questions.questions_about(people, universities) if more or universities else {}
        direct = {person["id"]: [_question(prompt, person["name"]) for prompt in prompts.values()] for person in people}
        data_hash = _data_hash(path, other_questions.UNIVERSITIES if self.universities is True else table)
        mentions = {person["id"]: mentions_of(person) for person in people}
        metadata: dict[str, Any] = {"half": "all"}
        if path:
            metadata["biography_path"] = str(path)
        if self.people:
            metadata["people"] = self.people
        if self.development is not None:
            metadata["development"] = self.development
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
            data_hash=data_hash,
            questions_hash=_hash(f"{data_hash}:other questions") if more and not universities else None,
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

    def _check_others(self, names: Sequence[str], people: "Sequence[biography.Person]") -> None:
        """Check that the corpus has what these lm-eval tasks of other questions ask about.

        Raises:
            UserError: They need the documents of universities, or couples of people in either half.
        """
        from benchmark.tasks.biography import biography, other_questions

        for name in names:
            if name.endswith(OF_UNIVERSITIES) and not self.universities:
                raise UserError(
                    f"task biography: evaluate: {name} asks about universities, whose documents are left out; "
                    f"{other_questions.REMEDY}"
                )
            if name.endswith(OF_COUPLES):
                with_couples = {one["half"] for one, _ in other_questions.couples(people)}
                if missing := [half for half in biography.HALVES if half not in with_couples]:
                    raise UserError(
                        f"task biography: evaluate: {name} compares two people of a half, and the half {missing[0]!r} "
                        "has no two with different birth dates; take more people"
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
    return _hash(f"{people}:{file_hash(universities)}")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _data_files(path: Path | None) -> list[Path]:
    if path is None:
        return [TASKS / "biography" / "people.jsonl"]
    return sorted(path.glob("*.csv")) if path.is_dir() else [path]
