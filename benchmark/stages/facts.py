"""Facts stage: how many of the facts that are asked about a method leaves whole in its copies, and at what length."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.core.progress import Progress
from benchmark.corpora import make_task
from benchmark.corpora.base import Facts
from benchmark.data.texts import AugmentedText, Text, read_augmented, read_texts
from benchmark.models.loading import tokenizer_of
from benchmark.models.spec import ModelSpec
from benchmark.store.artifacts import StageCall

FACTS = "facts.json"
TEXTS_AT_ONCE = 1_000


def run(call: StageCall, inputs: dict[str, Path], out: Path, progress: Progress) -> None:
    """Write facts.json from "corpus" and "texts" (of a method)."""
    corpus = make_task(call.where["entry"]).load()
    tokenizer = tokenizer_of(ModelSpec.model_validate(call.where["model"]))
    originals = read_texts(inputs["corpus"] / "texts.jsonl")
    copies = [text for text in read_augmented(inputs["texts"] / "augmented.jsonl") if text.copy > 0]
    (out / FACTS).write_text(json.dumps(count_facts(originals, copies, corpus.facts, tokenizer), indent=1))
    progress(1, 1)


def count_facts(
    originals: Sequence[Text], copies: Sequence[AugmentedText], facts: Mapping[str, Facts], tokenizer: Any
) -> dict[str, float | int | None]:
    """What copies keep of the facts in their originals.

    A fact is a question one of whose gold answers stands in the original as whole words, after SQuAD's normalisation.

    Args:
        originals: The texts; of one that was split, "x/0" and so on are pieces of "x".
        copies: Copies of them.
        facts: What is asked about each text.
        tokenizer: Of the trained model.

    Returns:
        `copies`; `facts`, the number of pairs of a copy and a fact of its original; `answer`, the share of these pairs
        whose answer stands whole in the copy; `answer_and_name`, the share in which the subject's full name does, too
        (None where no text has a subject); and `tokens`, by how much copies are longer than their originals, as a
        share of the originals' tokens. Shares are None where there is nothing to count.
    """
    from benchmark.tasks.biography.biography import normalise

    there = {
        text.id: _in_text(text.text, facts.get(text.id) or facts.get(text.id.rpartition("/")[0])) for text in originals
    }
    lengths = dict(
        zip((text.id for text in originals), _lengths((text.text for text in originals), tokenizer), strict=True)
    )
    pairs = whole = named = with_subject = 0
    for copy in copies:
        subject, answers = there[copy.id]
        words = normalise(copy.text)
        has_name = bool(subject) and subject in words
        kept = sum(_holds(golds, words) for golds in answers)
        pairs, whole = pairs + len(answers), whole + kept
        named += kept if has_name else 0
        with_subject += len(answers) if subject else 0
    before = sum(lengths[copy.id] for copy in copies)
    after = sum(_lengths((copy.text for copy in copies), tokenizer))
    return {
        "copies": len(copies),
        "facts": pairs,
        "answer": round(whole / pairs, 6) if pairs else None,
        "answer_and_name": round(named / with_subject, 6) if with_subject else None,
        "tokens": round(after / before - 1, 6) if before else None,
    }


def _in_text(text: str, facts: Facts | None) -> tuple[str, list[list[str]]]:
    """The normalised name of the subject, and the normalised golds of the facts that stand in a text."""
    from benchmark.tasks.biography.biography import normalise

    if facts is None:
        return "", []
    words = normalise(text)
    golds = [[normalise(gold) for gold in answers] for answers in facts.answers]
    return normalise(facts.subject), [some for some in golds if _holds(some, words)]


def _holds(golds: Iterable[str], words: str) -> bool:
    from benchmark.tasks.corpus.wording import longer_word

    return any(gold in words and not longer_word(gold, words) for gold in golds)


def _lengths(texts: Iterable[str], tokenizer: Any) -> list[int]:
    """Tokens of each text, without special ones."""
    found: list[int] = []
    batch: list[str] = []

    def count() -> None:
        if batch:
            found.extend(map(len, tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]))
            batch.clear()

    for text in texts:
        batch.append(text)
        if len(batch) == TEXTS_AT_ONCE:
            count()
    count()
    return found
