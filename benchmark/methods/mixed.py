"""Mixed: copies of several written methods and repeated originals, in any shares."""

import random
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from benchmark.core.errors import nearest
from benchmark.core.validation import not_a_bool
from benchmark.data.texts import Text, TokenScores
from benchmark.data.written import TRAINED, Writing, WrittenText
from benchmark.methods.base import Method
from benchmark.methods.entity_links import EntityLinks
from benchmark.methods.implications import Implications
from benchmark.methods.rewrite import Rewrite
from benchmark.methods.self_qa import SelfQa
from benchmark.methods.strategies import Strategies
from benchmark.methods.written import ROLE

ORIGINAL = "original"
PARTS = {part.name: part for part in (Rewrite, SelfQa, Implications, EntityLinks, Strategies)}


def _known(parts: dict[str, float]) -> dict[str, float]:
    known = [ORIGINAL, *PARTS]
    for name in parts:
        if name not in known:
            raise ValueError(f"unknown part {name!r}; {nearest(name, known)}")
    if not parts.keys() & PARTS.keys():
        raise ValueError(f"needs one of {', '.join(PARTS)}")
    return parts


Weight = Annotated[float, BeforeValidator(not_a_bool), Field(gt=0)]
Parts = Annotated[dict[str, Weight], AfterValidator(_known)]


class Mixed(Method):
    """Copies drawn from several written methods, and from the original (Physics of Language Models 3.1 mixes likewise).

    Fields: `parts`, the weight of each method and of "original"; `writer`, as for these methods. For copy k a part is
    drawn by weight among those that have a sample k. The texts are those of the methods by themselves: they are written
    once.
    """

    name: ClassVar[str] = "mixed"

    parts: Parts = Field(default={Rewrite.name: 1.0, SelfQa.name: 1.0}, min_length=1)
    writer: str = Field(default=TRAINED, min_length=1)

    _copies: dict[str, dict[tuple[str, int], str]] = PrivateAttr(default_factory=dict)

    @property
    def writings(self) -> Mapping[str, Writing]:
        """What the writer is asked for each part."""
        return {f"{ROLE}_{name}": PARTS[name].asks for name in self.parts if name in PARTS}

    @property
    def written_by(self) -> str | None:
        """The writer."""
        return self.writer

    def with_written(self, written: Mapping[str, Sequence[WrittenText]]) -> Self:
        """The method with the texts of its writer."""
        bound = self.model_copy()
        bound._copies = {
            name: {(text.id, text.copy): text.text for text in written.get(f"{ROLE}_{name}", ())}
            for name in self.parts
            if name in PARTS
        }
        return bound

    def has_copy(self, text: Text, number: int) -> bool:
        """Whether a part has a sample `number`."""
        return bool(self._available(text, number))

    def make_copy(self, text: Text, tokens: TokenScores | None, rng: random.Random, number: int) -> str:
        """Sample `number` of a part that `rng` draws."""
        available = self._available(text, number)
        (part,) = rng.choices(list(available), [self.parts[name] for name in available])
        return available[part]

    def augment_one(self, text: Text, tokens: TokenScores | None, rng: random.Random) -> str:
        """The first sample of a part."""
        return self.make_copy(text, tokens, rng, 1)

    def key_parameters(self) -> dict[str, Any]:
        """The weights: what the texts depend on is in the keys of the stages that write them."""
        return {"parts": self.parts}

    def recorded_parameters(self) -> dict[str, Any]:
        """The weights, and the writer's name, which labels show."""
        return {"label": f"by {self.writer}", "parts": self.parts}

    def _available(self, text: Text, number: int) -> dict[str, str]:
        """The copies to draw from, by part; in a fixed order, since keys do not hold that of `parts`."""
        copies = {ORIGINAL: text.text} if ORIGINAL in self.parts else {}
        samples = {name: self._copies.get(name, {}).get((text.id, number)) for name in PARTS}
        return copies | {name: copy for name, copy in samples.items() if copy is not None}
