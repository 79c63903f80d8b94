"""AEDA: punctuation marks inserted between the words."""

import random
import re
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method

MARKS = (".", ";", "?", ":", "!", ",")


class Aeda(Method):
    """AEDA (Karimi, Rossi & Prati, Findings of EMNLP 2021): random punctuation marks before random words.

    The number of marks is drawn between 1 and a third of the number of words. Each is one of six marks and stands
    before another word. Words are separated by white space. The text itself stays as it is.
    """

    name: ClassVar[str] = "aeda"

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Insert marks into `text`."""
        starts = [word.start() for word in re.finditer(r"\S+", text.text)]
        result, position = "", 0
        for start in sorted(rng.sample(starts, rng.randint(1, max(1, len(starts) // 3)))):
            result += f"{text.text[position:start]}{rng.choice(MARKS)} "
            position = start
        return result + text.text[position:]
