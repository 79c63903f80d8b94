"""Questions and gold answers of the corpora that ship with the project, to check the answers of a record."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from typing import Any, Literal

from pydantic import ValidationError

from benchmark import ROOT
from benchmark.core.errors import UserError, nearest
from benchmark.core.yaml_files import read_yaml
from benchmark.corpora import TASK_KINDS, make_task
from benchmark.corpora.base import CHOICE, CLOZE, TASKS, earlier_definitions
from benchmark.records.comparable import canonical
from benchmark.records.questions import Expected, Gold
from benchmark.records.record import Record
from benchmark.records.scores import OTHER_QUESTIONS
from benchmark.tasks.biography import biography, other_questions
from benchmark.tasks.wikipedia import wikipedia

HARBOUR = ROOT / "docs" / "harbour.jsonl"  # the example corpus of own documents, which only a checkout has


class Shipped:
    """The questions of the corpora that ship with the project; implements `benchmark.records.questions.Questions`."""

    def definitions(self, record: Record) -> Set[str] | None:
        """Definitions of the record's task that its answers can be checked by; None if there is no such task."""
        name = record.task.name
        definition = TASK_KINDS[name].definition() if name in TASK_KINDS else None
        if definition is None:
            return None
        return {definition, *(earlier_definitions(name) if record.schema_version == 1 else ())}

    def may_be_published(self, record: Record) -> bool:
        """Whether answers to this record's corpus may be published.

        Answers about a user's own documents may not. Answers about made-up people may, if they are the people that ship
        with the project. For paragraphs from the hub, the record's own statement is believed.
        """
        if record.task.name == "corpus":
            return False
        return record.task.name not in ("biography", "wikipedia_mini") or self.gold(record) is not None

    def gold(self, record: Record) -> Gold | None:
        """Every question that a record has to answer; None if its corpus does not ship with the project.

        Raises:
            ValueError: If the record's options or evaluation do not fit the task.
        """
        task = record.task
        if task.options.get("evaluate") != record.evaluation.get("tasks"):
            raise ValueError("evaluation.tasks: differ from task.options.evaluate")
        if task.name not in ("biography", "wikipedia_mini", "corpus"):
            return None
        options = {key: value for key, value in task.options.items() if key != "evaluate"}
        entry = {"name": task.name, "evaluate": task.options.get("evaluate"), **options}
        if task.name == "corpus":
            if not HARBOUR.is_file():
                return None
            entry["path"] = str(HARBOUR)
        elif "path" in entry:
            raise ValueError("task.options.path: records have no path; leave it out")
        data_hash, questions = _shipped(canonical(entry))
        return questions if data_hash == task.corpus_hash else None

    def earned(self, generation: str, expected: Expected) -> tuple[float, float, float]:
        """Exact match, F1 and `answered` of a generated answer, as the task defines them."""
        return _earned(generation, expected.golds, expected.asked)


SHIPPED = Shipped()


@lru_cache(maxsize=64)
def _shipped(entry: str) -> tuple[str, Gold]:
    """The hash of a shipped corpus, given its task entry as JSON, and its questions."""
    content = json.loads(entry)
    try:
        task = make_task(content)
        corpus = task.load()
    except (UserError, ValidationError) as error:
        if content["name"] == "corpus":  # the entry does not fit the shipped corpus, so the record is of another
            return "", {}
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ValueError(f"task.options: {reason}") from None
    return corpus.data_hash, dict(_questions(task.name, task.evaluate, content))


def _questions(
    task: str, evaluate: Sequence[str], options: dict[str, Any]
) -> Iterator[tuple[tuple[str, str], Expected]]:
    """The questions of a task's lm-eval tasks; `options` are those of the task."""
    count = options.get("people", options.get("paragraphs"))
    for name in evaluate:
        if task == "biography" and name.endswith(tuple(OTHER_QUESTIONS)):
            yield from _other_questions(name, options)
        elif task == "biography":
            yield from _of_people(name, count, options.get("development"))
        elif name not in (known := [task, f"{task}{CLOZE}"]):
            raise ValueError(f"task.options.evaluate: unknown {name!r}; {nearest(name, known)}")
        else:
            yield from _of_paragraphs(name, count)


def _of_people(name: str, count: int | None, development: float | None) -> Iterator[tuple[tuple[str, str], Expected]]:
    """Questions of the lm-eval group `biography` or a task `biography_<field>`, each with an ending or without."""
    kind, ending = _kind(name)
    groups = {"biography": biography.FIELDS, **{f"biography_{field}": (field,) for field in biography.FIELDS}}
    base = name.removesuffix(ending)
    if base not in groups:
        raise ValueError(f"task.options.evaluate: unknown {name!r}; {nearest(base, list(groups))}")
    for person in biography.choose_people(None, count, development):
        for field in groups[base]:
            golds = (person["facts"][field],) if kind == "written" else ()
            key = f"biography_{field}{ending}", f"{person['id']}:{field}"
            yield key, Expected(person["id"], person["half"], kind, golds, (field, ""))


def _other_questions(name: str, options: dict[str, Any]) -> Iterator[tuple[tuple[str, str], Expected]]:
    """Questions of an lm-eval task or group of other questions about people, as its YAML file asks for them."""
    files = {file.stem: file for file in (TASKS / "biography").glob("biography_*.yaml")}
    if name not in files:
        raise ValueError(f"task.options.evaluate: unknown {name!r}; {nearest(name, list(files))}")
    content = read_yaml(files[name], "install the project again")
    for task in content["task"] if "group" in content else [name]:
        asked_for = read_yaml(files[task], "install the project again")["dataset_kwargs"]
        chosen: dict[str, Any] = {key: options.get(key) for key in ("people", "development", "universities")}
        loaded = other_questions.load(**asked_for, half="all", **chosen)
        for row in loaded["questions"]:
            asked = row["field"], "\n".join(row["among"])
            yield (task, row["id"]), Expected(row["cluster"], row["half"], "written", tuple(row["answers"]), asked)


def _kind(name: str) -> tuple[Literal["written", "chosen", "clozed"], str]:
    """How an lm-eval task is answered, and the ending of its name that says so."""
    if name.endswith(CHOICE):
        return "chosen", CHOICE
    return ("clozed", CLOZE) if name.endswith(CLOZE) else ("written", "")


def _of_paragraphs(name: str, count: int | None) -> Iterator[tuple[tuple[str, str], Expected]]:
    """Questions about documents; cloze tasks have only those whose answer is in the text."""
    from benchmark.tasks.corpus import corpus
    from benchmark.tasks.wikipedia import wikipedia

    kind, ending = _kind(name)
    if name.removesuffix(ending) == "corpus":
        loaded = corpus.load(half="all", corpus_path=str(HARBOUR), cloze=kind == "clozed")
    else:
        loaded = wikipedia.load("mini", half="all", paragraphs=count, cloze=kind == "clozed")
    for row in loaded["questions"]:
        golds = tuple(row["answers"]) if kind == "written" else ()
        yield (name, row["id"]), Expected(row["cluster"], row["half"], kind, golds, ("", row["question"]))


@lru_cache(maxsize=2**16)
def _earned(generation: str, golds: tuple[str, ...], asked: tuple[str, str]) -> tuple[float, float, float]:
    """Exact match, F1 and `answered` of a generation, as the tasks define them.

    Args:
        generation: The generated text.
        golds: The gold answers.
        asked: As in `Expected`.
    """
    extracted = biography.extract_answer(generation)
    answer = _words(extracted)
    best = 0.0
    for gold in map(_words, golds):
        if shared := (Counter(answer) & Counter(gold)).total():
            best = max(best, 2 * shared / (len(answer) + len(gold)))
    field, more = asked
    right = answer in map(_words, golds)
    if field:
        answers = other_questions.is_answer(extracted, field, more.split("\n") if more else ())
    else:
        answers = right or wikipedia.is_answer(extracted, more)
    return float(right), best, float(answers)


@lru_cache(maxsize=2**16)
def _words(text: str) -> tuple[str, ...]:
    """The normalised words of a text."""
    return tuple(biography.normalise(text).split())
