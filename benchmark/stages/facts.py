"""Facts stage: how many of the facts that a task asks about a method's copies keep, and how long the copies are."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.core.progress import Progress
from benchmark.corpora import make_task
from benchmark.corpora.base import Facts
from benchmark.data.texts import AugmentedText, Text, read_augmented, read_texts
from benchmark.methods.function_words import FUNCTION_WORDS
from benchmark.models.loading import tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.stages.files import AUGMENTED, FACTS, TEXTS
from benchmark.store.artifacts import StageCall

TEXTS_AT_ONCE = 1_000
_WORD = re.compile(r"\d+|[^\W\d_]+(?:['’][^\W\d_]+)?")
_POSSESSIVE = re.compile(r"['’]s$|(?<=s)['’]$")
_PLACEHOLDER = re.compile(r"\[[^\]\n]*\]")  # "[Name of the friend]"
_NUMBERING = re.compile(r"(?m)^[ \t]*\(?\d+[.)](?=\s)")
_LABEL = re.compile(r"(?m)^[ \t]*[-*•–]*[ \t]*((?:[^\W_]+ ?){1,3})\**:\**(?=\s)")  # "Answer: ", "Place of birth: "
_OF_A_QUESTION = re.compile(r"(?i)q(uestion)?\b")
_INTERJECTIONS = frozenset("yes no oh hi hello hey well wow sure okay ok correct right dear thanks".split())
_AFTER_LABEL = "\N{INFORMATION SEPARATOR ONE}"


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write facts.json from the inputs "corpus" and "texts" (of a method)."""
    corpus = make_task(call.where["entry"]).load()
    tokenizer = tokenizer_of(ModelSpec.model_validate(call.where["model"]))
    originals = read_texts(inputs["corpus"] / TEXTS)
    copies = [text for text in read_augmented(inputs["texts"] / AUGMENTED) if text.copy > 0]
    counts: dict[str, Any] = dict(count_facts(originals, copies, corpus.facts, tokenizer))
    if "invented" in call.params:
        counts["invented"] = invented_share(originals, copies)
    (out / FACTS).write_text(json.dumps(counts, indent=1))
    progress(1, 1)


def count_facts(
    originals: Sequence[Text], copies: Sequence[AugmentedText], facts: Mapping[str, Facts], tokenizer: Any
) -> dict[str, float | int | None]:
    """Count the facts of the originals that their copies keep.

    A fact is a question with a gold answer that the original contains as whole words, after SQuAD's normalisation.

    Args:
        originals: The texts; "x/0", "x/1" and so on are pieces of a text "x" that was split.
        copies: Copies of the originals.
        facts: Questions about each text.
        tokenizer: Tokenizer of the trained model.

    Returns:
        `copies`: their number. `facts`: the number of pairs of a copy and a fact of its original. `answer`: the share
        of these pairs whose copy contains the answer. `answer_and_name`: the share whose copy contains the subject's
        full name, too (None where no text has a subject). `tokens`: the relative change in length, tokens of the
        copies / tokens of their originals − 1. Shares are None where there is nothing to count.
    """
    from benchmark.tasks.biography.biography import normalise

    facts_in_text = {
        text.id: _in_text(text.text, facts.get(text.id) or facts.get(text.id.rpartition("/")[0])) for text in originals
    }
    lengths = dict(
        zip((text.id for text in originals), _lengths((text.text for text in originals), tokenizer), strict=True)
    )
    pairs = answered = named = with_subject = 0
    for copy in copies:
        subject, answers = facts_in_text[copy.id]
        words = normalise(copy.text)
        has_name = bool(subject) and subject in words
        kept = sum(_holds(golds, words) for golds in answers)
        pairs, answered = pairs + len(answers), answered + kept
        named += kept if has_name else 0
        with_subject += len(answers) if subject else 0
    before = sum(lengths[copy.id] for copy in copies)
    after = sum(_lengths((copy.text for copy in copies), tokenizer))
    return {
        "copies": len(copies),
        "facts": pairs,
        "answer": round(answered / pairs, 6) if pairs else None,
        "answer_and_name": round(named / with_subject, 6) if with_subject else None,
        "tokens": round(after / before - 1, 6) if before else None,
    }


def invented_share(originals: Sequence[Text], copies: Sequence[AugmentedText]) -> float | None:
    """The share of names and numbers in copies that their originals do not have; None if copies have none.

    Each name and number of a copy counts once. Numbers are sequences of digits, but for those that number the items of
    a list. Names are words with a capital letter that do not begin a sentence or a line; without function words, words
    of one letter, labels such as "Answer:" and placeholders such as "[Name]". After a label other than that of a
    question, the first word counts as well, unless it is one such as "yes". A name is in the original if the original
    has the word, with a capital letter or without, and with a possessive 's or without.

    Args:
        originals: The texts; "x/0", "x/1" and so on are pieces of a text "x" that was split.
        copies: Copies of the originals.
    """
    words = {text.id: {_plain(word) for word in _WORD.findall(text.text)} for text in originals}
    found = invented = 0
    for copy in copies:
        mentioned = {_plain(word) for word in _names_and_numbers(copy.text)}
        found += len(mentioned)
        invented += len(mentioned - words[copy.id])
    return round(invented / found, 6) if found else None


def _names_and_numbers(text: str) -> set[str]:
    """The words of a text that are numbers, or begin with a capital letter within a sentence."""

    def marked(label: re.Match[str]) -> str:
        return "\n" if _OF_A_QUESTION.match(label[1]) else f"\n{_AFTER_LABEL}"

    text = _LABEL.sub(marked, _NUMBERING.sub("\n", _PLACEHOLDER.sub(" ", text)))
    mentioned = set()
    for match in _WORD.finditer(text):
        word = match[0]
        before = text[: match.start()].rstrip(" \t\"'“‘(*_")
        begins = not before or before[-1] in ".!?:;\n-•–"
        stem = _plain(word).partition("'")[0]  # "i" of "I'm"
        grammar = stem in FUNCTION_WORDS or (stem in _INTERJECTIONS and before.endswith(_AFTER_LABEL))
        if word.isdigit() or (word[0].isupper() and len(word) > 1 and not begins and not grammar):
            mentioned.add(word)
    return mentioned


def _plain(word: str) -> str:
    return _POSSESSIVE.sub("", word).lower().replace("’", "'")


def _in_text(text: str, facts: Facts | None) -> tuple[str, list[list[str]]]:
    """The normalised name of the subject, and the normalised gold answers of each fact that a text contains."""
    from benchmark.tasks.biography.biography import normalise

    if facts is None:
        return "", []
    words = normalise(text)
    golds = [[normalise(gold) for gold in answers] for answers in facts.answers]
    return normalise(facts.subject), [answers for answers in golds if _holds(answers, words)]


def _holds(golds: Iterable[str], words: str) -> bool:
    """Whether a normalised text contains one of the gold answers as whole words."""
    from benchmark.tasks.biography.biography import stands_in

    return any(stands_in(gold, words) for gold in golds)


def _lengths(texts: Iterable[str], tokenizer: Any) -> list[int]:
    """The number of tokens of each text, without special tokens."""
    lengths: list[int] = []
    batch: list[str] = []

    def count() -> None:
        if batch:
            lengths.extend(map(len, tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]))
            batch.clear()

    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_AT_ONCE:
            count()
    count()
    return lengths
