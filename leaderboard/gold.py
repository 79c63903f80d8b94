"""The questions and gold answers of the corpora that come with the project, to hold a record's answers against."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import ValidationError

from benchmark import ROOT
from benchmark.corpora import TASK_KINDS, make_task
from benchmark.errors import UserError, nearest
from benchmark.record import Record
from leaderboard.compare import canonical
from tasks.biography import biography

HARBOUR = ROOT / "docs" / "harbour.jsonl"  # the corpus of the page on own documents; a checkout has it
CHOICE = "_choice"


@dataclass(frozen=True)
class Expected:
    """What the task has of a question: its subject, half and golds, none where its answer is chosen, not written."""

    cluster: str
    half: str
    golds: tuple[str, ...]


Gold = dict[tuple[str, str], Expected]  # by lm-eval task and question id


def definition(task: str) -> str | None:
    """Hash of a task's lm-eval files as they are here; None if this checkout has no such task."""
    return TASK_KINDS[task].definition() if task in TASK_KINDS else None


def may_be_published(record: Record) -> bool:
    """Whether answers to this record's corpus may be passed on, so far as that can be told here.

    Of own documents they never may, of made-up people only where they are those that come with the project; what a
    record says of the hub's paragraphs is believed.
    """
    if record.task.name == "corpus":
        return False
    return record.task.name not in ("biography", "wikipedia_mini") or gold(record) is not None


def gold(record: Record) -> Gold | None:
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
        elif name != task:
            raise ValueError(f"task.options.evaluate: unknown {name!r}; {nearest(name, [task])}")
        else:
            yield from _of_paragraphs(name, count)


def _of_people(name: str, count: int | None) -> Iterator[tuple[tuple[str, str], Expected]]:
    """Questions of `biography`, `biography_<field>` or of either with `_choice`: lm-eval's groups and tasks."""
    choice = name.endswith(CHOICE)
    groups = {"biography": biography.FIELDS, **{f"biography_{field}": (field,) for field in biography.FIELDS}}
    base = name.removesuffix(CHOICE)
    if base not in groups:
        raise ValueError(f"task.options.evaluate: unknown {name!r}; {nearest(base, list(groups))}")
    for person in biography.read_people()[:count]:
        for field in groups[base]:
            golds = () if choice else (person["facts"][field],)
            key = f"biography_{field}{CHOICE if choice else ''}", f"{person['id']}:{field}"
            yield key, Expected(person["id"], person["half"], golds)


def _of_paragraphs(name: str, count: int | None) -> Iterator[tuple[tuple[str, str], Expected]]:
    from tasks.corpus import corpus
    from tasks.wikipedia import wikipedia

    if name == "corpus":
        for document in corpus.read_corpus(HARBOUR):
            for number, asked in enumerate(document["questions"]):
                expected = Expected(document["id"], document["half"], tuple(asked["answers"]))
                yield (name, f"{document['id']}:{number}"), expected
    else:
        for paragraph in wikipedia.read_mini(count):
            for asked in paragraph["questions"]:
                yield (name, asked["id"]), Expected(paragraph["id"], paragraph["half"], tuple(asked["answers"]))
