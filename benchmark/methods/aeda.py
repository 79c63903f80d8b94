"""Punctuation marks put between the words."""

import random
import re
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method

MARKS = (".", ";", "?", ":", "!", ",")


class Aeda(Method):
    """AEDA (Karimi, Rossi & Prati, Findings of EMNLP 2021): random punctuation marks at random places.

    How many is drawn from 1 to a third of the number of words, at least 1; before so many different words stands one of
    the six marks. Words are what white space parts. Nothing of the text is changed or lost.
    """

    name: ClassVar[str] = "aeda"

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Put marks into `text`."""
        starts = [word.start() for word in re.finditer(r"\S+", text.text)]
        result, position = "", 0
        for place in sorted(rng.sample(starts, rng.randint(1, max(1, len(starts) // 3)))):
            result += f"{text.text[position:place]}{rng.choice(MARKS)} "
            position = place
        return result + text.text[position:]
