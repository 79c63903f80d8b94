"""Which corpus and which questions a task entry of a suite stands for. Light: imports no stage and no torch."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.record import file_hash
from benchmark.suite import ROOT, TaskEntry
from benchmark.texts import Text

TASKS = ROOT / "tasks"


@dataclass(frozen=True)
class Corpus:
    """A task's training texts and what lm-eval needs to ask about them.

    A text's id is also the cluster its questions belong to. `metadata` goes to lm-eval's task loader.
    """

    texts: list[Text]
    halves: dict[str, str]
    data_hash: str
    definition_hash: str
    metadata: dict[str, Any]
    may_redistribute: bool


def load_corpus(entry: TaskEntry) -> Corpus:
    """The corpus of a task entry.

    Raises UserError if its data cannot be read.
    """
    from tasks.biography import biography

    path = entry.path.expanduser().resolve() if entry.path else None
    try:
        people = biography.read_people(path)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from None
    if entry.people:
        if entry.people > len(people):
            raise UserError(f"task biography: people: {entry.people} asked for, but the data has {len(people)}")
        people = people[: entry.people]
    texts = [Text(person["id"], person["text"]) for person in people]
    if not texts:
        raise UserError(f"{path}: the corpus is empty; it needs at least one text")
    metadata: dict[str, Any] = {"half": "all"}
    if path:
        metadata["biography_path"] = str(path)
    if entry.people:
        metadata["people"] = entry.people
    return Corpus(
        texts=texts,
        halves={person["id"]: person["half"] for person in people},
        data_hash=_tree_hash(_data_files(path)),
        definition_hash=_tree_hash(
            f for f in (TASKS / "biography").iterdir() if f.suffix in (".py", ".yaml") or f.stem == "real_people"
        ),
        metadata=metadata,
        may_redistribute=biography.may_redistribute(path),
    )


def _data_files(path: Path | None) -> list[Path]:
    if path is None:
        return [TASKS / "biography" / "people.jsonl"]
    return sorted(path.glob("*.csv")) if path.is_dir() else [path]


def _tree_hash(files: Any) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}:{file_hash(file)};".encode())
    return digest.hexdigest()
