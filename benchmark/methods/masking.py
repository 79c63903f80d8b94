"""The base class of the masking methods: dropout as noise in the input, with the whole text as the target."""

import random
from typing import ClassVar, Literal

from benchmark.data.texts import AugmentedText, Text, TokenScores
from benchmark.methods.base import Training
from benchmark.methods.dropout import TokenDropout


class Masking(TokenDropout):
    """A mixin before a dropout: hides in the input what the dropout would remove; the labels are the whole text.

    A copy is the whole original with the units that the dropout would remove as its `hidden` spans. In training the
    mask token replaces the tokens on them. With the same parameters, scores and seed, the same units are hidden that
    the dropout removes. The field `dropped` has no meaning here and is not accepted.
    """

    dropped: ClassVar[Literal["delete"]] = "delete"  # type: ignore[misc]  # takes the field away

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """The whole text."""
        return text.text

    def training_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> AugmentedText:
        """The whole text with the drawn units hidden."""
        units, drawn = self.drawn_units(text, tokens, rng)
        hidden = tuple((units[position].start, units[position].end) for position in sorted(drawn))
        return AugmentedText(text.id, number, text.text, hidden=hidden)

    def training(self) -> Training:
        """Hide the drawn units in the input."""
        return Training(hidden=True)
