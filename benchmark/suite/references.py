"""The floor and the ceiling of every table: the untouched model, asked without and with the document in the prompt."""

import random
from typing import ClassVar

from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method


class Reference(Method):
    """What stands beside the methods of a table and is no method: nothing is trained."""

    originals: ClassVar[bool] = False
    makes_copies: ClassVar[bool] = False
    open_book: ClassVar[bool] = False

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Nothing is augmented for a reference."""
        raise NotImplementedError(self.name)


class Untouched(Reference):
    """The model before any training: what it knew already, from wherever."""

    name: ClassVar[str] = "untouched"


class OpenBook(Reference):
    """The model before any training, with the document in the prompt: what can be answered at all."""

    name: ClassVar[str] = "open_book"
    open_book: ClassVar[bool] = True


REFERENCES: tuple[Reference, ...] = (Untouched(), OpenBook())
