"""Rehearsal: texts of something else that a share of every batch is taken from, the same for all methods."""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.core.errors import UserError
from benchmark.core.inputs import read_text
from benchmark.data.people import FIELDS, QUESTIONS, WORDINGS, make_people, write_paragraph
from benchmark.data.texts import AugmentedText, json_lines
from benchmark.training.recipe import Rehearsal

QUESTIONS_ABOUT = "questions"
VERSION = 2  # of the texts that "questions" gives; raise it with them
# Few, so that they are learned in passing: questions about people whom a model knows nothing of teach it to guess.
_PEOPLE, _TOLD, _QUESTIONS, _MOST_PAIRS = 20, 10, 200, 6
_SEED = 19  # of people whom neither the shipped tasks nor the tiny pair's pretraining know
_MOST_BYTES = 2**30


def rehearsed(rehearsal: Rehearsal, file: Path | None, texts: Sequence[AugmentedText]) -> list[AugmentedText]:
    """The texts to rehearse.

    Args:
        rehearsal: Where they come from.
        file: The user's file, if they come from one.
        texts: What is trained on; nobody who is named there is asked about in a rehearsal.

    Raises:
        UserError: If the file cannot be read or holds no text.
    """
    if rehearsal.source == QUESTIONS_ABOUT:
        return _questions(texts)
    if file is None:
        raise ValueError("a rehearsal from a file needs the file")
    found = list(_from_file(file))
    if not found:
        raise UserError(f"recipe.rehearsal.source: {file}: holds no text; give one with a text at least")
    return found


def takes_turns(needed: int, share: float) -> list[bool]:
    """For every reading whether it is a rehearsal: the share of every batch, as near as whole texts allow."""
    return [int((place + 1) * share + 1e-9) > int(place * share + 1e-9) for place in range(needed)]


def _questions(texts: Sequence[AugmentedText]) -> list[AugmentedText]:
    """Texts about a few people, and questions of one kind with their answers, one to six in a text, as in a prompt."""
    from tasks.biography import biography

    known = {person["name"] for person in [*biography.read_people(), *biography.read_shots()]}
    trained_on = "\n".join(text.text for text in texts if text.copy == 0) or "\n".join(text.text for text in texts)
    everyone = make_people(2 * _PEOPLE, _SEED, known)
    people = [person for person in everyone if person.name not in trained_on][:_PEOPLE]
    rng = random.Random(_SEED)
    made = []
    for person in people:
        for _ in range(_TOLD):
            wording = {field: rng.randrange(len(WORDINGS[field])) for field in FIELDS}
            made.append(write_paragraph(person, rng.sample(FIELDS, len(FIELDS)), wording).text)
    for _ in range(_QUESTIONS):
        field = rng.choice(FIELDS)
        chosen = rng.sample(people, rng.randint(1, _MOST_PAIRS))
        pairs = [f"Question: {QUESTIONS[field].format(name=p.name)}\nAnswer: {p.facts[field]}" for p in chosen]
        made.append("\n\n".join(pairs))
    return [AugmentedText(f"rehearsal-{number}", 0, text) for number, text in enumerate(made)]


def _from_file(file: Path) -> Iterable[AugmentedText]:
    if file.suffix.lower() == ".jsonl":
        for number, row in json_lines(file):
            if not isinstance(row.get("text"), str) or not row["text"].strip():
                raise UserError(f'{file}:{number}: each line needs a non-empty "text"')
            yield AugmentedText(f"rehearsal-{number}", 0, row["text"])
        return
    whole = read_text(file, _MOST_BYTES, "give a file of text as recipe.rehearsal.source")
    paragraphs = (part.strip() for part in whole.split("\n\n"))
    for number, paragraph in enumerate(part for part in paragraphs if part):
        yield AugmentedText(f"rehearsal-{number}", 0, paragraph)
