"""EDA, easy data augmentation: words are replaced by synonyms, inserted, swapped or deleted."""

import random
from typing import ClassVar

from pydantic import model_validator

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Alpha, Method
from benchmark.methods.function_words import FUNCTION_WORDS
from benchmark.methods.wordnet import synonyms
from benchmark.methods.words import Span, overlaps, words


class Eda(Method):
    """EDA (Wei & Zou, EMNLP 2019): each copy is made by one of four operations, drawn with equal probability.

    max(1, α × words) different words are replaced by a synonym wherever they stand, as many synonyms are inserted, as
    many pairs of words are swapped, or each word is deleted with probability α. α is .1 for each operation, as in the
    paper's code; an operation with α 0 is never drawn.

    It differs from the paper's code in three ways. That code makes equally many copies by each operation, shuffles them
    and takes the first; here a copy depends on its own number only. Punctuation and capitals stay. Function words,
    words with a capital or a digit, and words in an entity (where the task provides entities) neither get a synonym nor
    lend one. Synonyms come from WordNet: English, in lower case. Swaps and deletions affect every word, names too. A
    text without words stays as it is.
    """

    name: ClassVar[str] = "eda"
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    synonyms: Alpha = 0.1
    insertions: Alpha = 0.1
    swaps: Alpha = 0.1
    deletions: Alpha = 0.1

    @model_validator(mode="after")
    def _has_an_operation(self) -> "Eda":
        if not (self.synonyms or self.insertions or self.swaps or self.deletions):
            raise ValueError("expected one of synonyms, insertions, swaps, deletions above 0")
        return self

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Apply one operation to `text`."""
        alphas = {_replace: self.synonyms, _insert: self.insertions, _swap: self.swaps, _delete: self.deletions}
        operation = rng.choice([operation for operation, alpha in alphas.items() if alpha])
        spans = words(text.text)
        if not spans:
            return text.text
        return operation(text, spans, alphas[operation], rng)


def _count(alpha: float, spans: list[Span]) -> int:
    """How many words an operation changes."""
    return max(1, int(alpha * len(spans)))


def _replaceable(text: Text, spans: list[Span]) -> list[str]:
    """The different words that may be replaced and have a synonym, in text order."""
    outside = [text.text[s:e] for s, e in spans if not overlaps((s, e), text.entities)]
    ordinary = [w for w in dict.fromkeys(outside) if w == w.lower() and not any(map(str.isdigit, w))]
    return [w for w in ordinary if w not in FUNCTION_WORDS and synonyms(w)]


def _replace(text: Text, spans: list[Span], alpha: float, rng: random.Random) -> str:
    candidates = _replaceable(text, spans)
    chosen = rng.sample(candidates, min(_count(alpha, spans), len(candidates)))
    synonym_of = {word: rng.choice(synonyms(word)) for word in chosen}
    replaced = [text.text[s:e] if overlaps((s, e), text.entities) else synonym_of.get(text.text[s:e]) for s, e in spans]
    return _with_words(text.text, spans, replaced)


def _insert(text: Text, spans: list[Span], alpha: float, rng: random.Random) -> str:
    candidates = _replaceable(text, spans)
    positions = [i for i, (start, _) in enumerate(spans) if not any(s < start < e for s, e in text.entities)]
    replaced: list[str | None] = [text.text[s:e] for s, e in spans]
    for _ in range(_count(alpha, spans) if candidates and positions else 0):
        position = rng.choice(positions)
        replaced[position] = f"{rng.choice(synonyms(rng.choice(candidates)))} {replaced[position]}"
    return _with_words(text.text, spans, replaced)


def _swap(text: Text, spans: list[Span], alpha: float, rng: random.Random) -> str:
    order = list(range(len(spans)))
    for _ in range(_count(alpha, spans) if len(spans) > 1 else 0):
        first, second = rng.sample(range(len(spans)), 2)
        order[first], order[second] = order[second], order[first]
    return _with_words(text.text, spans, [text.text[slice(*spans[i])] for i in order])


def _delete(text: Text, spans: list[Span], alpha: float, rng: random.Random) -> str:
    kept = [span for span in spans if rng.random() >= alpha]
    if not kept:
        return text.text[slice(*rng.choice(spans))]
    result, position = "", 0
    for start, end in spans:
        if (start, end) not in kept:
            result += text.text[position:start].rstrip()
            position = end
    return (result + text.text[position:]).strip()


def _with_words(text: str, spans: list[Span], words_: list[str | None]) -> str:
    """The text with the word at each of `spans` replaced; None leaves a word as it is."""
    result, position = "", 0
    for (start, end), word in zip(spans, words_, strict=True):
        result += text[position:start] + (text[start:end] if word is None else word)
        position = end
    return result + text[position:]
