"""The text from its end to its beginning, names and values kept as they are."""

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
    """Reverse training (Golovneva et al., 2024): a model reads its texts backwards, too.

    Fields: `segment`, what keeps its order: "entity", the task's entities, all else going word by word; or "random",
    runs of words, entities or not, each of a length drawn from 1 to `longest`. With "entity" the copies are all the
    same, and a task has to know its entities. The paper reads every text as often forwards as backwards; here it is
    once forwards to as many times backwards as there are copies: with `copies: 1` it is as there.

    Punctuation goes as a word of its own. What is reversed is joined by single spaces, or by nothing if the text has no
    white space (Chinese, Japanese): there a run between entities and punctuation keeps its order, since nothing tells
    its words apart. The paper's token [REV] between random segments is left out: models do not have it.
    """

    name: ClassVar[str] = "reverse"
    welcome: ClassVar[frozenset[str]] = frozenset({"entities"})

    segment: Literal["entity", "random"] = "entity"
    longest: Annotated[int, BeforeValidator(not_a_bool), Field(ge=1)] = 25

    def check(self, texts: Sequence[Text], copies: int) -> None:
        """Refuse texts whose entities nobody knows, if they are to be kept whole."""
        if self.segment == "entity" and not any(text.entities for text in texts):
            raise UserError("method 'reverse': the task knows no entities of its texts; set segment: random")

    @property
    def varies(self) -> bool:
        """Whether segments are drawn."""
        return self.segment == "random"

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """Reverse `text`."""
        left = pieces(text.text, text.entities if self.segment == "entity" else ())
        segments: list[str] = []
        while left:
            length = rng.randint(1, self.longest) if self.segment == "random" else 1
            segments.append(text.text[left[0][0] : left[:length][-1][1]])
            left = left[length:]
        return (" " if len(text.text.split()) > 1 else "").join(reversed(segments))


def pieces(text: str, entities: tuple[Span, ...]) -> list[Span]:
    """Entities (with a genitive's 's), and between them words and runs of punctuation, in text order."""
    found: list[Span] = []
    position = 0
    for start, end in entities:
        found += _words_and_marks(text, position, start)
        genitive = _GENITIVE.match(text, end)
        position = genitive.end() if genitive else end
        found.append((start, position))
    return found + _words_and_marks(text, position, len(text))


def _words_and_marks(text: str, start: int, end: int) -> list[Span]:
    edges = [start, *(edge for word in words(text, start, end) for edge in word), end]
    found = words(text, start, end)
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        found += [run.span() for run in re.compile(r"\S+").finditer(text, first, last)]
    return sorted(found)
