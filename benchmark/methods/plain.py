"""The original texts, trained on for as many epochs as augmented ones."""

import random
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method


class Plain(Method):
    """The baseline "plain" of Gao et al., AAAI 2025: the originals alone.

    It gets the same number of epochs as the methods with copies, and so far fewer optimizer steps; `plain_matched` is
    the baseline with as many.
    """

    name: ClassVar[str] = "plain"
    matched: ClassVar[bool] = False
    makes_copies: ClassVar[bool] = False

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Return the text as it is."""
        return text.text
