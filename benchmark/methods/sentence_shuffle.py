"""The sentences of a text in another order."""

import random
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method
from benchmark.methods.words import Span

# The splitter cuts after some of these; what follows them belongs to them.
TITLES = ("Capt.", "Col.", "Dr.", "Fr.", "Ft.", "Gen.", "Lt.", "Mr.", "Mrs.", "Ms.", "Mt.", "Prof.", "Rev.", "St.")


class SentenceShuffle(Method):
    """Sentences in random order: the permutation of Physics of Language Models 3.1 (Allen-Zhu & Li, ICML 2024).

    The white space between two places stays where it is. Sentences are found by the rules of sentencex (Wikimedia),
    which know many scripts; no cut is made after a title, nor within an entity where the task knows them.
    """

    name: ClassVar[str] = "sentence_shuffle"
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Shuffle the sentences of `text`; every order has the same chance, that of the original too."""
        found = sentences(text)
        order = rng.sample(found, len(found))
        result, position = "", 0
        for (start, end), other in zip(found, order, strict=True):
            result += text.text[position:start] + text.text[slice(*other)]
            position = end
        return result + text.text[position:]


def sentences(text: Text) -> list[Span]:
    """Offsets of the sentences, without the white space around them."""
    from sentencex import segment

    found: list[Span] = []
    begin = end = 0
    for piece in segment("en", text.text):
        end += len(piece)
        sentence = text.text[begin:end]
        inside = any(start < end < last for start, last in text.entities)
        if end < len(text.text) and (inside or sentence.rstrip().endswith(TITLES)):
            continue
        if sentence.strip():
            start = begin + len(sentence) - len(sentence.lstrip())
            found.append((start, start + len(sentence.strip())))
        begin = end
    return found
