"""Base class of the methods whose copies a language model writes."""

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, PrivateAttr

from benchmark.core.errors import UserError
from benchmark.data.texts import Text, TokenScores
from benchmark.data.written import TRAINED, Writing, WrittenText
from benchmark.methods.base import Method

ROLE = "write"


def _in_a_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class WrittenMethod(Method):
    """Copies that a writer writes: copy k of a text is the k-th sample on it.

    Fields: `writer`, a name under `writers` in the suite, or "trained" for the trained model itself, before training;
    `prompts`, prompts in place of the method's own, by name or as paths. All seeds share the texts. Where no sample of
    a text could be used after all tries, a copy is missing; the record counts them. What a writer writes is not
    checked: it may leave facts out and invent others, and the record counts both.

    A subclass sets `asks`, what the writer is asked.
    """

    asks: ClassVar[Writing]

    writer: str = Field(default=TRAINED, min_length=1)
    prompts: Annotated[tuple[str, ...], BeforeValidator(_in_a_list), Field(min_length=1)] | None = None

    _copies: dict[tuple[str, int], str] = PrivateAttr(default_factory=dict)

    @property
    def writings(self) -> Mapping[str, Writing]:
        """What the writer is asked, with the suite's own prompts if it names some."""
        return {ROLE: self.asks.model_copy(update={"prompts": self.prompts}) if self.prompts else self.asks}

    @property
    def written_by(self) -> str | None:
        """The writer."""
        return self.writer

    def with_written(self, written: Mapping[str, Sequence[WrittenText]]) -> Self:
        """The method with the texts of its writer."""
        bound = self.model_copy()
        bound._copies = {(text.id, text.copy): text.text for text in written.get(ROLE, ())}
        return bound

    def has_copy(self, text: Text, number: int) -> bool:
        """Whether sample `number` could be used."""
        return (text.id, number) in self._copies

    def make_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> str:
        """Sample `number` on the text."""
        return self._copies[text.id, number]

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """The first sample."""
        return self.make_copy(text, tokens, rng, 1)

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Raise UserError for a prompt that does not exist, is not valid, or asks for what the method does not give."""
        given = {"document", *(["item"] if self.asks.items else []), *(["other"] if self.asks.pairs else [])}
        given |= {"clues"} if self.asks.clues else set()
        for name, prompt in self.writings[ROLE].contents().items():
            if unknown := sorted(prompt.fields - given):
                known = ", ".join(f"{{{field}}}" for field in sorted(given))
                raise UserError(f"prompt {name!r}: {self.name} fills no {{{unknown[0]}}}; use {known}")

    @property
    def varies(self) -> bool:
        """False: all seeds share the texts."""
        return False

    def key_parameters(self) -> dict[str, Any]:
        """Nothing: what the texts depend on is in the key of the stage that writes them."""
        return {}

    def recorded_parameters(self) -> dict[str, Any]:
        """The writer's name, which labels show, and the prompts."""
        used = [label for writing in self.writings.values() for label in writing.labels()]
        return {"label": f"by {self.writer}", "prompts": used}
