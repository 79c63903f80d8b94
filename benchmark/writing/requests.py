"""Requests to a writer and its samples, as local models and endpoints take and give them."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmark.data.prompts import Prompt

MARK = "###"  # between the examples of a plain prompt; an answer ends where the writer begins the next example


@dataclass(frozen=True)
class Request:
    """One sample to draw.

    Attributes:
        name: What it is for; equal names are equal requests. A seed and a line of the journal belong to a name.
        prompt: The prompt.
        values: What fills its fields.
        seed: Seed of the sample.
        shows_examples: Whether a chat model gets the prompt's examples, too, as turns of the chat before it.
    """

    name: str
    prompt: Prompt
    values: Mapping[str, str]
    seed: int
    shows_examples: bool = False

    @property
    def chat(self) -> list[dict[str, str]]:
        """The messages of a chat that ends with the prompt."""
        turns = []
        for example in self.prompt.examples if self.shows_examples else ():
            turns += [("user", self.prompt.filled(example.model_dump())), ("assistant", example.answer)]
        return [{"role": role, "content": content} for role, content in [*turns, ("user", self.message)]]

    @property
    def message(self) -> str:
        """The prompt for a chat model."""
        return self.prompt.filled(self.values)

    @property
    def plain(self) -> str:
        """The prompt for a model without a chat template: its examples, answered, and then the prompt itself."""
        examples = (
            f"{self.prompt.filled(example.model_dump())}\n\nAnswer: {example.answer}\n\n{MARK}\n\n"
            for example in self.prompt.examples
        )
        return f"{''.join(examples)}{self.message}\n\nAnswer:"

    @property
    def instruction(self) -> str:
        """All that a writer is given except the document, to find answers that repeat it."""
        given = self.prompt.filled({**self.values, "document": "", "item": "", "other": "", "clues": ""})
        return " ".join([given, *(example.answer for example in self.prompt.examples)])


@dataclass(frozen=True)
class Sample:
    """An answer of a writer.

    Attributes:
        text: The answer, without white space at its ends.
        prompt_tokens: Tokens of the prompt.
        tokens: Tokens of the answer.
        ended: "stop", or "length" if the limit of tokens, or a server's filter, cut it.
    """

    text: str
    prompt_tokens: int
    tokens: int
    ended: str


class Writes(Protocol):
    """What draws samples: a local model or an endpoint."""

    def write(self, requests: Sequence[Request], known: Mapping[str, Sample]) -> Iterator[tuple[Request, Sample]]:
        """Draw the samples of some requests, in any order.

        Args:
            requests: The requests.
            known: Samples by the request's name that exist already. They may be drawn again, with the same result.
        """


def seed_of(seed: int, *names: object) -> int:
    """A seed of 32 bits that depends on all names."""
    digest = hashlib.sha256(":".join(map(str, (seed, *names))).encode()).digest()
    return int.from_bytes(digest[:4])
