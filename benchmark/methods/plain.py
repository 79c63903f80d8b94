"""Plain: the original texts, for as many epochs as a method with copies."""

import random
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method


class Plain(Method):
    """The baseline "plain" of Gao et al., AAAI 2025: the originals alone.

    It trains for as many epochs as the methods with copies, and so for far fewer optimizer steps. `plain_matched` is
    the baseline with as many steps.
    """

    name: ClassVar[str] = "plain"
    matched: ClassVar[bool] = False
    makes_copies: ClassVar[bool] = False

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Return the text as it is."""
        return text.text
