"""Rehearsal and practice: texts other than the corpus that take a share of what is read.

A recipe's rehearsal is the same for all methods; practice belongs to a method.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from benchmark.data.people import FIELDS, QUESTIONS, WORDINGS, make_people, write_paragraph
from benchmark.data.plain_texts import QUESTIONS_ABOUT, read_plain_texts
from benchmark.data.texts import AugmentedText, questions_as_text
from benchmark.methods.base import Practice
from benchmark.training.recipe import Rehearsal

SETTINGS = {"rehearsal": "recipe.rehearsal.source", "practice": "source of the practice"}  # in messages
VERSION = 2  # of the texts of source "questions", and a part of keys; raise it when these texts change
# Few people, so that the model learns them on the way: questions about people it knows nothing of teach it to guess.
_PEOPLE, _TEXTS_PER_PERSON, _QUESTION_TEXTS, _MOST_PAIRS = 20, 10, 200, 6
_SEED = 19  # gives people that are neither in the shipped tasks nor in the pretraining of the tiny pair


def name_of(source: Rehearsal | Practice) -> Literal["rehearsal", "practice"]:
    """What texts of a source are called, in ids and in the parameters of a stage."""
    return "practice" if isinstance(source, Practice) else "rehearsal"


def rehearsal_texts(
    rehearsal: Rehearsal | Practice, file: Path | None, texts: Sequence[AugmentedText]
) -> list[AugmentedText]:
    """The texts to rehearse or to practise on, with the ids "rehearsal-0" or "practice-0" and so on.

    Args:
        rehearsal: Their source.
        file: The user's file, if that is the source.
        texts: The training texts. A rehearsal says and asks nothing about a person whom they name.

    Raises:
        UserError: If the file cannot be read or holds no text.
    """
    name = name_of(rehearsal)
    if rehearsal.source == QUESTIONS_ABOUT:
        made = _about_people(texts)
    elif file is None:
        raise ValueError(f"{name} from a file needs the file")
    else:
        made = read_plain_texts(file, SETTINGS[name])
    return [AugmentedText(f"{name}-{number}", 0, text) for number, text in enumerate(made)]


def rehearsal_turns(needed: int, share: float) -> list[bool]:
    """Whether each of `needed` texts is a rehearsal: the share of every batch, as near as whole texts allow."""
    return [int((position + 1) * share + 1e-9) > int(position * share + 1e-9) for position in range(needed)]


def _about_people(texts: Sequence[AugmentedText]) -> list[str]:
    """Texts about a few people, then texts of one to six questions about a field with their answers, as in a prompt."""
    from benchmark.tasks.biography import biography

    known = {person["name"] for person in [*biography.read_people(), *biography.read_shots()]}
    trained_on = "\n".join(text.text for text in texts if text.copy == 0) or "\n".join(text.text for text in texts)
    everyone = make_people(2 * _PEOPLE, _SEED, known)
    people = [person for person in everyone if person.name not in trained_on][:_PEOPLE]
    rng = random.Random(_SEED)
    made = []
    for person in people:
        for _ in range(_TEXTS_PER_PERSON):
            wording = {field: rng.randrange(len(WORDINGS[field])) for field in FIELDS}
            made.append(write_paragraph(person, rng.sample(FIELDS, len(FIELDS)), wording).text)
    for _ in range(_QUESTION_TEXTS):
        field = rng.choice(FIELDS)
        chosen = rng.sample(people, rng.randint(1, _MOST_PAIRS))
        made.append(questions_as_text((QUESTIONS[field].format(name=p.name), p.facts[field]) for p in chosen))
    return made
