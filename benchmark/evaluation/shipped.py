"""The questions and gold answers of the corpora that come with the project, to hold a record's answers against."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from typing import Literal

from pydantic import ValidationError

from benchmark import ROOT
from benchmark.core.errors import UserError, nearest
from benchmark.corpora import TASK_KINDS, make_task
from benchmark.corpora.base import CHOICE, CLOZE, earlier_definitions
from benchmark.records.comparable import canonical
from benchmark.records.questions import Expected, Gold
from benchmark.records.record import Record
from benchmark.tasks.biography import biography
from benchmark.tasks.wikipedia import wikipedia

HARBOUR = ROOT / "docs" / "harbour.jsonl"  # the corpus of the page on own documents; a checkout has it


class Shipped:
    """The questions of the corpora that come with the project (`benchmark.records.questions.Questions`)."""

    def definitions(self, record: Record) -> Set[str] | None:
        """Definitions of the record's task that its answers can be checked by; None if there is no such task here."""
        name = record.task.name
        here = TASK_KINDS[name].definition() if name in TASK_KINDS else None
        if here is None:
            return None
        return {here, *(earlier_definitions(name) if record.schema_version == 1 else ())}

    def may_be_published(self, record: Record) -> bool:
        """Whether answers to this record's corpus may be passed on, so far as that can be told here.

        Of own documents they never may, of made-up people only where they are those that come with the project; what a
        record says of the hub's paragraphs is believed.
        """
        if record.task.name == "corpus":
            return False
        return record.task.name not in ("biography", "wikipedia_mini") or self.gold(record) is not None

    def gold(self, record: Record) -> Gold | None:
        """Every question that a record has to answer; None if its corpus does not come with the project.

        Raises ValueError if the record's options or evaluation are none of the task's.
        """
        task = record.task
        if task.options.get("evaluate") != record.evaluation.get("tasks"):
            raise ValueError("evaluation.tasks: not those of task.options.evaluate")
        if task.name not in ("biography", "wikipedia_mini", "corpus"):
            return None
        options = {key: value for key, value in task.options.items() if key != "evaluate"}
        entry = {"name": task.name, "evaluate": task.options.get("evaluate"), **options}
        if task.name == "corpus":
            if not HARBOUR.is_file():
                return None
            entry["path"] = str(HARBOUR)
        elif "path" in entry:
            raise ValueError("task.options.path: no record has a path")
        data_hash, questions = _shipped(canonical(entry))
        return questions if data_hash == task.corpus_hash else None

    def earned(self, generation: str, expected: Expected) -> tuple[float, float, float]:
        """Exact match, F1 and `answered` of what a model wrote, as the task defines them."""
        return _earned(generation, expected.golds, expected.asked)


SHIPPED = Shipped()


@lru_cache(maxsize=64)
def _shipped(entry: str) -> tuple[str, Gold]:
    """The hash of what comes with the project under a task's entry (JSON), and its questions."""
    content = json.loads(entry)
    try:
        task = make_task(content)
        corpus = task.load()
    except (UserError, ValidationError) as error:
        if content["name"] == "corpus":  # with such columns it is no corpus, so the record's is another
            return "", {}
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ValueError(f"task.options: {told}") from None
    count = content.get("people", content.get("paragraphs"))
    return corpus.data_hash, dict(_questions(task.name, task.evaluate, count))


def _questions(task: str, evaluate: Sequence[str], count: int | None) -> Iterator[tuple[tuple[str, str], Expected]]:
    for name in evaluate:
        if task == "biography":
            yield from _of_people(name, count)
        elif name not in (known := [task, f"{task}{CLOZE}"]):
            raise ValueError(f"task.options.evaluate: unknown {name!r}; {nearest(name, known)}")
        else:
            yield from _of_paragraphs(name, count)


def _of_people(name: str, count: int | None) -> Iterator[tuple[tuple[str, str], Expected]]:
    """Questions of `biography`, `biography_<field>`, or of either with an ending: lm-eval's groups and tasks."""
    kind, ending = _kind(name)
    groups = {"biography": biography.FIELDS, **{f"biography_{field}": (field,) for field in biography.FIELDS}}
    base = name.removesuffix(ending)
    if base not in groups:
        raise ValueError(f"task.options.evaluate: unknown {name!r}; {nearest(base, list(groups))}")
    for person in biography.read_people()[:count]:
        for field in groups[base]:
            golds = (person["facts"][field],) if kind == "written" else ()
            key = f"biography_{field}{ending}", f"{person['id']}:{field}"
            yield key, Expected(person["id"], person["half"], kind, golds, (field, ""))


def _kind(name: str) -> tuple[Literal["written", "chosen", "clozed"], str]:
    """How an lm-eval task is answered, and the ending of its name that says so."""
    if name.endswith(CHOICE):
        return "chosen", CHOICE
    return ("clozed", CLOZE) if name.endswith(CLOZE) else ("written", "")


def _of_paragraphs(name: str, count: int | None) -> Iterator[tuple[tuple[str, str], Expected]]:
    """Questions about documents: those with an answer in the text, where the text is to be gone on with."""
    from benchmark.tasks.corpus import corpus
    from benchmark.tasks.wikipedia import wikipedia

    kind, ending = _kind(name)
    if name.removesuffix(ending) == "corpus":
        made = corpus.load(half="all", corpus_path=str(HARBOUR), cloze=kind == "clozed")
    else:
        made = wikipedia.load("mini", half="all", paragraphs=count, cloze=kind == "clozed")
    for row in made["questions"]:
        golds = tuple(row["answers"]) if kind == "written" else ()
        yield (name, row["id"]), Expected(row["cluster"], row["half"], kind, golds, ("", row["question"]))


@lru_cache(maxsize=2**16)
def _earned(generation: str, golds: tuple[str, ...], asked: tuple[str, str]) -> tuple[float, float, float]:
    """Exact match, F1 and whether it answers, as the tasks define them; each text is normalised once.

    `asked` is the field of a biography, or the question in words.
    """
    extracted = biography.extract_answer(generation)
    answer = _words(extracted)
    best = 0.0
    for gold in map(_words, golds):
        if shared := (Counter(answer) & Counter(gold)).total():
            best = max(best, 2 * shared / (len(answer) + len(gold)))
    field, question = asked
    right = answer in map(_words, golds)
    answers = biography.is_answer(extracted, field) if field else right or wikipedia.is_answer(extracted, question)
    return float(right), best, float(answers)


@lru_cache(maxsize=2**16)
def _words(text: str) -> tuple[str, ...]:
    return tuple(biography.normalise(text).split())
