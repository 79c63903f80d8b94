"""Easy data augmentation: synonyms, insertions, swaps or deletions of words."""

import random
from typing import ClassVar

from pydantic import model_validator

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Method
from benchmark.methods.function_words import FUNCTION_WORDS
from benchmark.methods.wordnet import synonyms
from benchmark.methods.words import Span, overlaps, words


class Eda(Method):
    """EDA (Wei & Zou, EMNLP 2019): each copy goes through one of four operations, drawn with equal chances.

    The paper's code makes as many copies by each operation as by the others, shuffles them and takes the first;
    here a copy depends on its own number alone. α of each operation is .1, as in its code: max(1, α × words) words get
    a synonym everywhere, as many synonyms are put in, as many pairs trade places, or every word is deleted with
    probability α. An operation of α 0 is left out.

    Other than there, punctuation and capitals stay, and no word that has a capital or a digit, or lies in an entity
    (where the task knows them), gets a synonym or is a source of one; nor do function words. Synonyms come from
    WordNet, are English and lower case. Swaps and deletions take every word, names too. A text without words stays.
    """

    name: ClassVar[str] = "eda"
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    synonyms: Alpha = 0.1
    insertions: Alpha = 0.1
    swaps: Alpha = 0.1
    deletions: Alpha = 0.1

    @model_validator(mode="after")
    def _does_something(self) -> "Eda":
        if not (self.synonyms or self.insertions or self.swaps or self.deletions):
            raise ValueError("expected one of synonyms, insertions, swaps, deletions above 0")
        return self

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Do one operation on `text`."""
        chances = {_replace: self.synonyms, _insert: self.insertions, _swap: self.swaps, _delete: self.deletions}
        operation = rng.choice([operation for operation, alpha in chances.items() if alpha])
        found = words(text.text)
        if not found:
            return text.text
        return operation(text, found, chances[operation], rng)


def _count(alpha: float, found: list[Span]) -> int:
    return max(1, int(alpha * len(found)))


def _open_words(text: Text, found: list[Span]) -> list[str]:
    """The different words that may get a synonym and have one, in text order."""
    plain = [text.text[s:e] for s, e in found if not overlaps((s, e), text.entities)]
    ordinary = [w for w in dict.fromkeys(plain) if w == w.lower() and not any(map(str.isdigit, w))]
    return [w for w in ordinary if w not in FUNCTION_WORDS and synonyms(w)]


def _replace(text: Text, found: list[Span], alpha: float, rng: random.Random) -> str:
    able = _open_words(text, found)
    chosen = {word: rng.choice(synonyms(word)) for word in rng.sample(able, min(_count(alpha, found), len(able)))}
    others = [text.text[s:e] if overlaps((s, e), text.entities) else chosen.get(text.text[s:e]) for s, e in found]
    return _with(text.text, found, others)


def _insert(text: Text, found: list[Span], alpha: float, rng: random.Random) -> str:
    able = _open_words(text, found)
    places = [i for i, (start, _) in enumerate(found) if not any(s < start < e for s, e in text.entities)]
    others: list[str | None] = [text.text[s:e] for s, e in found]
    for _ in range(_count(alpha, found) if able and places else 0):
        place = rng.choice(places)
        others[place] = f"{rng.choice(synonyms(rng.choice(able)))} {others[place]}"
    return _with(text.text, found, others)


def _swap(text: Text, found: list[Span], alpha: float, rng: random.Random) -> str:
    order = list(range(len(found)))
    for _ in range(_count(alpha, found) if len(found) > 1 else 0):
        one, other = rng.sample(range(len(found)), 2)
        order[one], order[other] = order[other], order[one]
    return _with(text.text, found, [text.text[slice(*found[i])] for i in order])


def _delete(text: Text, found: list[Span], alpha: float, rng: random.Random) -> str:
    kept = [span for span in found if rng.random() >= alpha]
    if not kept:
        return text.text[slice(*rng.choice(found))]
    result, position = "", 0
    for start, end in found:
        if (start, end) not in kept:
            result += text.text[position:start].rstrip()
            position = end
    return (result + text.text[position:]).strip()


def _with(text: str, found: list[Span], others: list[str | None]) -> str:
    """The text with other words in the places of `found`; None leaves the word."""
    result, position = "", 0
    for (start, end), other in zip(found, others, strict=True):
        result += text[position:start] + (text[start:end] if other is None else other)
        position = end
    return result + text[position:]
