"""Reverse training: the words of a text in reverse order, with names and values kept whole."""

import random
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from benchmark.core.errors import UserError
from benchmark.core.validation import not_a_bool
from benchmark.data.texts import Text, TokenScores
from benchmark.methods.base import Method
from benchmark.methods.words import Span, words

_GENITIVE = re.compile(r"['’]s\b")


class Reverse(Method):
    """Reverse training (Golovneva et al., 2024): the model also reads its texts backwards.

    Fields: `segment`, what keeps its own order. "entity": the task's entities; all else is reversed word by word, all
    copies are the same, and the task must provide entities. "random": runs of words, each of a length drawn from 1 to
    `longest`. The paper reads every text as often forwards as backwards. Here a text is read forwards once for all its
    copies, so `copies: 1` is the paper's setting.

    Punctuation counts as a word. The reversed parts are joined by single spaces, or by nothing if the text has no white
    space (Chinese, Japanese); there a run between entities and punctuation keeps its order, since its words cannot be
    separated. The paper's token [REV] between random segments is omitted, since models do not have it.
    """

    name: ClassVar[str] = "reverse"
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    segment: Literal["entity", "random"] = "entity"
    longest: Annotated[int, BeforeValidator(not_a_bool), Field(ge=1)] = 25

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Raise UserError if entities are to be kept whole and the task provides none."""
        if self.segment == "entity" and not any(text.entities for text in texts):
            raise UserError("method 'reverse': the task provides no entities of its texts; set segment: random")

    @property
    def varies(self) -> bool:
        """Whether segments are random."""
        return self.segment == "random"

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Reverse `text`."""
        remaining = pieces(text.text, text.entities if self.segment == "entity" else ())
        segments: list[str] = []
        while remaining:
            length = rng.randint(1, self.longest) if self.segment == "random" else 1
            segments.append(text.text[remaining[0][0] : remaining[:length][-1][1]])
            remaining = remaining[length:]
        return (" " if len(text.text.split()) > 1 else "").join(reversed(segments))


def pieces(text: str, entities: tuple[Span, ...]) -> list[Span]:
    """Entities (with a genitive 's), and the words and runs of punctuation between them, in text order."""
    spans: list[Span] = []
    position = 0
    for start, end in entities:
        spans += _words_and_punctuation(text, position, start)
        genitive = _GENITIVE.match(text, end)
        position = genitive.end() if genitive else end
        spans.append((start, position))
    return spans + _words_and_punctuation(text, position, len(text))


def _words_and_punctuation(text: str, start: int, end: int) -> list[Span]:
    spans = words(text, start, end)
    edges = [start, *(edge for word in spans for edge in word), end]
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        spans += [run.span() for run in re.compile(r"\S+").finditer(text, first, last)]
    return sorted(spans)
