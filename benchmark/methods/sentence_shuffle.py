"""Sentence shuffle: the sentences of a text in random order."""

import random
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method
from benchmark.methods.words import Span

# The splitter wrongly ends a sentence after some of these.
TITLES = ("Capt.", "Col.", "Dr.", "Fr.", "Ft.", "Gen.", "Lt.", "Mr.", "Mrs.", "Ms.", "Mt.", "Prof.", "Rev.", "St.")


class SentenceShuffle(Method):
    """Sentences in random order: the permutation of Physics of Language Models 3.1 (Allen-Zhu & Li, ICML 2024).

    The white space between sentences stays as it is. The sentences are those of sentencex (Wikimedia), which knows many
    scripts; no sentence ends after a title such as "Dr.", nor within an entity where the task provides entities.
    """

    name: ClassVar[str] = "sentence_shuffle"
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Shuffle the sentences of `text`; every order is equally likely, the original order too."""
        spans = sentences(text)
        shuffled = rng.sample(spans, len(spans))
        result, position = "", 0
        for (start, end), span in zip(spans, shuffled, strict=True):
            result += text.text[position:start] + text.text[slice(*span)]
            position = end
        return result + text.text[position:]


def sentences(text: Text) -> list[Span]:
    """Character offsets of the sentences, without the white space around them."""
    from sentencex import segment

    spans: list[Span] = []
    begin = end = 0
    for piece in segment("en", text.text):
        end += len(piece)
        sentence = text.text[begin:end]
        inside = any(start < end < last for start, last in text.entities)
        if end < len(text.text) and (inside or sentence.rstrip().endswith(TITLES)):
            continue
        if sentence.strip():
            start = begin + len(sentence) - len(sentence.lstrip())
            spans.append((start, start + len(sentence.strip())))
        begin = end
    return spans
