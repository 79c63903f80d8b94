"""References, the floor and ceiling of every table: the untouched model without and with the document in the prompt."""

import random
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method


class Reference(Method):
    """A row of a table that is no competing method: nothing is trained."""

    originals: ClassVar[bool] = False
    makes_copies: ClassVar[bool] = False
    open_book: ClassVar[bool] = False

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Not used: references have no training texts."""
        raise NotImplementedError(self.name)


class Untouched(Reference):
    """The model before training: what it already knew."""

    name: ClassVar[str] = "untouched"


class OpenBook(Reference):
    """The model before training with the document in the prompt: the upper bound."""

    name: ClassVar[str] = "open_book"
    open_book: ClassVar[bool] = True


REFERENCES: tuple[Reference, ...] = (Untouched(), OpenBook())
